"""Takes a snapshot of what this host affords: one look at memory, cores, processes and descriptors.

Gathers what the neighbouring files read into one `HostSnapshot`. Keeps only what hardly changes,
the folders of the own control groups, and finds them again when the process has moved. Decides
nothing.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from adaptive_exec.core.snapshot import HostSnapshot, Limit
from adaptive_exec.host.cgroup import Groups, find_groups
from adaptive_exec.host.cpu import read_cores
from adaptive_exec.host.hidden import Learned, keep_limit, recall_limit
from adaptive_exec.host.killing import read_wide_kill
from adaptive_exec.host.memory_elsewhere import read_elsewhere
from adaptive_exec.host.memory_limits import (
    FoundLimit,
    find_most,
    read_hidden,
    read_memory,
    read_oom_kills,
    read_stall_percent,
)
from adaptive_exec.host.own_limits import OwnLimits, OwnProcess
from adaptive_exec.host.process_limits import read_processes
from adaptive_exec.host.reading import join, read_file, read_number
from adaptive_exec.host.swap import read_swap, read_throttles


class Domains(NamedTuple):
    """What is shared with others, by the end of the source that names it.

    Attributes:
        memory: Names of the memory limits.
        cores: Names of the groups that limit CPU time.
    """

    memory: dict[str, str]
    cores: dict[str, str]


class HostProbe:
    """Reads the host again and again, cheaply.

    Facts that are not in files (affinity, the process's own limits, psutil) are read only where
    `root` is `/`; a saved tree is given them. One probe may be used by several threads.

    Args:
        root: Folder that stands for `/`; `proc` and `sys/fs/cgroup` are read below it.
        own: The process's own limits; None reads them where `root` is `/`, else there are none.
        elsewhere: Asked for memory if the files do not tell; None asks psutil and `os.sysconf`
            where `root` is `/`.
    """

    def __init__(
        self,
        root: str = "/",
        *,
        own: OwnLimits | None = None,
        elsewhere: Callable[[], FoundLimit] | None = None,
    ) -> None:
        self._root = root
        self._own = own
        self._elsewhere = elsewhere or (read_elsewhere if root == "/" else FoundLimit)
        self._process = OwnProcess()
        self._known: tuple[bytes | None, Groups] | None = None
        self._domains: tuple[Groups, Domains] | None = None
        self._wide_kill: tuple[Groups, str] | None = None
        self._learned: tuple[Groups, Learned | None] | None = None
        self._most: tuple[Groups, str] | None = None
        self._last: HostSnapshot | None = None

    def take(self, now: float | None = None) -> HostSnapshot:
        """Read everything once.

        Args:
            now: Monotonic seconds to mark the snapshot with; None asks the clock.

        Returns:
            The snapshot; what could not be read is assumed, and its source says so. Where this
            process has no memory to read with, the one before, with nothing left.
        """
        taken_at = time.monotonic() if now is None else now
        try:
            self._last = self._take(taken_at)
        except MemoryError:
            if self._last is None:
                raise
            self._last = self._last._replace(taken_at=taken_at, available_bytes=0)
        return self._last

    def _take(self, taken_at: float) -> HostSnapshot:
        own, groups = self._read_own(taken_at), self._find_groups()
        meminfo = read_file(join(self._root, "/proc/meminfo"))
        memory = read_memory(
            self._root,
            groups.memory,
            meminfo=meminfo,
            own=own,
            elsewhere=self._elsewhere,
            hidden=self._read_hidden(groups),
        )
        cores = read_cores(groups.cpu, own.cores)
        processes = read_processes(groups.pids, own)
        domains = self._name_domains(groups)
        return HostSnapshot(
            taken_at=taken_at,
            limit_bytes=int(memory.limit.value),
            limit_source=memory.limit.source,
            available_bytes=int(memory.available.value),
            available_source=memory.available.source,
            usable_cores=cores.usable,
            cores_source=cores.source,
            free_processes=processes.free,
            free_descriptors=own.free_descriptors,
            oom_kills=read_oom_kills(groups.memory),
            stall_percent=read_stall_percent(self._root, groups.memory),
            limits=(*memory.limits, *cores.limits, *processes.limits, *_other_limits(own)),
            core_domain=_domain_of(cores.source, domains.cores) or own.affinity,
            memory_domain=_domain_of(memory.available.source, domains.memory) or _OWN,
            memory_domains=tuple(domains.memory.values()),
            wide_kill=self._read_wide_kill(groups) or _name_high(groups, memory.limit),
            swap_bytes=read_swap(meminfo, groups.memory),
            throttles=read_throttles(groups.memory),
            most_bytes=self._read_most(groups),
            cpu_seconds=time.process_time() if self._root == "/" else None,
        )

    def _read_own(self, now: float) -> OwnLimits:
        if self._own is not None:
            return self._own
        return self._process.read(now) if self._root == "/" else OwnLimits()

    def believe_limit(self, limit_bytes: int) -> Callable[[], None]:
        """Take so many bytes as the limit of what cannot be seen; return what keeps it."""
        groups = self._find_groups()
        if not groups.memory:
            return _keep_nothing
        learned = Learned(groups.memory[-1].identity(), limit_bytes)
        self._learned = groups, learned
        return partial(keep_limit, learned)

    def _read_most(self, groups: Groups) -> int | None:
        known = self._most
        if known is None or known[0] is not groups:
            known = self._most = groups, find_most(groups.memory)
        return read_number(known[1]) if known[1] else None

    def _read_hidden(self, groups: Groups) -> FoundLimit:
        known = self._learned
        if known is None or known[0] is not groups:
            is_real = self._root == "/" and bool(groups.memory)
            learned = recall_limit(groups.memory[-1].identity()) if is_real else None
            known = self._learned = groups, learned
        return FoundLimit() if known[1] is None else read_hidden(groups.memory[-1], known[1].bytes)

    def _name_domains(self, groups: Groups) -> "Domains":
        known = self._domains
        if known is None or known[0] is not groups:
            known = self._domains = groups, _name_domains(groups)
        return known[1]

    def _read_wide_kill(self, groups: Groups) -> str:
        known = self._wide_kill
        if known is None or known[0] is not groups:
            known = self._wide_kill = groups, read_wide_kill(self._root, groups.memory)
        return known[1]

    def _find_groups(self) -> Groups:
        memberships = read_file(join(self._root, "/proc/self/cgroup"))
        known = self._known
        if known is None or known[0] != memberships:
            known = self._known = memberships, find_groups(self._root, memberships)
        return known[1]


_OWN: Final = "own"
"""The domain of a limit that is this process's alone, as RLIMIT_AS."""
_HOST: Final = "host"


def _name_high(groups: Groups, limit: Limit) -> str:
    """Name the limit where it is one at which a group is held up, this process with it."""
    highs = (group.source("memory.high") for group in groups.memory)
    return limit.source if limit.source in highs else ""


def _name_domains(groups: Groups) -> Domains:
    memory = {f" at {group.name}": group.identity() for group in groups.memory}
    cores = {f" at {group.name}": group.identity() for group in groups.cpu}
    return Domains({**memory, "/proc/meminfo": _HOST}, cores)


def _domain_of(source: str, domains: dict[str, str]) -> str:
    for end, domain in domains.items():
        if source.endswith(end) or source.startswith(end):
            return domain
    return ""


_HERE: Final = HostProbe()


def take_snapshot(root: str = "/", *, now: float | None = None) -> HostSnapshot:
    """Read what this host affords.

    Args:
        root: Folder that stands for `/`; another one reads a saved tree.
        now: Monotonic seconds to mark the snapshot with; None asks the clock.

    Returns:
        The snapshot; it never fails for a file that cannot be read.
    """
    return (_HERE if root == "/" else HostProbe(root)).take(now)


def believe_limit(limit_bytes: int) -> Callable[[], None]:
    """Take so many bytes as the limit of what cannot be seen; return what keeps it."""
    return _HERE.believe_limit(limit_bytes)


def _keep_nothing() -> None:
    """Nothing: there is no group that a limit could be of."""


def _other_limits(own: OwnLimits) -> list[Limit]:
    named = (
        ("address space", own.address_space_bytes, "RLIMIT_AS"),
        ("descriptors", own.descriptors, "RLIMIT_NOFILE"),
    )
    return [Limit(name, value, source) for name, value, source in named if value is not None]
