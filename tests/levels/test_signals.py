"""Signal handlers that raise, as Ctrl-C's does: the work ends, no task and no input is blamed."""

import _weakrefset
import random
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import pytest

from adaptive_exec.levels.bell import Bell
from tests.levels import work
from tests.levels.ladder import ISOLATED, LEVELS, executor_at

END_SECONDS = 20.0
"""Most seconds from a signal to the end of the executor: twenty times the promise of one second,
since all processes of a busy host may stand still for some."""
LONG_SECONDS = 600.0
"""Seconds of a nap that only an end of the executor ends."""


class StopAskedError(KeyboardInterrupt):
    """What a program's own handler raises."""


SWALLOWING_FILES = {_weakrefset.__file__, weakref.__file__}
"""Their code is called back by the interpreter, which only prints what it raises."""

AGAIN_SECONDS = 0.001
"""Until the alarm strikes again where the interpreter would have swallowed what it raises."""


def stop(_number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code.co_filename in SWALLOWING_FILES:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
            return
        frame = frame.f_back
    raise StopAskedError


@contextmanager
def alarm_raises(seconds: float) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


LOOK_SECONDS = 0.01
"""How often a nap looks whether it is over."""


class Naps:
    """Whether all naps are over, which ends those of threads: nothing else can.

    Not an `Event`: a handler that raises inside one may leave its lock taken for ever.
    """

    over = False


def nap(seconds: float) -> float:
    end = time.monotonic() + seconds
    while not Naps.over and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, LOOK_SECONDS))
    return seconds


@pytest.fixture(autouse=True)
def naps_end_with_the_test() -> Iterator[None]:
    Naps.over = False
    yield
    Naps.over = True


@pytest.mark.parametrize("level", LEVELS)
def test_a_handler_that_raises_ends_a_map_and_is_no_tasks_result(level: str):
    with executor_at(level) as executor:
        began = time.monotonic()
        with pytest.raises(StopAskedError), alarm_raises(0.3):
            list(executor.outcomes(nap, [0.01, 0.01, *[LONG_SECONDS] * 3]))
        executor.kill_workers()
        assert time.monotonic() - began < END_SECONDS


def test_an_interrupt_while_the_input_is_asked_is_no_mistake_of_the_inputs():
    def slow_input() -> Iterator[float]:
        yield 0.0
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        time.sleep(LONG_SECONDS)
        yield 0.0

    with executor_at("thread") as executor:
        began = time.monotonic()
        with pytest.raises(StopAskedError), alarm_raises(0):
            list(executor.map(nap, slow_input()))
        assert time.monotonic() - began < END_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_wherever_a_handler_raises_the_executor_ends_in_time(level: str):
    dice = random.Random(7)
    for _ in range(60):
        Naps.over = False
        began = time.monotonic()
        with suppress(StopAskedError), alarm_raises(0.001 + 0.1 * dice.random()):
            executor = executor_at(level)
            try:
                for _ in executor.map(nap, iter([0.0002] * 200 + [LONG_SECONDS] * 9)):
                    pass
                pytest.fail("the map ended without its interrupt")
            finally:
                executor.kill_workers()
                Naps.over = True
        assert time.monotonic() - began < END_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("level", ["thread", "sequential"])
def test_wherever_a_handler_raises_the_executor_can_be_used_again(level: str):
    dice = random.Random(2)
    for _ in range(150):
        executor = executor_at(level)
        with suppress(StopAskedError), alarm_raises(0.00001 + 0.004 * dice.random()):
            for _ in executor.map(abs, iter(range(300))):
                pass
        began = time.monotonic()
        assert list(executor.map(abs, range(20))) == list(range(20))
        executor.shutdown()
        assert time.monotonic() - began < END_SECONDS


class StruckLock:
    """A lock in whose taking a signal comes."""

    def __init__(self, inner) -> None:
        self.inner = inner

    def acquire(self, *, timeout: float) -> bool:
        is_taken = self.inner.acquire(timeout=timeout)
        signal.raise_signal(signal.SIGALRM)
        return is_taken

    def release(self) -> None:
        self.inner.release()


def test_a_handler_that_raises_as_a_caller_looks_around_leaves_no_lock_taken():
    with executor_at("sequential") as executor:
        driver = executor._driver
        lock = driver._lock
        with alarm_raises(0):
            driver._lock = StruckLock(lock)
            with pytest.raises(StopAskedError):
                driver._tend_alone()
            driver._lock = lock
        assert not lock.locked()
        assert list(executor.map(abs, range(20))) == list(range(20))


def test_a_bell_rung_before_the_wait_ends_it_once():
    bell = Bell()
    bell.ring()
    bell.ring()

    began = time.monotonic()
    bell.wait(END_SECONDS)
    assert time.monotonic() - began < END_SECONDS / 2

    began = time.monotonic()
    bell.wait(0.05)
    assert time.monotonic() - began >= 0.04


def test_a_bell_rung_by_another_thread_ends_a_wait():
    bell = Bell()
    timer = threading.Timer(0.05, bell.ring)
    timer.start()

    began = time.monotonic()
    bell.wait(END_SECONDS)
    timer.join(END_SECONDS)

    assert time.monotonic() - began < END_SECONDS / 2


@pytest.mark.parametrize("level", ISOLATED)
def test_a_program_that_ignores_the_end_of_its_children_has_workers(level):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with executor_at(level, max_workers=2) as executor:
            assert list(executor.map(work.square, range(20))) == [n * n for n in range(20)]
            assert "process" in executor.report.levels
    finally:
        signal.signal(signal.SIGCHLD, before)
