"""Reads what the system grants this process itself: cores, memory, processes, descriptors.

These facts are of the running process and not in files that could be saved, so a probe of a saved
tree is given them instead of calling `OwnProcess.read`. Says nothing about control groups.

Source: man 2 getrlimit; kernel/fork.c (who is exempt from RLIMIT_NPROC).
"""

import os
import sys
from functools import cache, lru_cache
from types import ModuleType
from typing import Final, NamedTuple

from adaptive_exec.core.snapshot import Limit
from adaptive_exec.host.cpu import own_cores
from adaptive_exec.host.reading import read_file, whole

try:
    import resource as _resource
except ImportError:  # Windows, Pyodide
    _limits: ModuleType | None = None
else:
    _limits = _resource

PLENTY_OF_PROCESSES: Final = 1024
"""Processes; with more room than this even if all of the host were ours, nobody counts. Source:
counting takes 3.4 us per process of the host, reading the host's total 9 us in all."""
COUNT_SECONDS: Final = 1.0
"""Seconds that a count of this user's processes stays good, so that counting takes under 1 % of the
time."""
_EXEMPT_CAPABILITIES: Final = 1 << 21 | 1 << 24
"""Bits of CAP_SYS_ADMIN and CAP_SYS_RESOURCE, either of which lifts RLIMIT_NPROC."""
_SIZE_COUNTS_SINCE: Final = (6, 2)
"""Linux version from which the size of /proc/self/fd is the number of descriptors."""


class OwnLimits(NamedTuple):
    """What this process itself may use; None means unlimited or unknown.

    Attributes:
        cores: Cores by affinity, host and environment.
        address_space_bytes: RLIMIT_AS.
        heap_bytes: RLIMIT_DATA.
        processes: RLIMIT_NPROC, where it binds.
        free_processes: Processes and threads that it still allows, at least.
        descriptors: RLIMIT_NOFILE.
        free_descriptors: Descriptors that it still allows.
        affinity: Names the set of cores that it may run on, `""` where unknown.
    """

    cores: tuple[Limit, ...] = ()
    address_space_bytes: int | None = None
    heap_bytes: int | None = None
    processes: int | None = None
    free_processes: int | None = None
    descriptors: int | None = None
    free_descriptors: int | None = None
    affinity: str = ""


class OwnProcess:
    """Reads the own limits again and again; remembers only the last count of processes."""

    def __init__(self) -> None:
        self._counted_at = float("-inf")
        self._counted = 0

    def read(self, now: float) -> OwnLimits:
        """Read the limits.

        Args:
            now: Monotonic seconds.

        Returns:
            The soft limits and what is left under them.
        """
        processes = self._process_limit()
        descriptors = _soft_limit("RLIMIT_NOFILE")
        return OwnLimits(
            cores=own_cores(),
            address_space_bytes=_soft_limit("RLIMIT_AS"),
            heap_bytes=_soft_limit("RLIMIT_DATA"),
            processes=processes,
            free_processes=None if processes is None else self._free_processes(processes, now),
            descriptors=descriptors,
            free_descriptors=None if descriptors is None else _free_descriptors(descriptors),
            affinity=_affinity(),
        )

    def _process_limit(self) -> int | None:
        limit = _soft_limit("RLIMIT_NPROC")
        if sys.platform == "win32" or limit is None or _is_exempt(os.getuid(), os.geteuid()):
            return None
        return limit

    def _free_processes(self, limit: int, now: float) -> int | None:
        everyone = _count_everyone()
        if everyone and limit - everyone > PLENTY_OF_PROCESSES:
            return limit - everyone
        if now - self._counted_at >= COUNT_SECONDS:
            self._counted, self._counted_at = _count_processes(), now
        return max(0, limit - self._counted) if self._counted else None


def _soft_limit(name: str) -> int | None:
    which = getattr(_limits, name, None)
    if _limits is None or which is None:
        return None
    soft = int(_limits.getrlimit(which)[0])
    return None if soft < 0 or soft == _limits.RLIM_INFINITY else soft


@lru_cache(maxsize=4)
def _is_exempt(real_user: int, _effective_user: int) -> bool:
    """Tell whether the kernel lifts RLIMIT_NPROC; it does so in the first user namespace only."""
    if (read_file("/proc/self/uid_map") or b"").split() not in ([], [b"0", b"0", b"4294967295"]):
        return False
    return real_user == 0 or _has_capability()


def _has_capability() -> bool:
    _, _, rest = (read_file("/proc/self/status") or b"").partition(b"\nCapEff:")
    try:
        return bool(int(rest.split(None, 1)[0], 16) & _EXEMPT_CAPABILITIES)
    except (IndexError, ValueError):
        return False


def _count_everyone() -> int | None:
    """Return the number of processes and threads on the whole host."""
    words = (read_file("/proc/loadavg") or b"").split()
    return whole(words[3].partition(b"/")[2]) if len(words) > 3 else None  # noqa: PLR2004  # the fourth


def _count_processes() -> int:
    """Return the number of processes and threads of this user, 0 where that is unknown."""
    if sys.platform == "win32":
        return 0
    user = os.getuid()
    try:
        names = os.listdir("/proc")
    except OSError:
        return 0
    return sum(_count_threads(name, user) for name in names if name.isdigit())


def _count_threads(pid: str, user: int) -> int:
    # A process's task folder has a link per thread beside its own two, and belongs to the effective
    # user.
    try:
        status = os.stat(f"/proc/{pid}/task")
    except OSError:
        return 0
    return max(1, status.st_nlink - 2) if status.st_uid == user else 0


def _affinity() -> str:
    try:
        cores = os.sched_getaffinity(0)
    except (AttributeError, OSError):  # not every system has it
        return ""
    return f"cores {sum(1 << core for core in cores):x}"


def _free_descriptors(limit: int) -> int | None:
    count = _count_descriptors()
    return None if count is None else max(0, limit - count)


def _count_descriptors() -> int | None:
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    try:
        if _size_counts():
            return os.stat(folder).st_size
        return len(os.listdir(folder)) - 1
    except OSError:
        return None


@cache
def _size_counts() -> bool:
    if sys.platform != "linux":
        return False
    numbers = os.uname().release.split(".")[:2]
    known = all(number.isdigit() for number in numbers)
    return known and tuple(int(number) for number in numbers) >= _SIZE_COUNTS_SINCE
