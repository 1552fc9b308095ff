"""Make a process that was forked from the caller like one that was started anew.

It keeps what the program has loaded and computed. It does not keep what belongs to the caller
alone: descriptors, what is to be done at the end, answers to signals, and what tools have put in.
Runs in the snapshot zygote, before anything else does; decides nothing.
"""

import _signal as signal  # type: ignore[import-not-found]  # as in `levels/zygote_main`
import os
import sys

from adaptive_exec.program.ending import forget_endings
from adaptive_exec.program.modules import own_modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_IGNORED_AT_START = ("SIGPIPE", "SIGXFSZ")
"""Signals that an interpreter ignores when it begins. Source: CPython, Python/pylifecycle.c."""
_ENDS_POOLS = "concurrent.futures.thread"
_kept: "list[Any]" = []
"""What would be finalized here when a name gets another value; it is the caller's to finalize."""


def begin_anew(kept: "Iterable[int]") -> None:
    """Let go of what is the caller's alone.

    Args:
        kept: Descriptors that stay what they are, beside the standard ones.
    """
    reset_signals()
    close_off(kept)
    _take_streams()
    forget_endings()
    _forget_later_endings()
    _forget_tools()
    _hold_values()


def reset_signals() -> None:
    """Answer signals as a new process does: what was ignored stays so, nothing else does."""
    faulthandler = sys.modules.get("faulthandler")
    if faulthandler is not None:
        faulthandler.disable()  # else it would take itself for enabled when it is again
    signal.set_wakeup_fd(-1)
    ignored = {getattr(signal, name, 0) for name in _IGNORED_AT_START}
    for number in map(int, signal.valid_signals()):
        try:
            if number in ignored:
                signal.signal(number, signal.SIG_IGN)
            elif signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # SIGKILL, SIGSTOP, what the C library keeps for itself


def close_off(kept: "Iterable[int]") -> None:
    """Put in the place of every descriptor one that fails in all that is done with it.

    Numbers that objects of the caller's hold are so never those of other files. The standard ones
    stay.

    Args:
        kept: Those that stay what they are.
    """
    spared = {0, 1, 2, *kept}
    dead = os.open(os.devnull, os.O_PATH | os.O_CLOEXEC)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in spared and number != dead:
            try:
                os.fstat(number)  # that of the folder itself is gone again
                os.dup2(dead, number, inheritable=False)
            except OSError:
                continue


def _take_streams() -> None:
    """Have the streams of the process itself: a redirection is the caller's, as is its input."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.dup2(descriptor, 0)
    os.close(descriptor)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115  # as long as the process
    for name in ("stdout", "stderr"):
        stream = getattr(sys, f"__{name}__", None)
        setattr(sys, name, None if getattr(stream, "closed", True) else stream)


def _forget_later_endings() -> None:
    """Have only pools of threads ended that tasks make themselves."""
    threading = sys.modules.get("threading")
    later = getattr(threading, "_threading_atexits", None)
    if isinstance(later, list):
        later.clear()
        pools = sys.modules.get(_ENDS_POOLS)
        if pools is not None:
            threading._register_atexit(pools._python_exit)  # type: ignore[union-attr]  # noqa: SLF001  # as it does itself
    logging = sys.modules.get("logging")
    if logging is not None:
        logging._handlerList.clear()  # noqa: SLF001  # else those of the caller were flushed at the end


def _forget_tools() -> None:
    """Watch no line for a debugger or profiler, and report errors as a new interpreter does."""
    sys.settrace(None)
    sys.setprofile(None)
    sys.excepthook = sys.__excepthook__
    sys.unraisablehook = sys.__unraisablehook__


def _hold_values() -> None:
    """Hold what the user's modules hold: a name that gets another value here finalizes nothing."""
    for _, module in own_modules():
        _kept.append(list(vars(module).values()))
