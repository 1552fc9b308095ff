"""An error of this package beside a task ends what it touches, and says what it was."""

import time

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.errors import DriverError, WorkerLostError
from adaptive_exec.levels import thread, worker


def double(index):
    return index * 2


def broken(*_, **__):
    message = "a mistake of ours"
    raise ZeroDivisionError(message)


def break_the_worker(index):
    worker.Worker.publish = broken
    return index


def test_an_error_beside_the_tasks_of_a_thread_ends_those_without_an_outcome(monkeypatch):
    real = thread.run_bite
    bites = []

    def fail_in_the_second(*args):
        bites.append(args[1])
        return real(*args) if len(bites) == 1 else broken()

    monkeypatch.setattr(thread, "run_bite", fail_in_the_second)
    began = time.monotonic()
    with adaptive_executor(levels=("thread",), max_workers=1, share_host=False) as executor:
        results = executor.map(double, range(8), chunksize=8)
        assert next(results) == 0
        for _ in range(7):
            with pytest.raises(DriverError, match="a mistake of ours") as raised:
                next(results)
            assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("start", [None, pytest.param("loky", marks=pytest.mark.slow)])
def test_a_worker_that_an_error_of_ours_ends_leaves_its_last_words(start):
    with (
        adaptive_executor(
            isolate=True, max_workers=1, share_host=False, retries=0, start=start
        ) as executor,
        pytest.raises(WorkerLostError, match="ZeroDivisionError: a mistake of ours"),
    ):
        list(executor.map(break_the_worker, range(3)))
