"""Reads the memory of whole process groups: a leader, its group, and what its members started.

One pass over `/proc` for all groups together; elsewhere psutil. Shared pages are counted once where
the kernel tells (PSS), so that forked children do not count their parent's memory again.

Source: man 5 proc (`stat`, `smaps_rollup`).
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from adaptive_exec.config import KIB
from adaptive_exec.host.reading import number_after, read_file, whole
from adaptive_exec.system.processes import GROUP, PARENT, RESIDENT, STATE, read_stat

_ANCESTORS_MAX: Final = 64
"""Generations that are followed; a deeper tree counts with its nearest known ancestor."""


class GroupMember(NamedTuple):
    """One process as a part of its tree.

    Attributes:
        parent: Id of its parent.
        group: Id of its process group.
        resident_bytes: Memory that it has in RAM, shared pages included.
    """

    parent: int
    group: int
    resident_bytes: int


def read_groups(leaders: Sequence[int]) -> dict[int, int | None]:
    """Read the memory of process groups.

    Args:
        leaders: Ids of the groups, which are those of their leaders.

    Returns:
        Bytes of each, with what its members started even where that left the group; None where
        nothing of it was found.
    """
    members = _members() if os.path.isdir("/proc/self") else _members_elsewhere()
    sorted_out: dict[int, list[int]] = {leader: [] for leader in leaders}
    for pid in members:
        leader = _leader_of(pid, members, sorted_out.keys())
        if leader is not None:
            sorted_out[leader].append(pid)
    return {leader: _sum(pids, members) for leader, pids in sorted_out.items()}


def _sum(pids: list[int], members: Mapping[int, GroupMember]) -> int | None:
    if len(pids) < 2:  # noqa: PLR2004  # with itself nobody shares
        return members[pids[0]].resident_bytes if pids else None
    return sum(_share(pid, members[pid].resident_bytes) for pid in pids)


def _share(pid: int, resident_bytes: int) -> int:
    kilobytes = number_after(read_file(f"/proc/{pid}/smaps_rollup"), b"Pss:")
    return resident_bytes if kilobytes is None else kilobytes * KIB


def _leader_of(pid: int, members: Mapping[int, GroupMember], leaders: Iterable[int]) -> int | None:
    for _ in range(_ANCESTORS_MAX):
        member = members.get(pid)
        if member is None:
            return None
        if member.group in leaders:
            return member.group
        if pid in leaders:
            return pid
        pid = member.parent
    return None


def _members() -> dict[int, GroupMember]:
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            words = read_stat(int(name))
            if len(words) > RESIDENT and words[STATE] != b"Z":
                found[int(name)] = GroupMember(
                    whole(words[PARENT]) or 0,
                    whole(words[GROUP]) or 0,
                    (whole(words[RESIDENT]) or 0) * page_bytes,
                )
    return found


def _members_elsewhere() -> dict[int, GroupMember]:
    try:
        import psutil
    except ImportError:
        return {}
    found = {}
    for process in psutil.process_iter():
        try:
            resident = int(process.memory_info().rss)
            found[process.pid] = GroupMember(process.ppid(), os.getpgid(process.pid), resident)
        except (psutil.Error, OSError):
            continue  # it has ended, or is another user's
    return found
