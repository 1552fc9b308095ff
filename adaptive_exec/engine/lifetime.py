"""What ends a driver from outside: the interpreter's exit, a fork.

Knows every driver that is alive, and nothing of what drivers do.
"""

import atexit
import os
import sys
import threading
import weakref
from typing import Protocol


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


exit_began = threading.Event()
"""Set once the interpreter ends: nothing new is taken on."""
_alive: "weakref.WeakSet[Mortal]" = weakref.WeakSet()


def enter(mortal: Mortal) -> None:
    """Know of one more."""
    _alive.add(mortal)


def leave(mortal: Mortal) -> None:
    """Forget one that has ended."""
    _alive.discard(mortal)


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
