"""What a task takes may be said by the user: for all, for each by its arguments, for one call."""

import time

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.config import GIB
from adaptive_exec.core.reason import Code

PROCESS = {"levels": ("process",), "max_workers": 4, "share_host": False}


def hold(megabytes):
    block = bytearray(b"x") * (megabytes * 10**6)
    time.sleep(0.05)
    return len(block) // 10**6


def spread(megabytes, _):
    return hold(megabytes)


def refuse(*_):
    raise ValueError("no size")


@pytest.mark.parametrize("settings", [{"size": lambda n: n}, {"task_memory": lambda n: n * 10**6}])
def test_a_function_of_the_arguments_says_how_large_a_task_is(settings):
    sizes = [1, 30, 2, 30] * 4

    with adaptive_executor(**PROCESS, **settings) as executor:
        assert list(executor.map(hold, sizes)) == sizes
        assert list(executor.map(hold, iter(sizes))) == sizes
        assert executor.submit(hold, 3).result(60) == 3


def test_several_inputs_go_to_it_as_they_go_to_the_task():
    with adaptive_executor(**PROCESS, task_memory=lambda n, _: n * 10**6) as executor:
        assert list(executor.map(spread, [1, 2, 3, 4], "abcd")) == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["size", "task_memory"])
def test_one_that_raises_is_told_of_once_and_the_tasks_run_all_the_same(name, caplog):
    with adaptive_executor(**PROCESS, **{name: refuse}) as executor:
        assert list(executor.map(hold, [1] * 8)) == [1] * 8

    assert caplog.text.count("got ValueError: no size") == 1


def test_what_is_told_of_each_keeps_what_does_not_fit_together_apart():
    with adaptive_executor(**PROCESS, task_memory=lambda _: 0.6) as executor:
        assert list(executor.map(hold, [1] * 6)) == [1] * 6
        report = executor.report

    assert report.window == 1
    assert Code.MEMORY_BY_BYTES in {one.reason.code for one in report.decisions}


def test_a_call_is_told_of_by_options_of_its_own():
    with adaptive_executor(**PROCESS) as executor:
        large = executor.with_options(task_memory=0.6)
        futures = [large.submit(hold, 1) for _ in range(5)]
        assert [future.result(60) for future in futures] == [1] * 5
        assert executor.report.window == 1


@pytest.mark.parametrize("value", ["much", -1])
def test_options_are_checked_as_settings_are(value):
    with adaptive_executor(**PROCESS) as executor, pytest.raises((TypeError, ValueError)):
        executor.with_options(task_memory=value)


def test_a_size_is_a_function():
    with pytest.raises(TypeError, match="size"):
        adaptive_executor(size=GIB)
