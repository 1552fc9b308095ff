"""The level beside, with the plainest engine: an executor of the standard library."""

import itertools
import logging
import math
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from adaptive_exec import AdaptiveExecutor, adaptive_executor, current_task
from adaptive_exec.levels import away, bundles
from adaptive_exec.levels.base import CARRIED_BYTES_MAX
from adaptive_exec.levels.engines import line_of
from tests.architecture.house import ROOT

TASKS = 100


class RebuiltError(Exception):
    """Whose own pickling does not bring it over."""

    def __init__(self, number, *, text):
        self.number = number
        super().__init__(text)


def where(number):
    time.sleep(0.002)
    return number, os.getpid()


def fail_at_seven(number):
    time.sleep(0.002)
    if number == 7:
        raise ValueError(number)
    if number == 11:
        raise RebuiltError(number, text="eleven")
    return number


def say_which(number):
    time.sleep(0.002)
    now = current_task()
    (now.folder / "kept").write_text("x")
    return number, now.index, now.attempt, now.seed, random.random()


def add(left, right):
    return left + right


def note(path):
    with Path(path).open("a") as file:
        file.write(f"{os.getpid()}\n")


def fail():
    raise OSError("no licence here")


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(abs, range(8)))
        yield pool


def make(pool, **settings) -> AdaptiveExecutor:
    return adaptive_executor(**{"cluster": pool, "share_host": False, "max_workers": 1, **settings})


def codes(executor) -> list[str]:
    return [str(decision.reason.code) for decision in executor.report.decisions]


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def until(executor, *levels):
    """Count, at least to TASKS, until tasks have run at all these levels."""
    end = time.monotonic() + 60
    for number in itertools.count():
        if number >= TASKS and {*levels} <= {*executor.report.levels}:
            return
        assert time.monotonic() < end, executor.report
        yield number


BOTH = "process", "cluster"


def is_there(executor):
    """Say whether the cluster has told what it has."""
    return "help_found" in codes(executor)


def test_both_work_on_one_batch_and_every_task_has_its_outcome_in_order(pool):
    with make(pool) as executor:
        found = list(executor.map(where, until(executor, *BOTH)))

    workers = {pid for _, pid in found}
    assert [number for number, _ in found] == list(range(len(found)))
    assert len(workers - {os.getpid()}) >= 2
    assert os.getpid() not in workers


def test_what_tasks_raise_there_is_their_own(pool):
    with make(pool) as executor:
        outcomes = sorted(executor.outcomes(fail_at_seven, until(executor, *BOTH)))

    errors = {one.index: one.error for one in outcomes if one.error is not None}
    assert {index: type(error).__name__ for index, error in errors.items()} == {
        7: "ValueError", 11: "RebuiltError",
    }  # fmt: skip
    assert errors[11].number == 11
    assert {one.level for one in outcomes} == {"process", "cluster"}
    assert all(one.wall_seconds is not None for one in outcomes)


def test_a_task_finds_its_number_its_folder_and_its_own_random_stream(pool):
    with make(pool, seed=5) as executor:
        beside = list(executor.map(say_which, until(executor, *BOTH)))
    with make(None, seed=5) as executor:
        alone = list(executor.map(say_which, range(len(beside))))

    assert beside == alone


def test_a_closure_of_the_script_goes_there_as_it_was_when_it_was_asked_for(pool):
    held = [1]
    large = bytes(2 * CARRIED_BYTES_MAX)

    def use(number):
        time.sleep(0.002)
        return number + held[0] + len(large)

    with make(pool) as executor:
        results = executor.map(use, until(executor, "cluster"))
        held[0] = 100
        found = list(results)

    assert found == [number + 1 + len(large) for number in range(len(found))]


def test_submitted_calls_go_there_too(pool):
    with make(pool) as executor:
        futures = []
        for number in until(executor, "cluster"):
            futures.append(executor.submit(where, number))
            futures[number // 2].result(60)
        found = [future.result(60) for future in futures]

    assert [number for number, _ in found] == list(range(len(found)))


def test_several_inputs_shared_objects_and_numbers_from_a_generator_go_there(pool):
    with make(pool) as executor:
        shared = executor.share([5])
        sums = list(executor.map(add, ([number] for number in range(TASKS)), [shared] * TASKS))

    assert sums == [[number, 5] for number in range(TASKS)]


@pytest.mark.parametrize("levels", ["thread", "sequential"])
def test_it_helps_beside_each_level(pool, levels):
    with make(pool, levels=levels) as executor:
        found = list(executor.map(where, until(executor, levels, "cluster")))

    assert [number for number, _ in found] == list(range(len(found)))


def test_three_tasks_stay_here(pool):
    with make(pool, tasks=3) as executor:
        assert list(executor.map(abs, [-1, -2, -3])) == [1, 2, 3]
        assert executor.report.levels == ("thread",)


def test_the_initializer_runs_once_in_each_of_its_workers(pool, tmp_path):
    book = tmp_path / "book"
    with make(pool, initializer=note, initargs=(str(book),)) as executor:
        found = list(executor.map(where, until(executor, "cluster")))

    noted = book.read_text().split()
    assert {pid for _, pid in found} <= {int(pid) for pid in noted}
    assert len(noted) == len(set(noted))


def test_an_engine_whose_initializer_fails_is_not_used(pool):
    with make(pool, initializer=fail) as executor:
        list(executor.outcomes(abs, range(8)))
        wait_for(lambda: any("no licence" in str(d) for d in executor.report.decisions))

    assert "cluster" not in executor.report.levels


def test_a_module_that_is_another_one_there_keeps_the_batch_here(pool, monkeypatch):
    real = bundles.mark_of
    monkeypatch.setattr(bundles, "mark_of", lambda name: "0" if "test_" in name else real(name))
    with make(pool) as executor:
        found = list(executor.map(where, until(executor, *BOTH)))

    assert [number for number, _ in found] == list(range(len(found)))
    refused = [d for d in executor.report.decisions if d.event == "refused"]
    assert "is another one there" in str(refused[0].reason.fact("error"))
    assert executor.report.lost_tasks == 0


@pytest.mark.parametrize("field", ["python", "version"])
def test_an_engine_with_another_python_or_version_is_not_used(pool, monkeypatch, field):
    own = away.own_greeting()._replace(**{field: "other 9"})
    monkeypatch.setattr(bundles, "own_greeting", lambda: own)
    with make(pool) as executor:
        found = list(executor.map(where, range(TASKS)))
        wait_for(lambda: "start_refused" in codes(executor))

    assert len(found) == TASKS
    assert "cluster" not in executor.report.levels


def test_an_executor_that_is_shut_down_already_is_said_and_not_used(caplog):
    shut = ThreadPoolExecutor(1)
    shut.shutdown()
    with caplog.at_level(logging.WARNING, "adaptive_exec"), make(shut) as executor:
        found = list(executor.map(where, range(TASKS)))

    assert len(found) == TASKS
    assert "cannot schedule new futures after shutdown" in caplog.text
    assert "degraded: run cluster -> process" in caplog.text


def test_an_executor_that_is_shut_down_in_the_middle_loses_nothing():
    pool = ThreadPoolExecutor(2)
    with make(pool) as executor:
        results = executor.map(where, range(2 * TASKS))
        wait_for(lambda: is_there(executor))
        pool.shutdown(wait=False, cancel_futures=True)
        found = list(results)

    assert [number for number, _ in found] == list(range(2 * TASKS))
    assert "help_lost" in codes(executor)


class Silent(Executor):
    """Takes everything and never answers."""

    _max_workers = 1

    def submit(self, fn, /, *args, **kwargs):
        return Future()


def test_an_engine_that_never_answers_is_left_after_a_bounded_wait():
    with make(Silent(), cluster_wait=0.5) as executor:
        found = list(executor.map(where, range(TASKS)))
        wait_for(lambda: "start_refused" in codes(executor))

    assert len(found) == TASKS


class Late(ThreadPoolExecutor):
    """Holds chunks back until it is told to let them go, and counts what it was given."""

    def __init__(self):
        super().__init__(2)
        self.may_go = threading.Event()
        self.chunks = 0

    def submit(self, fn, /, *args, **kwargs):
        if fn is away.greet:
            return super().submit(fn, *args, **kwargs)
        self.chunks += 1
        return super().submit(self._wait_and, fn, *args)

    def _wait_and(self, fn, *args):
        self.may_go.wait(60)
        return fn(*args)


def test_an_answer_that_comes_after_its_tasks_went_elsewhere_is_dropped(monkeypatch):
    monkeypatch.setattr("adaptive_exec.core.beside.OVERDUE_SECONDS_MIN", 0.3)
    with Late() as pool, make(pool, max_workers=1) as executor:
        results = executor.outcomes(where, range(TASKS))
        found = list(results)
        assert pool.chunks
        pool.may_go.set()
        again = list(executor.map(where, range(TASKS)))

    assert sorted(one.index for one in found) == list(range(TASKS))
    assert [number for number, _ in again] == list(range(TASKS))
    assert "chunk_overdue" in codes(executor)


def test_a_shutdown_takes_no_engine_along(pool):
    with make(pool) as executor:
        list(executor.map(where, range(TASKS)))

    assert pool.submit(math.sqrt, 4).result(30) == 2


def test_without_it_nothing_of_it_is_loaded():
    code = (
        "import sys; from adaptive_exec import adaptive_executor\n"
        "with adaptive_executor(range(9)) as ex: list(ex.map(abs, range(9)))\n"
        "print([n for n in sys.modules if n.startswith('adaptive_exec') and n.split('.')[-1] in"
        " ('cluster', 'engines', 'dask_engine', 'away', 'bundles')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("wrong", [7, "host:8786", "local", True, ThreadPoolExecutor])
def test_what_cannot_be_a_cluster_is_refused_at_once(wrong):
    with pytest.raises((TypeError, ValueError), match="cluster must be"):
        adaptive_executor(cluster=wrong)


def test_the_command_takes_an_address_and_goes_on_here_where_nobody_listens(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def square(row):\n    return {'square': int(row['n']) ** 2}\n"
    )
    (tmp_path / "n.csv").write_text("n\n" + "\n".join(map(str, range(50))))
    words = "run --function mine:square --input n.csv --output out.csv --cluster tcp://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-m", "adaptive_exec", *words.split(), "--cluster-wait", "1s"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 51


def test_an_exception_that_cannot_be_read_has_a_line_all_the_same():
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert line_of(MuteError()) == "MuteError: its message cannot be read"
    assert line_of(ValueError("one\ntwo")) == "ValueError: one"
