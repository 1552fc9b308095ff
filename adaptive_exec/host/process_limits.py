"""Reads how many more processes and threads may be started.

The smallest of what RLIMIT_NPROC and the pids controller of every control group leave. A start may
still be refused for other reasons.
"""

from collections.abc import Sequence
from typing import NamedTuple

from adaptive_exec.core.snapshot import Limit
from adaptive_exec.host.cgroup import ControlGroup
from adaptive_exec.host.own_limits import OwnLimits
from adaptive_exec.host.reading import read_number


class Processes(NamedTuple):
    """What was found about processes.

    Attributes:
        free: Processes or threads that may still be started; None when unlimited or unknown.
        limits: Every limit that was found.
    """

    free: int | None
    limits: tuple[Limit, ...]


def read_processes(groups: Sequence[ControlGroup], own: OwnLimits) -> Processes:
    """Read the room for processes.

    Args:
        groups: The groups that limit the number of processes.
        own: The process's own limits.

    Returns:
        The smallest room and every limit.
    """
    limits = [] if own.processes is None else [Limit("processes", own.processes, "RLIMIT_NPROC")]
    rooms = [] if own.free_processes is None else [own.free_processes]
    for group in groups:
        most = read_number(f"{group.folder}/pids.max")
        if most is None:
            continue
        limits.append(Limit("processes", most, group.source("pids.max")))
        current = read_number(f"{group.folder}/pids.current")
        if current is not None:
            rooms.append(max(0, most - current))
    return Processes(min(rooms, default=None), tuple(limits))
