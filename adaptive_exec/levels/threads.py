"""Start a thread without ever hanging on one that could not boot; have one wait for a process.

`threading.Thread.start` waits without a bound for the new thread to report; a MemoryError while it
boots never does.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from adaptive_exec.levels.base import START_SECONDS, TICK_SECONDS

THREAD_STACK_BYTES: Final = 256 * 1024
"""Bytes of stack for a thread when the usual size was refused."""
STANDS_SECONDS: Final = 600.0
"""Seconds that a thread waits for a killed process which is not gone after CLOSE_SECONDS."""

_stack_lock = threading.Lock()


def start_thread(target: Callable[..., Any], name: str, *args: Any) -> threading.Thread:
    """Start a daemon thread; where its stack is refused, try once more with a small one.

    Args:
        target: What it runs.
        name: Its name.
        *args: Arguments of `target`.

    Returns:
        The running thread.

    Raises:
        RuntimeError: No thread can be started.
        MemoryError: There is no memory for one.
    """
    try:
        return _start(target, name, args)
    except (RuntimeError, MemoryError):
        with _stack_lock:
            usual = threading.stack_size(THREAD_STACK_BYTES)
            try:
                return _start(target, name, args)
            finally:
                threading.stack_size(usual)


def begin_thread(target: Callable[..., Any], name: str, *args: Any) -> None:
    """Start a daemon thread without waiting for it to boot, which it may never do.

    Raises:
        RuntimeError: No thread can be started.
        MemoryError: There is no memory for one.
    """
    thread = _make(target, name, args)
    if hasattr(thread, "_started"):
        thread._started = _NotAwaited()  # noqa: SLF001  # as below
    thread.start()


def wait_aside(poll: Callable[[], int | None]) -> None:
    """Have a thread wait for a process that was killed, else nobody would and it stayed a zombie.

    Args:
        poll: Says how it has ended, None while it has not.
    """
    with suppress(RuntimeError, MemoryError):  # no thread is to be had
        begin_thread(_wait, "adaptive-exec-reaper", poll)


def _wait(poll: Callable[[], int | None]) -> None:
    end = time.monotonic() + STANDS_SECONDS
    while poll() is None and time.monotonic() < end:
        time.sleep(TICK_SECONDS)


class _NotAwaited(threading.Event):
    """The event by which a thread says that it runs, and nobody waits for."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(0.0 if timeout is None else timeout)


class _Booted(threading.Event):
    """The event by which a thread says that it runs, waited for with a bound."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(START_SECONDS if timeout is None else timeout)


def _start(target: Callable[..., Any], name: str, args: tuple[Any, ...]) -> threading.Thread:
    thread = _make(target, name, args)
    booted = _Booted()
    if hasattr(thread, "_started"):
        thread._started = booted  # noqa: SLF001  # the only way to bound Thread.start; same in 3.11 to 3.14
    thread.start()
    if hasattr(thread, "_started") and not booted.is_set():
        message = "a thread was started but did not boot"
        raise MemoryError(message)
    return thread


def _make(target: Callable[..., Any], name: str, args: tuple[Any, ...]) -> threading.Thread:
    """Make a thread, also where the program has taken the hook away that `threading` asks for."""
    hook: Any = threading.excepthook
    if hook is not None:
        return threading.Thread(target=target, name=name, args=args, daemon=True)
    place: Any = threading
    place.excepthook = threading.__excepthook__
    try:
        return threading.Thread(target=target, name=name, args=args, daemon=True)
    finally:
        place.excepthook = hook
