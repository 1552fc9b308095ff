"""Starts refused through the seam: what a runner's `start` raises is the machinery's failure.

Real limits are in `test_refused`; here are the errors that no limit makes at will.
"""

import logging
import threading

import pytest

from adaptive_exec import LevelUnavailableError, adaptive_executor
from adaptive_exec.levels.process import ProcessRunner
from adaptive_exec.levels.thread import ThreadRunner
from tests.faults.doom import WAYS, outcomes_of
from tests.levels import work

ERRORS = {
    "ENOMEM": OSError(12, "Cannot allocate memory"),
    "EAGAIN": BlockingIOError(11, "Resource temporarily unavailable"),
    "EMFILE": OSError(24, "Too many open files"),
    "ENOSPC": OSError(28, "No space left on device"),
    "ENOSYS": OSError(38, "Function not implemented"),
    "thread": RuntimeError("can't start new thread"),
    "memory": MemoryError("no memory"),
    "UnboundLocalError": UnboundLocalError("cannot access local variable"),
    "TypeError": TypeError("an integer is required"),
}


@pytest.fixture
def refuse(monkeypatch):
    """Return a function that makes a runner's start raise, always or the first few times."""

    def refuse(runner, error, *, times=None):
        start = runner.start
        tries = []

        def refused(self, workers):
            tries.append(list(workers))
            if times is None or len(tries) <= times:
                raise error
            start(self, workers)

        monkeypatch.setattr(runner, "start", refused)
        return tries

    return refuse


def lines_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", ERRORS)
def test_refused_processes_lead_to_threads_and_the_log_says_so(refuse, caplog, name):
    error = ERRORS[name]
    tries = refuse(ProcessRunner, error)
    with adaptive_executor(max_workers=2) as executor:
        assert list(executor.map(work.square, range(40))) == [n * n for n in range(40)]
        assert executor.report.levels == ("thread",)
    (line,) = lines_of(caplog)
    text = f"{type(error).__name__}: {error}"
    assert line.startswith(f"-- ProcessPoolExecutor failed ({text}), trying ThreadPoolExecutor ")
    assert len(tries) == 6  # one and five more, with growing patience


@pytest.mark.parametrize("way", WAYS)
def test_refused_processes_and_threads_lead_to_the_caller(refuse, caplog, way):
    refuse(ProcessRunner, ERRORS["ENOMEM"])
    refuse(ThreadRunner, ERRORS["thread"])
    with adaptive_executor(max_workers=2) as executor:
        found = outcomes_of(executor, way, work.same, range(40))
        assert executor.report.levels == ("sequential",)
    assert found == {number: number for number in range(40)}
    first, second = lines_of(caplog)
    assert first.startswith(
        "-- ProcessPoolExecutor failed (OSError: [Errno 12] Cannot allocate memory), "
        "trying ThreadPoolExecutor "
    )
    assert second.startswith(
        "-- ThreadPoolExecutor also failed (RuntimeError: can't start new thread), "
        "using sequential processing "
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_passing_squeeze_costs_no_level(refuse, caplog, way):
    refuse(ProcessRunner, ERRORS["EAGAIN"], times=2)
    with adaptive_executor(max_workers=2) as executor:
        found = outcomes_of(executor, way, work.same, range(40))
        assert executor.report.levels[0] == "process"
    assert found == {number: number for number in range(40)}
    assert lines_of(caplog) == []


def test_no_level_left_is_an_error_for_each_task_not_a_wait(refuse):
    refuse(ProcessRunner, ERRORS["ENOMEM"])
    with adaptive_executor(isolate=True, max_workers=2) as executor:
        errors = [outcome.error for outcome in executor.outcomes(work.same, range(6))]
        assert {type(error) for error in errors} == {LevelUnavailableError}
        assert {error.cause for error in errors} == {"OSError: [Errno 12] Cannot allocate memory"}
        with pytest.raises(LevelUnavailableError):
            executor.submit(work.same, 1).result(30)


def test_no_thread_for_the_driver_makes_the_caller_drive(monkeypatch, caplog):
    def refused(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with adaptive_executor(max_workers=2) as executor:
        assert list(executor.map(work.square, range(20))) == [n * n for n in range(20)]
        assert executor.submit(work.square, 9).result(30) == 81
        assert executor.report.levels == ("sequential",)
    assert len(lines_of(caplog)) == 2
