"""Reads how many cores this process may use.

The smallest of the affinity mask, the CPU quota of every control group (rounded up),
`LOKY_MAX_CPU_COUNT` as loky reads it, and the host's cores. Says nothing about how many workers to
start.

Source: kernel Documentation/scheduler/sched-bwc.rst, cgroup-v2.rst; loky's `cpu_count`.
"""

import math
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from adaptive_exec.core.snapshot import Limit
from adaptive_exec.host.cgroup import ControlGroup
from adaptive_exec.host.reading import read_file, read_number, whole


class Cores(NamedTuple):
    """What was found about cores.

    Attributes:
        usable: Whole cores, at least 1.
        source: Where that was read.
        limits: Every limit that was found; quotas may be fractions.
    """

    usable: int
    source: str
    limits: tuple[Limit, ...]


def read_cores(groups: Sequence[ControlGroup], own: Sequence[Limit]) -> Cores:
    """Read the usable cores.

    Args:
        groups: The groups that limit CPU time.
        own: Limits of this process itself, as from `own_cores`.

    Returns:
        The smallest, 1 where nothing told.
    """
    quotas = [quota for group in groups for quota in _read_quota(group)]
    limits = (*quotas, *own)
    if not limits:
        return Cores(1, "assumed", ())
    least = min(limits, key=_whole_cores)
    return Cores(_whole_cores(least), least.source, limits)


def own_cores() -> tuple[Limit, ...]:
    """Read the cores that affinity, environment and host leave to this process."""
    count, source = _count_here()
    wanted = _wanted()
    here = (Limit("cores", count, source),) if count else ()
    return here if wanted is None else (*here, Limit("cores", wanted, "LOKY_MAX_CPU_COUNT"))


def _whole_cores(limit: Limit) -> int:
    return max(1, math.ceil(limit.value))


def _read_quota(group: ControlGroup) -> tuple[Limit, ...]:
    name = "cpu.max" if group.version > 1 else "cpu.cfs_quota_us"
    words = (read_file(f"{group.folder}/{name}") or b"").split()
    quota = whole(words[0]) if words else None
    if not quota:
        return ()
    if group.version > 1:
        period = whole(words[1]) if len(words) > 1 else None
    else:
        period = read_number(f"{group.folder}/cpu.cfs_period_us")
    return (Limit("cores", quota / period, group.source(name)),) if period else ()


def _count_here() -> tuple[int | None, str]:
    # Affinity first: it is 1 us and never above the host's cores, whose count glibc reads from a
    # file.
    process_cpu_count: Callable[[], int | None] | None = getattr(os, "process_cpu_count", None)
    if process_cpu_count is not None:
        return process_cpu_count(), "process_cpu_count"
    if hasattr(os, "sched_getaffinity"):
        try:
            return len(os.sched_getaffinity(0)), "sched_getaffinity"
        except OSError:
            return os.cpu_count(), "cpu_count"
    return _count_elsewhere()


@cache
def _count_elsewhere() -> tuple[int | None, str]:
    # loky knows Windows' limit of 61 processes to wait for; its import is slow, so only here and
    # once.
    try:
        import loky

        return int(loky.cpu_count()), "loky cpu_count"
    except (ImportError, OSError, ValueError):
        return os.cpu_count(), "cpu_count"


def _wanted() -> int | None:
    text = os.environ.get("LOKY_MAX_CPU_COUNT")
    if text is None:
        return None
    try:
        return max(1, int(text))
    except ValueError:
        return None
