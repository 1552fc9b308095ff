"""Reads how much memory this process may use and how much of that can still be taken.

Limit and available are each the smallest over the host, every control group from the own one to the
top, and the process's own limits, with the name of the file that said so. File cache counts as
available: `usage` includes it, and the kernel drops it before it kills. Says nothing about whether
that is enough.

Source: kernel Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst; man 5 proc.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from adaptive_exec.config import GIB, KIB
from adaptive_exec.core.snapshot import LEARNED, Limit
from adaptive_exec.host.cgroup import ControlGroup
from adaptive_exec.host.own_limits import OwnLimits
from adaptive_exec.host.reading import join, number_after, read_file, read_number, whole

UNLIMITED_BYTES: Final = 2**62
"""Bytes from which a limit means none; cgroup v1 writes 2^63 rounded down to a page."""
ASSUMED_BYTES: Final = 2 * GIB
"""Bytes of memory of a host that does not tell. Source: the heap that browsers grant Pyodide."""
ASSUMED_FREE_FRACTION: Final = 0.5
"""Fraction of the limit taken as available where only the limit is known: above the warn mark,
below the target."""


class HostMemory(NamedTuple):
    """What was found about memory.

    Attributes:
        limit: The smallest limit.
        available: The smallest room that is left under any limit.
        limits: Every limit that was found.
    """

    limit: Limit
    available: Limit
    limits: tuple[Limit, ...]


class FoundLimit(NamedTuple):
    """Limits and rooms that one source told of; either may be empty.

    Attributes:
        limits: Limits in bytes.
        rooms: Bytes that can still be taken under them.
    """

    limits: tuple[Limit, ...] = ()
    rooms: tuple[Limit, ...] = ()


class _Layout(NamedTuple):
    limits: tuple[str, ...]
    usage: str
    most: str
    cache_prefixes: tuple[bytes, ...]
    dirty: bytes
    mapped: bytes
    shared: bytes


_LAYOUTS: Final = {
    # v1's plain numbers leave out child groups, which usage includes; before use_hierarchy only
    # they exist.
    1: _Layout(
        limits=("memory.limit_in_bytes",),
        usage="memory.usage_in_bytes",
        most="memory.max_usage_in_bytes",
        cache_prefixes=(b"total_", b""),
        dirty=b"dirty ",
        mapped=b"mapped_file ",
        shared=b"shmem ",
    ),
    2: _Layout(
        limits=("memory.max", "memory.high"),
        usage="memory.current",
        most="memory.peak",
        cache_prefixes=(b"",),
        dirty=b"file_dirty ",
        mapped=b"file_mapped ",
        shared=b"shmem ",
    ),
}


def read_memory(
    root: str,
    groups: Sequence[ControlGroup],
    *,
    meminfo: bytes | None,
    own: OwnLimits,
    elsewhere: Callable[[], FoundLimit],
    hidden: FoundLimit | None = None,
) -> HostMemory:
    """Read the limit and what is available.

    Args:
        root: Folder that stands for `/`.
        groups: The groups that limit memory, own one first.
        meminfo: What `/proc/meminfo` says.
        own: The process's own limits.
        elsewhere: Asked only if the files did not tell both.
        hidden: What was learned of a limit that cannot be seen.

    Returns:
        The smallest limit and the smallest room; assumed ones where nothing told.
    """
    found = [_read_host(meminfo), *(_read_group(group) for group in groups), _read_own(root, own)]
    if hidden is not None:
        found.append(hidden)
    if not (any(one.limits for one in found) and any(one.rooms for one in found)):
        found.append(elsewhere())
    limits = [limit for one in found for limit in one.limits]
    rooms = [room for one in found for room in one.rooms]
    return _smallest(limits or [Limit("memory", ASSUMED_BYTES, "assumed")], rooms)


def _smallest(limits: list[Limit], rooms: list[Limit]) -> HostMemory:
    limit = min(limits, key=_value)
    assumed = Limit("memory", limit.value * ASSUMED_FREE_FRACTION, "assumed, half of the limit")
    available = min(rooms, key=_value) if rooms else assumed
    if available.value > limit.value:
        available = limit
    return HostMemory(limit, available, tuple(limits))


def _value(limit: Limit) -> float:
    return limit.value


def _read_host(meminfo: bytes | None) -> FoundLimit:
    return FoundLimit(
        _meminfo(meminfo, "MemTotal"),
        _meminfo(meminfo, "MemAvailable") or _meminfo(meminfo, "MemFree"),
    )


def _meminfo(text: bytes | None, name: str) -> tuple[Limit, ...]:
    number = number_after(text, name.encode() + b":")
    if not number:
        return ()
    return (Limit("memory", number * KIB, f"/proc/meminfo {name}"),)


def _read_group(group: ControlGroup) -> FoundLimit:
    layout = _LAYOUTS[group.version]
    limits = [
        Limit("memory", number, group.source(name))
        for name in layout.limits
        if (number := read_number(f"{group.folder}/{name}")) and number < UNLIMITED_BYTES
    ]
    if not limits:
        return FoundLimit()
    usage = read_number(f"{group.folder}/{layout.usage}")
    if usage is None:
        return FoundLimit(tuple(limits))
    taken = max(0, usage - _reclaimable(group, layout))
    room = max(0, min(limit.value for limit in limits) - taken)
    return FoundLimit(tuple(limits), (Limit("memory", room, group.source(layout.usage)),))


def read_hidden(group: ControlGroup, limit_bytes: int) -> FoundLimit:
    """Return a limit above all visible groups that was learned, and the room below it.

    Args:
        group: The topmost visible one.
        limit_bytes: The limit.
    """
    layout, source = _LAYOUTS[group.version], group.source(LEARNED)
    limit = Limit("memory", limit_bytes, source)
    usage = read_number(f"{group.folder}/{layout.usage}")
    if usage is None:
        return FoundLimit((limit,))
    room = max(0, limit_bytes - max(0, usage - _reclaimable(group, layout)))
    return FoundLimit((limit,), (Limit("memory", room, source),))


def find_most(groups: Sequence[ControlGroup]) -> str:
    """Find the file that tells the most that the topmost visible group has ever used.

    Returns:
        Its path; `""` where there is none, as with v2 before Linux 5.19.
    """
    if not groups:
        return ""
    path = f"{groups[-1].folder}/{_LAYOUTS[groups[-1].version].most}"
    return path if os.path.exists(path) else ""


def _reclaimable(group: ControlGroup, layout: _Layout) -> int:
    """Return the bytes of file cache that the kernel can drop at once.

    Active file pages count: a file read twice is active and yet reclaimable. Dirty ones must be
    written first, mapped ones are in use; shared memory counts as mapped and is no file cache.
    """
    text = read_file(f"{group.folder}/memory.stat")
    for prefix in layout.cache_prefixes:
        inactive = number_after(text, prefix + b"inactive_file ")
        if inactive is None:
            continue
        active = number_after(text, prefix + b"active_file ") or 0
        dirty = number_after(text, prefix + layout.dirty) or 0
        mapped = number_after(text, prefix + layout.mapped) or 0
        shared = number_after(text, prefix + layout.shared) or 0
        return max(0, inactive + active - dirty - max(0, mapped - shared))
    return 0


def _read_own(root: str, own: OwnLimits) -> FoundLimit:
    if own.address_space_bytes is None and own.heap_bytes is None:
        return FoundLimit()
    pages = (read_file(join(root, "/proc/self/statm")) or b"").split()
    found = [
        _own_limit(own.address_space_bytes, pages[:1], "RLIMIT_AS"),
        # The sixth number is data and stack; RLIMIT_DATA limits the data alone, so this errs on the
        # safe side.
        _own_limit(own.heap_bytes, pages[5:6], "RLIMIT_DATA"),
    ]
    return FoundLimit(
        tuple(limit for one in found for limit in one.limits),
        tuple(room for one in found for room in one.rooms),
    )


def _own_limit(limit_bytes: int | None, pages: list[bytes], source: str) -> FoundLimit:
    taken_pages = whole(pages[0]) if pages else None
    if sys.platform == "win32" or limit_bytes is None or taken_pages is None:
        return FoundLimit()
    room = max(0, limit_bytes - taken_pages * os.sysconf("SC_PAGE_SIZE"))
    # It counts as a limit of memory too, or a small room under it would look like a full host.
    return FoundLimit((Limit("memory", limit_bytes, source),), (Limit("memory", room, source),))


def read_oom_kills(groups: Sequence[ControlGroup]) -> int | None:
    """Read how many processes of the own group the kernel has killed for memory.

    Args:
        groups: The groups that limit memory, own one first. In v1 a kill counts in the victim's own
            group only.

    Returns:
        Kills so far, or None where the kernel does not tell.
    """
    if not groups:
        return None
    name = "memory.oom_control" if groups[0].version == 1 else "memory.events"
    return number_after(read_file(f"{groups[0].folder}/{name}"), b"oom_kill ")


def read_stall_percent(root: str, groups: Sequence[ControlGroup]) -> float | None:
    """Read the share of the last 10 s in which some task stalled on memory.

    Args:
        root: Folder that stands for `/`.
        groups: The groups that limit memory, own one first; v2 groups tell of themselves, else the
            host is read.

    Returns:
        0 to 100, or None where the kernel has no pressure stall information.
    """
    own = f"{groups[0].folder}/memory.pressure" if groups and groups[0].version > 1 else None
    text = read_file(own) if own else None
    if text is None:
        text = read_file(join(root, "/proc/pressure/memory"))
    return _average(text or b"")


def _average(text: bytes) -> float | None:
    words = text.split(None, 2)[:2]
    if len(words) < 2 or words[0] != b"some" or not words[1].startswith(b"avg10="):  # noqa: PLR2004  # two words
        return None
    try:
        percent = float(words[1].removeprefix(b"avg10="))
    except ValueError:
        return None
    return percent if 0 <= percent <= 100 else None  # noqa: PLR2004  # the bounds of a percentage
