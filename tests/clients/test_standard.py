"""The standard pools' faces: constructors, errors and endings as those of the pools."""

import asyncio
import concurrent.futures
import os
import pickle
import sys
import threading
from concurrent.futures import BrokenExecutor
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import BrokenThreadPool
from multiprocessing import get_context

import pytest

from adaptive_exec import (
    InitializerError,
    PoisonTaskError,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    WorkerLostError,
)

WAIT_SECONDS = 120


def cube(number):
    return number**3


def fail(number):
    raise ValueError(number)


def end(_=None):
    os._exit(3)


def fail_first(*_):
    raise KeyError("first")


def in_process(_=None):
    return os.getpid()


@pytest.mark.parametrize("kind", [ProcessPoolExecutor, ThreadPoolExecutor])
@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0"),
        ({"max_workers": -1}, ValueError, "max_workers must be greater than 0"),
        ({"initializer": 1}, TypeError, "initializer must be a callable"),
        ({"no_such": 1}, TypeError, "unknown setting"),
    ],
)
def test_wrong_arguments_are_refused_in_the_standard_words(kind, arguments, error, text):
    with pytest.raises(error, match=text):
        kind(**arguments)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0, ValueError, "max_tasks_per_child must be >= 1"),
        (1.5, TypeError, "max_tasks_per_child must be an integer"),
    ],
)
def test_a_wrong_number_of_tasks_per_child_is_refused(value, error, text):
    with pytest.raises(error, match=text):
        ProcessPoolExecutor(1, max_tasks_per_child=value)


def test_a_fork_and_a_number_of_tasks_per_child_exclude_each_other():
    with pytest.raises(ValueError, match="incompatible with the 'fork'"):
        ProcessPoolExecutor(1, get_context("fork"), max_tasks_per_child=1)


def test_they_are_instances_of_the_standard_classes():
    assert issubclass(ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor)
    assert issubclass(ThreadPoolExecutor, concurrent.futures.ThreadPoolExecutor)


def test_few_tasks_are_isolated_in_one_and_never_in_the_other():
    with ProcessPoolExecutor(2) as processes, ThreadPoolExecutor(2) as threads:
        assert processes.submit(in_process).result(WAIT_SECONDS) != os.getpid()
        assert set(processes.map(in_process, [1])) != {os.getpid()}
        assert set(threads.map(in_process, range(20))) == {os.getpid()}


def test_the_iterator_of_a_map_is_a_generator_that_ends_at_the_first_exception():
    with ProcessPoolExecutor(1) as pool:
        results = pool.map(cube, [1, "2", 3])
        assert iter(results) is results
        assert next(results) == 1
        with pytest.raises(TypeError) as caught:
            next(results)
        assert list(results) == []
        results.close()
    assert "cube" in caught.value.__cause__.tb


def test_a_traceback_of_the_worker_is_told_as_the_standard_pool_does():
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(fail, 3).exception(WAIT_SECONDS)
    assert isinstance(error, ValueError)
    assert type(error.__cause__).__name__ == "_RemoteTraceback"
    assert "in fail" in str(error.__cause__)


@pytest.mark.faults
def test_a_lost_worker_is_caught_by_who_catches_a_broken_pool_and_costs_its_task_alone():
    with ProcessPoolExecutor(2, retries=0) as pool:
        with pytest.raises(BrokenProcessPool) as caught:
            pool.submit(end).result(WAIT_SECONDS)
        assert pool.submit(cube, 2).result(WAIT_SECONDS) == 8
    assert isinstance(caught.value, WorkerLostError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, BrokenProcessPool)
    assert (copy.index, copy.cause) == (caught.value.index, caught.value.cause)


@pytest.mark.faults
def test_poison_in_a_map_is_caught_by_who_catches_a_broken_pool():
    with ProcessPoolExecutor(2) as pool, pytest.raises(BrokenProcessPool) as caught:
        list(pool.map(end, range(2)))
    assert isinstance(caught.value, PoisonTaskError)


@pytest.mark.parametrize(
    ("kind", "error"),
    [(ProcessPoolExecutor, BrokenProcessPool), (ThreadPoolExecutor, BrokenThreadPool)],
)
def test_a_failed_initializer_breaks_the_pool(kind, error):
    with kind(1, initializer=fail_first) as pool:
        assert not pool._broken
        with pytest.raises(error) as caught:
            pool.submit(cube, 1).result(WAIT_SECONDS)
        assert isinstance(caught.value, InitializerError)
        assert "KeyError: 'first'" in caught.value.text
        assert pool._broken
        with pytest.raises(error):
            pool.submit(cube, 1)
        with pytest.raises(error):
            pool.map(cube, [1])


def test_nothing_is_taken_on_after_a_shutdown():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(cube, 1)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.map(cube, [1])


@pytest.mark.parametrize("kind", [ProcessPoolExecutor, ThreadPoolExecutor])
def test_a_shutdown_that_cancels_lets_as_many_run_as_there_are_workers(kind):
    pool = kind(2)
    futures = [pool.submit(cube, number) for number in range(50)]
    pool.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures)
    results = [future.result() for future in futures if not future.cancelled()]
    assert len(results) >= 2
    assert set(results) <= {number**3 for number in range(50)}


def test_a_shutdown_that_cancels_ends_maps():
    gate = threading.Event()
    pool = ThreadPoolExecutor(1)
    first = pool.submit(gate.wait, WAIT_SECONDS)
    results = pool.map(cube, range(5))
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    with pytest.raises(concurrent.futures.CancelledError):
        list(results)
    assert first.result(WAIT_SECONDS)
    pool.shutdown()


def test_threads_have_names_and_the_number_that_was_asked_for():
    meeting = threading.Barrier(3)

    def meet():
        meeting.wait(WAIT_SECONDS)
        return threading.current_thread().name

    with ThreadPoolExecutor(3, "guest") as pool:
        names = [future.result(WAIT_SECONDS) for future in [pool.submit(meet) for _ in range(3)]]
        assert {thread.name for thread in pool._threads} == set(names)
    assert sorted(names) == ["guest_0", "guest_1", "guest_2"]


def test_threads_without_a_number_are_as_many_as_in_the_standard_pool():
    with ThreadPoolExecutor() as ours, concurrent.futures.ThreadPoolExecutor() as theirs:
        assert ours._max_workers == theirs._max_workers


class Counting(ThreadPoolExecutor):
    def __init__(self, *args):
        super().__init__(*args)
        self.count = 0

    def submit(self, fn, /, *args, **kwargs):
        self.count += 1
        return super().submit(fn, *args, **kwargs)


def test_a_map_goes_through_a_submit_that_somebody_has_put_there():
    with Counting(2) as pool:
        assert list(pool.map(cube, range(5))) == [number**3 for number in range(5)]
    assert pool.count == 5


def test_a_program_may_make_it_the_default_executor_of_its_event_loop():
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        return await asyncio.to_thread(cube, 3)

    assert asyncio.run(main()) == 27


@pytest.mark.skipif(sys.platform != "linux", reason="needs a fork")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_an_initializer_may_be_given_a_queue_of_the_context(method):
    context = get_context(method)
    queue = context.Queue()
    with ProcessPoolExecutor(1, context, queue.put, ("here",)) as pool:
        assert pool.submit(cube, 2).result(WAIT_SECONDS) == 8
        assert queue.get(timeout=WAIT_SECONDS) == "here"
    queue.close()
    queue.join_thread()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a fork")
def test_a_child_that_is_spawned_is_replaced_after_its_tasks():
    with ProcessPoolExecutor(1, max_tasks_per_child=2) as pool:
        pids = [pool.submit(in_process).result(WAIT_SECONDS) for _ in range(4)]
    assert pids[0] == pids[1]
    assert pids[2] == pids[3] != pids[0]


def test_broken_of_either_kind_is_a_broken_executor():
    with ThreadPoolExecutor(1, initializer=fail_first) as pool:
        assert isinstance(pool.submit(cube, 1).exception(WAIT_SECONDS), BrokenExecutor)
