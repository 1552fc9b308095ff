"""What has hung, broken or bloated other pools: kinds of reports about them, as small programs."""

import gc
import os
import signal
import sys
import time
import weakref
from concurrent.futures import as_completed, wait

import pytest

from adaptive_exec import PoisonTaskError, adaptive_executor
from tests.levels.ladder import ISOLATED, executor_at
from tests.levels.leaks import eventually

END_SECONDS = 60.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills and forks")


class CannotBePacked:
    def __reduce__(self):
        raise RuntimeError("not to be packed")


class EndsWhoPacks:
    def __reduce__(self):
        os._exit(5)


class EndsWhoUnpacks:
    def __reduce__(self):
        return os._exit, (3,)


class CannotBeUnpacked:
    def __reduce__(self):
        return fail_to_unpack, ()


def fail_to_unpack():
    raise ValueError("not to be unpacked")


def make(kind):
    return kind()


def die_on_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fill(_number):
    return bytearray(1 << 20)


@pytest.mark.parametrize("level", ISOLATED)
def test_a_call_cancelled_at_once_holds_no_shutdown_up(level):
    with executor_at(level, max_workers=1) as executor:
        executor.submit(int).result(END_SECONDS)
        executor.submit(int).cancel()
        began = time.monotonic()
    assert time.monotonic() - began < END_SECONDS


def test_a_call_that_cannot_be_packed_has_its_error_after_a_shutdown_that_does_not_wait():
    executor = adaptive_executor(levels="process", share_host=False)
    future = executor.submit(id, CannotBePacked())
    executor.shutdown(wait=False)
    assert future.exception(END_SECONDS) is not None
    executor.shutdown()


def test_a_worker_that_dies_after_a_shutdown_that_does_not_wait_costs_its_task_alone():
    executor = adaptive_executor(levels="process", max_workers=2, share_host=False)
    futures = [executor.submit(die_on_three, number) for number in range(8)]
    executor.shutdown(wait=False)
    assert not wait(futures, END_SECONDS).not_done
    assert type(futures.pop(3).exception()) is PoisonTaskError
    assert [one.result() for one in futures] == [0, 1, 2, 4, 5, 6, 7]
    executor.shutdown()


@pytest.mark.parametrize("level", ISOLATED)
def test_what_ends_or_fails_while_it_is_packed_or_unpacked_touches_no_other_call(level):
    with executor_at(level, max_workers=2, retries=1) as executor:
        ill = [
            executor.submit(make, kind) for kind in (CannotBePacked, EndsWhoPacks, CannotBeUnpacked)
        ]
        ill.append(executor.submit(id, EndsWhoUnpacks()))
        well = [executor.submit(abs, -number) for number in range(30)]
        assert [one.result(END_SECONDS) for one in well] == list(range(30))
        assert all(one.exception(END_SECONDS) is not None for one in ill)


@pytest.mark.parametrize("level", ["thread", "process"])
def test_who_lets_go_of_a_future_lets_go_of_its_result(level):
    with executor_at(level, max_workers=1) as executor:
        futures = [executor.submit(fill, number) for number in range(5)]
        seen = [weakref.ref(one) for one in futures]
        for future in as_completed(list(futures)):
            futures.remove(future)
        del future
        assert eventually(lambda: gc.collect() >= 0 and not any(one() for one in seen))


def test_calls_cancelled_between_others_leave_none_in_limbo():
    with adaptive_executor(levels="process", max_workers=2, share_host=False) as executor:
        futures = []
        for number in range(600):
            futures.append(executor.submit(abs, -number))
            if number % 3 == 0:
                futures[-1].cancel()
        assert not wait(futures, END_SECONDS).not_done


@pytest.mark.parametrize("after_seconds", [0.0, 0.02, 0.08, 0.3])
def test_an_end_at_once_comes_at_any_moment_of_the_start(after_seconds):
    executor = adaptive_executor(levels="process", max_workers=3, share_host=False)
    futures = [executor.submit(time.sleep, END_SECONDS) for _ in range(5)]
    time.sleep(after_seconds)  # a moment of the start, whichever it is
    began = time.monotonic()
    executor.kill_workers()
    assert time.monotonic() - began < END_SECONDS / 2
    assert not wait(futures, END_SECONDS / 2).not_done
