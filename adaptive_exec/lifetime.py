"""What ends a driver from outside: the interpreter's exit, a fork, Ctrl-C in the middle of a step.

Knows every driver that is alive, and nothing of what drivers do.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Final, Protocol


class Mortal(Protocol):
    """What is to be ended."""

    def terminate(self) -> None:
        """End everything now."""

    def stop(self, *, cancel: bool, at_exit: bool) -> None:
        """Ask for the end."""

    def wait_finished(self) -> None:
        """Wait for it."""

    def let_go(self) -> None:
        """In a forked child: close the descriptors, touch nothing else."""


_HELD: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
"""Signals that programs answer by raising: Ctrl-C, an end that is asked for, a deadline."""
exit_began = threading.Event()
"""Set once the interpreter ends: nothing new is taken on."""
_alive: "weakref.WeakSet[Mortal]" = weakref.WeakSet()


def enter(mortal: Mortal) -> None:
    """Know of one more."""
    _alive.add(mortal)


def leave(mortal: Mortal) -> None:
    """Forget one that has ended."""
    _alive.discard(mortal)


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """Hold back, in the main thread, what signal handlers would do while state is being changed.

    Any of the program's own handlers may raise, as Ctrl-C's does, and would leave a step half done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, Any]] = []
    held: dict[int, Any] = {}
    try:
        for number in _HELD:
            before = signal.getsignal(number)
            if callable(before):
                held[number] = before  # noted first: from here on it is put back
                signal.signal(number, lambda number, frame: came.append((number, frame)))
        yield
    finally:
        handlers = dict(held)
        _put_back(held)
        for number, frame in came:
            handlers[number](number, frame)


def _put_back(held: dict[int, Any]) -> None:
    """Set handlers again, all of them, whatever the first of them raises at once."""
    if held:
        number, handler = held.popitem()
        try:
            signal.signal(number, handler)
        finally:
            _put_back(held)


def _forget_in_child() -> None:
    """Close, in a process forked from this one, what belongs to this one."""
    for mortal in list(_alive):
        mortal.let_go()
    _alive.clear()


def _stop_all() -> None:
    """Finish pending work before the interpreter goes, as `concurrent.futures` does.

    After a Ctrl-C, end it.
    """
    exit_began.set()
    if issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt):
        for mortal in list(_alive):
            mortal.terminate()
    for mortal in list(_alive):
        mortal.stop(cancel=False, at_exit=True)
    for mortal in list(_alive):
        mortal.wait_finished()


def _register() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_in_child)
    register = getattr(threading, "_register_atexit", atexit.register)
    register(_stop_all)


_register()
