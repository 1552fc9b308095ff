"""Facts about the host at one instant, each number beside the name of its source.

Filled by `host/`, read by the policies. Decides nothing and reads nothing.
"""

from typing import Final, NamedTuple

LEARNED: Final = "use at a kill"
"""What the source of a limit names that a kernel's kill has shown, since it cannot be seen."""


class Limit(NamedTuple):
    """One limit that was found on this host.

    Attributes:
        name: What it limits: `"memory"`, `"cores"`, `"processes"`, `"descriptors"` or
            `"address space"`.
        value: The number; bytes for memory and address space, a count (perhaps fractional)
            otherwise.
        source: Where it was read, e.g. `"cgroup v2 memory.max at /kubepods/x"` or `"RLIMIT_NPROC"`.
    """

    name: str
    value: float
    source: str


class HostSnapshot(NamedTuple):
    """What this host affords, read once.

    Attributes:
        taken_at: Monotonic seconds.
        limit_bytes: The smallest memory limit in force (container or host).
        limit_source: Where `limit_bytes` was read.
        available_bytes: Memory that can still be taken, the smallest over all limits.
        available_source: Where `available_bytes` was read.
        usable_cores: Whole cores this process may use, at least 1.
        cores_source: Where `usable_cores` was read.
        free_processes: Processes or threads that may still be started; None when unlimited or
            unknown.
        free_descriptors: Descriptors that may still be opened; None when unlimited or unknown.
        oom_kills: The memory group's out-of-memory kills so far; None when unknown.
        stall_percent: Share of the last 10 s in which tasks stalled on memory (PSI some avg10),
            0-100; None when unknown.
        limits: Every limit that was found, for people to read.
        core_domain: Names the set of cores; who has the same name shares them. `""` is unknown.
        memory_domain: Names the limit that `available_bytes` is left of; `""` is unknown.
        memory_domains: Names of all memory limits that this process is under; who has one of them
            in common shares that limit.
        swap_bytes: What can still be swapped out, 0 where nothing can; no part of the above.
        throttles: How often groups were held up at their `memory.high`; None where none has one.
        most_bytes: The most that the topmost group which can be seen has ever used, file cache
            included; None when unknown.
        cpu_seconds: Processor time that this process has used; None when unknown.
        wide_kill: What has a kill of the kernel's for memory end this process as well, or one task
            that is too large hold it up (`memory.high`), as the file or unit that says so; `""`
            where it ends one process alone.
    """

    taken_at: float
    limit_bytes: int
    limit_source: str
    available_bytes: int
    available_source: str
    usable_cores: int
    cores_source: str
    free_processes: int | None = None
    free_descriptors: int | None = None
    oom_kills: int | None = None
    stall_percent: float | None = None
    limits: tuple[Limit, ...] = ()
    core_domain: str = ""
    memory_domain: str = ""
    memory_domains: tuple[str, ...] = ()
    wide_kill: str = ""
    swap_bytes: int = 0
    throttles: int | None = None
    most_bytes: int | None = None
    cpu_seconds: float | None = None

    @property
    def is_throttling(self) -> bool:
        """True where nobody is killed at the limit in force, but all are held up."""
        return self.throttles is not None and self.wide_kill == self.limit_source

    @property
    def is_learned(self) -> bool:
        """True where the limit in force cannot be seen, and was learned from a kill."""
        return LEARNED in self.limit_source

    def with_swap(self) -> "HostSnapshot":
        """Return the same with what can be swapped out as memory that can be taken."""
        return self._replace(
            limit_bytes=self.limit_bytes + self.swap_bytes,
            available_bytes=self.available_bytes + self.swap_bytes,
        )

    @property
    def used_bytes(self) -> int:
        """Bytes of the limit that are taken and not reclaimable."""
        return max(0, self.limit_bytes - self.available_bytes)
