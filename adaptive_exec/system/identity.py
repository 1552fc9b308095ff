"""Which process this is, and whether another one is proved to be gone.

A process is known by the boot of its machine, the namespaces in which its number and its start mean
something, the number and the start. The one place where that is decided: journal, ledger, task
folders and pid files ask here. That nothing is known of a process never proves that it is gone.

Source: proc_pid_stat(5), fields 3 and 22; pid_namespaces(7); time_namespaces(7).
"""

import os
from typing import Final, NamedTuple

from adaptive_exec.system.processes import STARTED, STATE, read_stat

_ENDED: Final = frozenset((b"Z", b"X", b"x"))
"""States of a process that runs no code any more: its parent has not asked for its end yet."""
_NAME_BYTES: Final = 4096
"""Bytes of an id or a number that are read; all are far shorter."""
_BOOT: Final = "/proc/sys/kernel/random/boot_id"
_MACHINE: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")


class Identity(NamedTuple):
    """A process, as others can know it.

    Attributes:
        machine: Names the machine, for people too; images that were copied may share it.
        boot: Which start of which kernel it is; `""` where that cannot be read.
        space: The namespaces in which number and start mean something; `""` where there are none.
        pid: Its process number in there.
        started: Clock ticks from boot to its start; 0 where unknown.
    """

    machine: str
    boot: str
    space: str
    pid: int
    started: int


_known: list[Identity] = []
"""This process, once it has been asked for; in a forked child its pid tells that it is another."""


def this_process() -> Identity:
    """Return this process."""
    pid = os.getpid()
    if not _known or _known[0].pid != pid:
        _known[:] = [Identity(_machine(), _read(_BOOT), _space(), pid, started_at(pid))]
    return _known[0]


def is_proved_gone(other: Identity, here: Identity | None = None) -> bool:
    """Say whether a process has ended for sure.

    Args:
        other: The process.
        here: This process, None for what it is.

    Returns:
        True if this boot and namespace have no such process, or another one of that number. False
        where it lives, and where nobody here can tell: on another machine, before a boot, in a
        container.
    """
    here = here or this_process()
    if not other.boot or (other.boot, other.space) != (here.boot, here.space):
        return False
    if not _exists(other.pid):
        return True
    found = _look(other.pid)
    if found is None:  # hidden from us, or /proc is another namespace's
        return False
    state, started = found
    return state in _ENDED or (bool(other.started) and started != other.started)


def is_same_running(other: Identity, here: Identity | None = None) -> bool:
    """Say whether this very process runs for sure, so that it may be signalled.

    Args:
        other: The process.
        here: This process, None for what it is.
    """
    here = here or this_process()
    if not other.boot or (other.boot, other.space) != (here.boot, here.space):
        return False
    found = _look(other.pid)
    return found is not None and found[0] not in _ENDED and 0 < other.started == found[1]


def started_at(pid: int) -> int:
    """Return the clock ticks from boot to a process's start; 0 where gone, ended or unknown."""
    found = _look(pid)
    return 0 if found is None or found[0] in _ENDED else found[1]


def name_of(one: Identity) -> str:
    """Return a name for files of a process; `is_named_gone` reads it."""
    return f"{_place(one)}-{one.pid}-{one.started}"


def is_named_gone(name: str) -> bool:
    """Say whether the process that a file is named after is proved to be gone.

    Args:
        name: What `name_of` has returned; anything else proves nothing.
    """
    here = this_process()
    place, pid, started = ["", "", *name.rsplit("-", 2)][-3:]
    if place != _place(here) or not (pid.isdecimal() and started.isdecimal()):
        return False
    return is_proved_gone(here._replace(pid=int(pid), started=int(started)), here)


def _place(one: Identity) -> str:
    numbers = "".join(letter if letter.isdecimal() else "." for letter in one.space)
    return f"{one.boot.replace('-', '')}-{numbers.strip('.').replace('..', '.')}"


def _exists(pid: int) -> bool:
    """Say whether there is a process of a number; the kernel is asked, /proc may be another's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's, so it is there
        return True
    return True


def _look(pid: int) -> tuple[bytes, int] | None:
    """Return state and start of a process, None where /proc does not tell."""
    if not _is_proc_ours():
        return None
    words = read_stat(pid)
    if len(words) <= STARTED:
        return None
    return words[STATE], int(words[STARTED])


def _is_proc_ours() -> bool:
    """Say whether /proc numbers processes as we do: after `unshare --pid` it may be the outer."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115  # pathlib costs 5 ms
    except OSError:
        return False


def _space() -> str:
    """Name the namespaces of numbers and of starts: in another one of time the latter differ."""
    return "".join(filter(None, (_link("/proc/self/ns/pid"), _link("/proc/self/ns/time"))))


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115  # as above
    except OSError:
        return ""


def _machine() -> str:
    return next(filter(None, map(_read, _MACHINE)), "") or _node()


def _node() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _read(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return ""
    try:
        return os.read(descriptor, _NAME_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)
