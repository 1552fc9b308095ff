"""A batch stays at its level: in processes, unless few tasks were announced or it may move.

What cannot be sent there is named, and nothing that was written for workers runs in the caller.
"""

import functools
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from adaptive_exec import LevelUnavailableError, UnsendableError, adaptive_executor
from adaptive_exec.levels import unsendable
from adaptive_exec.levels.base import ONE, CannotStartError
from adaptive_exec.levels.process import ProcessRunner
from tests.levels import work
from tests.levels.leaks import eventually

LOCK = threading.Lock()
FILE = pathlib.Path(__file__).open()  # noqa: SIM115  # it is open as long as the tests run
IMPLYING = {
    "isolate": True,
    "task_timeout": 60.0,
    "initializer": os.getpid,
    "max_tasks_per_worker": 2,
    "start": "zygote" if sys.platform == "linux" else "loky",
}
NO_PROCESSES = ("thread", "sequential")


@pytest.fixture(autouse=True)
def what_cannot_be_sent_is_searched_however_long(monkeypatch):
    monkeypatch.setattr(unsendable, "SEARCH_SECONDS", 60.0)


def own_pid(_):
    return os.getpid()


# where tasks run


def test_many_tiny_tasks_all_run_in_workers():
    with adaptive_executor(max_workers=2) as executor:
        pids = set(executor.map(own_pid, range(20_000)))
        assert executor.report.levels == ("process",)
    assert os.getpid() not in pids


def test_with_inline_they_may_end_in_the_caller_and_the_report_says_so():
    with adaptive_executor(max_workers=2, inline=True) as executor:
        assert eventually(lambda: os.getpid() in set(executor.map(own_pid, range(20_000))))
        decisions = executor.report.decisions
    assert {one.reason.fact("inline") for one in decisions if one.event == "planned"} == {"allowed"}
    assert "tasks_tiny" in {one.reason.code for one in decisions if one.event == "moved"}


def test_few_announced_tasks_run_in_threads_and_others_in_workers():
    with adaptive_executor([1, 2, 3]) as executor:
        assert set(executor.map(own_pid, [1, 2, 3])) == {os.getpid()}
        assert os.getpid() not in executor.map(own_pid, range(4))
    with adaptive_executor() as executor:
        assert os.getpid() not in executor.map(own_pid, [1, 2, 3])
    with adaptive_executor(tasks=3) as executor:
        assert os.getpid() not in executor.map(own_pid, iter(range(3)))
    with adaptive_executor(tasks=1) as executor:
        assert executor.submit(os.getpid).result(60) != os.getpid()


@pytest.mark.parametrize("name", IMPLYING)
def test_what_is_written_for_workers_gives_few_tasks_workers(name):
    with adaptive_executor(tasks=2, **{name: IMPLYING[name]}) as executor:
        assert os.getpid() not in executor.map(own_pid, [1, 2])


def test_an_initializer_leaves_the_caller_alone(tmp_path):
    code = """
import os, signal
from adaptive_exec import adaptive_executor

def change():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir("/")
    os.environ["CHANGED"] = "1"

def changed(_):
    return os.getcwd() == "/" and os.environ.get("CHANGED") == "1"

here = os.getcwd()
for tasks in (3, 8, 20_000):
    with adaptive_executor(tasks=tasks, initializer=change, max_workers=2, inline=True) as executor:
        assert all(executor.map(changed, range(tasks))), executor.report.levels
assert os.getcwd() == here and "CHANGED" not in os.environ
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=tmp_path)


def test_an_initializer_does_not_run_here_where_processes_are_refused_either(monkeypatch):
    calls = []
    words = "none is to be had; in this process an initializer runs with levels="

    def refused(self, workers):
        raise CannotStartError("none is to be had")

    monkeypatch.setattr(ProcessRunner, "start", refused)
    with adaptive_executor(tasks=2, initializer=calls.append, initargs=(1,)) as executor:
        for results in (executor.map(own_pid, [1, 2]), executor.map(own_pid, range(9))):
            with pytest.raises(LevelUnavailableError, match=words):
                list(results)
        with pytest.raises(LevelUnavailableError):
            executor.submit(own_pid, 1).result(60)
    assert calls == []


def test_an_initializer_that_cannot_be_sent_is_named():
    words = r"initargs\[1\]\[0\] cannot be sent"
    # forked from here, workers would have it
    with adaptive_executor(initializer=print, initargs=(1, [LOCK]), start="fresh") as executor:
        results = executor.map(own_pid, range(5))
        with pytest.raises(LevelUnavailableError, match=words):
            list(results)


def test_an_initializer_runs_here_where_levels_leave_processes_out():
    calls = []
    with adaptive_executor(
        levels=NO_PROCESSES, initializer=calls.append, initargs=(1,)
    ) as executor:
        list(executor.map(own_pid, range(4)))
    assert set(calls) == {1}


@pytest.mark.parametrize("tasks", [10, 5_000])
def test_a_task_that_ends_its_process_never_ends_the_caller(tasks):
    def end(number):
        if number == 5:
            os._exit(3)
        return number

    with adaptive_executor(max_workers=2, retries=1) as executor:
        found = list(executor.outcomes(end, range(tasks)))
    assert sorted(one.value for one in found if one.error is None) == [
        number for number in range(tasks) if number != 5
    ]
    assert [one.index for one in found if one.error is not None] == [5]


# what cannot be sent


class Holder:
    def __init__(self):
        self.lock = threading.Lock()
        self.fine = 1

    def call(self, number):
        return number


class Slotted:
    __slots__ = ("lock",)

    def __init__(self):
        self.lock = threading.Lock()


def with_global(number):
    with LOCK:
        return number


def with_default(number, lock=LOCK):
    return number


def closed_over(value):
    def inner(number):
        return number, value

    return inner


def closed_over_twice():
    inner = closed_over([0, LOCK])
    return lambda number: inner(number + 0)


def of_main(function):
    """Have a function travel by value, as one of a script does."""
    function.__module__ = "__main__"
    return function


with_global, with_default = of_main(with_global), of_main(with_default)

FUNCTIONS = {
    "a global": (lambda: with_global, "with_global.__globals__['LOCK']"),
    "a default": (lambda: with_default, "with_default.__defaults__[0]"),
    "a closure": (lambda: closed_over(LOCK), "inner.__closure__['value']"),
    "a closure over a closure": (
        closed_over_twice, "<lambda>.__closure__['inner'].__closure__['value'][1]",
    ),
    "a method": (lambda: Holder().call, "call.__self__.lock"),
    "a partial": (
        lambda: functools.partial(max, Holder()), "partial.args[0].lock",
    ),
    "a keyword of a partial": (
        lambda: functools.partial(max, key=Holder()), "partial.keywords['key'].lock",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_cannot_be_sent_is_named_with_the_way_to_what_it_holds(name):
    make, path = FUNCTIONS[name]
    with adaptive_executor(max_workers=2) as executor:
        results = executor.map(make(), range(5))
        with pytest.raises(UnsendableError) as found:
            next(results)
        for _ in range(4):
            with pytest.raises(UnsendableError):
                next(results)
        future = executor.submit(make(), 1)
        assert list(executor.map(work.same, range(5))) == list(range(5)), "others go on"
        error = future.exception(60)
    assert isinstance(error, UnsendableError)
    for one in (found.value, error):
        assert one.path == path
        assert one.type_name == "_thread.lock"
        assert isinstance(one.__cause__, TypeError)
        assert "levels=('thread', 'sequential')" in str(one)
        assert "in the task" in str(one)


ARGUMENTS = {
    "itself": (lambda: LOCK, "args[0]"),
    "an attribute": (Holder, "args[0].lock"),
    "a slot": (Slotted, "args[0].lock"),
    "an item": (lambda: [1, (2, LOCK)], "args[0][1][1]"),
    "a value": (lambda: {"a": {"b": Holder()}}, "args[0]['a']['b'].lock"),
    "a generator": (lambda: (number for number in range(3)), "args[0]"),
    "a file": (lambda: FILE, "args[0]"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_that_cannot_be_sent_is_named_and_harms_its_task_alone(name):
    make, path = ARGUMENTS[name]
    with adaptive_executor(max_workers=2) as executor:
        found = list(executor.outcomes(work.same, [1, make(), 2, 3, 4]))
        star = next(executor.outcomes(max, [1], [make()])).error
        call = executor.submit(work.same, make()).exception(60)
        named = executor.submit(work.same, number=make()).exception(60)
    errors = [one.error for one in sorted(found) if one.error is not None]
    assert sorted(one.value for one in found if one.error is None) == [1, 2, 3, 4]
    assert [error.path for error in (*errors, call)] == [path, path]
    assert star.path == path.replace("args[0]", "args[1]")
    assert named.path == path.replace("args[0]", "kwargs['number']")


def test_the_search_ends_where_it_may_not_go_on(monkeypatch):
    monkeypatch.setattr(unsendable, "SEARCH_DEPTH", 5)
    value = LOCK
    for _ in range(50):
        value = [value]

    error = unsendable.explain_item(ONE, value, TypeError("no"))

    assert error.path == "args[0]" + 5 * "[0]"


def test_a_circle_is_gone_round_once():
    value = [LOCK]
    value.insert(0, value)

    assert unsendable.explain_item(ONE, value, TypeError("no")).path == "args[0][1]"


def test_with_a_fallback_what_cannot_be_sent_runs_in_threads():
    lock = threading.Lock()

    def locked(number):
        with lock:
            return number, os.getpid()

    with adaptive_executor(max_workers=2, fallback="thread") as executor:
        assert list(executor.map(locked, range(5))) == [(n, os.getpid()) for n in range(5)]
        assert executor.submit(locked, 1).result(60) == (1, os.getpid())
        assert executor.submit(own_pid, lock).result(60) == os.getpid()
        assert executor.submit(own_pid, 1).result(60) != os.getpid()


def test_in_threads_nothing_needs_to_be_sent():
    with adaptive_executor(levels=NO_PROCESSES) as executor:
        assert list(executor.map(with_global, range(5))) == list(range(5))
    with adaptive_executor(tasks=2) as executor:
        assert list(executor.map(with_global, range(2))) == [0, 1]


@pytest.mark.parametrize("number", [2, 0, 7])
def test_a_bare_number_is_refused_with_both_ways_out(number: int):
    with pytest.raises(TypeError, match=rf"got {number}; write tasks={number} or max_workers="):
        adaptive_executor(number)
