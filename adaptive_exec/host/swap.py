"""Reads what memory of this process's groups can still be swapped out, and how often they stall.

Decides nothing: swap is no room unless the user says so, and what is throttled is judged elsewhere.

Source: kernel Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst (`memory.swap.max`,
`memory.high`, `memory.events`); man 5 proc, meminfo.
"""

from collections.abc import Sequence
from typing import Final

from adaptive_exec.config import KIB
from adaptive_exec.host.cgroup import ControlGroup
from adaptive_exec.host.reading import number_after, read_file, read_number

_SECOND: Final = 2
"""The version of control groups whose files say it by themselves."""


def read_swap(meminfo: bytes | None, groups: Sequence[ControlGroup]) -> int:
    """Return how many bytes can still be swapped out; 0 where there is no swap.

    Args:
        meminfo: What `/proc/meminfo` says.
        groups: The groups that limit memory, own one first.
    """
    free = number_after(meminfo, b"SwapFree:")
    if not free:
        return 0
    return min([free * KIB, *(room for group in groups if (room := _room(group)) is not None)])


def _room(group: ControlGroup) -> int | None:
    """Return what a group may still swap; None where it sets no bound."""
    if group.version == _SECOND:
        most = read_number(f"{group.folder}/memory.swap.max")
        used = read_number(f"{group.folder}/memory.swap.current")
        return None if most is None else max(0, most - (used or 0))
    both = read_number(f"{group.folder}/memory.memsw.limit_in_bytes")
    alone = read_number(f"{group.folder}/memory.limit_in_bytes")
    if both is None or alone is None:
        return None
    used = number_after(read_file(f"{group.folder}/memory.stat"), b"total_swap ")
    return max(0, both - alone - (used or 0))


def read_throttles(groups: Sequence[ControlGroup]) -> int | None:
    """Return how often groups were held up at their `memory.high`; None where none has one."""
    counts = [
        number_after(read_file(f"{group.folder}/memory.events"), b"high ") or 0
        for group in groups
        if group.version == _SECOND and read_number(f"{group.folder}/memory.high") is not None
    ]
    return sum(counts) if counts else None
