"""What the first submitted call brings along is loaded before workers are forked, once for all."""

import importlib
import multiprocessing
import sys
from pathlib import Path

import pytest

from adaptive_exec import LevelUnavailableError, adaptive_executor

COUNTED = """
import functools, os, time

with open(os.path.join(os.path.dirname(__file__), "loads.txt"), "a") as file:
    file.write(f"{os.getpid()}\\n")

def wrapped(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args)
    return call

def meet(count, seconds=60):
    folder, end = os.path.dirname(__file__), time.monotonic() + seconds
    open(os.path.join(folder, f"{os.getpid()}.here"), "w").close()
    while sum(name.endswith(".here") for name in os.listdir(folder)) < count:
        assert time.monotonic() < end, "the others do not come"
        time.sleep(0.005)
    return os.getpid()

@wrapped
def decorated(count):
    return meet(count)

def plain(count):
    return meet(count)
"""


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "counted.py").write_text(COUNTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("counted")
    del sys.modules["counted"]


@pytest.mark.parametrize("name", ["plain", "decorated"])
def test_the_module_of_a_submitted_function_is_loaded_once_for_all_workers(
    counted, name: str, tmp_path: Path
):
    with adaptive_executor(levels="process", max_workers=2) as executor:
        futures = [executor.submit(getattr(counted, name), 2) for _ in range(8)]
        workers = {future.result(90) for future in futures}

    loads = set((tmp_path / "loads.txt").read_text().split())
    assert len(workers) == 2
    assert len(loads) == 2, "one by this process, one by the zygote"
    assert not loads & {str(pid) for pid in workers}


def test_a_closure_that_holds_much_is_not_packed_twice():
    class Payload:
        packed = 0

        def __reduce__(self):
            Payload.packed += 1
            return int, ()

    payload = Payload()
    with adaptive_executor(levels="process", max_workers=1) as executor:
        assert executor.submit(lambda: payload).result(60) == 0

    assert Payload.packed == 1


def test_the_number_of_workers_is_told_as_the_standard_pools_tell_it():
    with adaptive_executor(max_workers=3) as executor:
        assert executor._max_workers == 3
    with adaptive_executor() as executor:
        assert executor._max_workers >= 1


class Unloadable:
    """A function that travels but cannot be loaded where it arrives."""

    def __reduce__(self):
        return refuse, ()

    def __call__(self, number: int) -> int:
        return number


def refuse() -> None:
    message = "it cannot be loaded"
    raise ValueError(message)


@pytest.mark.parametrize("tasks", [1, 2, 5, 40])
def test_a_function_that_no_worker_can_load_ends_every_task_where_processes_are_all_there_is(
    tasks: int,
):
    with adaptive_executor(levels="process", max_workers=2) as executor:
        outcomes = list(executor.outcomes(Unloadable(), range(tasks)))

    assert sorted(outcome.index for outcome in outcomes) == list(range(tasks))
    assert all(isinstance(outcome.error, LevelUnavailableError) for outcome in outcomes)


def test_what_a_manager_hands_out_can_be_used_in_workers():
    with multiprocessing.Manager() as manager:
        queue = manager.Queue()
        with adaptive_executor(levels="process", max_workers=2) as executor:
            executor.submit(queue.put, 0).result(60)
            list(executor.map(queue.put, range(1, 5)))
            list(executor.map(put, [(queue, number) for number in range(5, 10)]))
        assert sorted(queue.get() for _ in range(10)) == list(range(10))


def put(task) -> None:
    queue, number = task
    queue.put(number)
