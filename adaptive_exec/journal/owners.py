"""Who an instance is, and whether another one still lives.

A process is known by its number and the moment it began, which together are never used twice while
the host is up. Of an instance on another host only its last sign of life is known. Decides nothing.
"""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from adaptive_exec.config import ABSENT_SECONDS

_STATE, _STARTED = 0, 19
"""Fields of /proc/<pid>/stat behind the name, from 0: the state, and the start in clock ticks after
boot. Source: proc_pid_stat(5), fields 3 and 22."""
_ENDED = frozenset("ZXx")
"""States of a process that runs no code any more: its parent has not asked for its end yet."""


@dataclass(frozen=True, slots=True)
class Owner:
    """An instance, as the journal knows it.

    Attributes:
        host: The host's name.
        boot: Which start of the host it is; `""` where that cannot be read.
        space: The namespace that its process number belongs to; `""` where there are none.
        pid: Its process number.
        started: When the process began, as text that only says same or not; `""` where unknown.
    """

    host: str
    boot: str
    space: str
    pid: int
    started: str


def this_owner() -> Owner:
    """Return this process as an owner."""
    try:
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # no path: a name in the kernel
    except OSError:
        space = ""
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    pid = os.getpid()
    return Owner(platform.node(), boot, space, pid, start_of(pid) or "")


def is_alive(owner: Owner, here: Owner, *, silent_seconds: float) -> bool:
    """Tell whether an instance still lives.

    Args:
        owner: The instance.
        here: This process.
        silent_seconds: Seconds since its last sign of life.

    Returns:
        False once it is known to be gone; an instance that cannot be looked at is given up after
        ABSENT_SECONDS of silence.
    """
    if owner.host == here.host and owner.boot != here.boot:
        return False  # the host was started anew since
    if (owner.host, owner.space) == (here.host, here.space):
        started = start_of(owner.pid)
        return started is not None and started == (owner.started or started)
    return silent_seconds < ABSENT_SECONDS


def start_of(pid: int) -> str | None:
    """Return when a process began, None when it is gone, `""` where no more is known than it is."""
    if Path("/proc/self/stat").exists():
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        return fields[_STARTED] if fields and fields[_STATE] not in _ENDED else None
    try:
        import psutil  # 30 ms, only where there is no /proc
    except ImportError:
        return _ask(pid)
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _ask(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # somebody else's, so it is there
        return ""
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
