"""Signals, groups, and what the kernel says of a process by its number; for Linux, `prctl`.

The one place where these are called: starters and zygotes, probes and the command ask here. Imports
little: every zygote imports it. Which process a number stands for is `identity`'s matter.

Source: man 5 proc_pid_stat; man 2 prctl, pidfd_open, killpg; linux/prctl.h.
"""

import _signal as signal  # type: ignore[import-not-found]  # `signal` imports `enum`: 6 ms
import os

REAP_SECONDS = 1.0
"""Seconds to wait for a process that was killed, or said that it has ended, to be gone; one that
stands in the kernel is let go of after that."""

STATE, PARENT, GROUP, STARTED, RESIDENT = 0, 1, 2, 19, 21
"""Positions in what `read_stat` returns, counted from the state, which is field 3 of 52."""
TIMES = slice(11, 15)
"""The time of the process and of its children that have ended, each for program and kernel."""
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36
_STAT_BYTES = STATUS_BYTES = 4096
"""Bytes read of a process's `stat`, which has 300, and of its `status`, which has 1,500."""


def read_stat(pid: int) -> list[bytes]:
    """Return what the kernel says of a process, from its state on; nothing where it is gone."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return []
    try:
        # The program's name is in parentheses and may hold spaces and parentheses itself.
        return os.read(descriptor, _STAT_BYTES).rpartition(b")")[2].split()
    except OSError:
        return []
    finally:
        os.close(descriptor)


def started_ticks(pid: int) -> int:
    """Return when a process began, in clock ticks since the boot; 0 where it cannot be read."""
    words = read_stat(pid)
    return int(words[STARTED]) if len(words) > STARTED else 0


def says_stopped(status: bytes) -> bool:
    r"""Say, by its `status`, whether a process stands still for a signal; False for nothing read.

    >>> says_stopped(b"Name:\tState:\tT\nState:\tS (sleeping)\n")
    False
    """
    return b"\nState:\tT" in status or b"\nState:\tt" in status


def kill_group(pid: int) -> None:
    """Kill a process and all in its group; one that is gone is gone."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except OSError:
            continue


def open_pidfd(pid: int) -> int:
    """Return a descriptor that is readable once a process has ended; -1 where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def prctl(option: int, value: int) -> None:
    """Call Linux's prctl; where it cannot be called, nothing happens."""
    try:
        import _ctypes  # `ctypes` costs 2 ms more, and some Pythons have neither

        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is this program itself
        _ctypes.call_function(_ctypes.dlsym(library, "prctl"), (option, int(value), 0, 0, 0))
    except (ImportError, AttributeError, OSError):
        return
