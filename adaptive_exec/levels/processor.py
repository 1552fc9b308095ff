"""Reads what a worker and all that it started have used of the processor; decides nothing.

The time in the queue for a core counts by CORE_IDLE_SHARE: who is kept from computing on a busy
host all the time is then just not taken for one who waits, and who polls is, though he queues each
time.

Source: man 5 proc (`stat`, `children`); kernel Documentation/scheduler/sched-stats.rst.
"""

import os
from typing import Final

from adaptive_exec.core.sharing.waiting import CORE_IDLE_SHARE
from adaptive_exec.system.processes import TIMES, read_stat

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PROCESSES_MAX: Final = 256
"""Processes of one worker that are counted; one with more is not taken for one that waits."""


def read_used_seconds(pid: int) -> float | None:
    """Read what a process and what it started have used.

    Args:
        pid: Its id.

    Returns:
        Seconds; None where it cannot be read, or what it started cannot be found.
    """
    pids, total = [pid], 0.0
    for one in pids:  # grows while it is walked over
        if len(pids) > _PROCESSES_MAX:
            return None
        try:
            total += _own_seconds(one)
            pids += _children(one)
        except (OSError, IndexError, ValueError):
            if one == pid:
                return None  # a child may have ended since it was seen
    return total


def _own_seconds(pid: int) -> float:
    times = read_stat(pid)[TIMES]
    if not times:
        raise ProcessLookupError(pid)
    used = sum(map(int, times)) / _TICKS_PER_SECOND
    threads = os.listdir(f"/proc/{pid}/task")
    return used + CORE_IDLE_SHARE * sum(_queued_seconds(pid, thread) for thread in threads)


def _queued_seconds(pid: int, thread: str) -> float:
    try:
        return int(_read(f"/proc/{pid}/task/{thread}/schedstat").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0  # the thread has ended, or this kernel does not count it


def _children(pid: int) -> list[int]:
    threads = os.listdir(f"/proc/{pid}/task")
    return [
        int(child)
        for thread in threads
        for child in _read(f"/proc/{pid}/task/{thread}/children").split()
    ]


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # pathlib costs an import of 5 ms
        return file.read(65536) or b""
