"""Where a batch starts and with how many workers: a prior rule, and what the host allows.

Pure: (shape of the batch, facts, config) -> Plan with a Reason. What measuring suggests later is
`core/ladder`.
"""

from math import ceil
from typing import NamedTuple

from adaptive_exec.config import (
    DEGRADED_THREADS,
    SMALL_BATCH_TASKS,
    SMALL_BATCH_WORKERS,
    THREAD_BYTES,
    TINY_TASK_SECONDS,
    WAITING_CPU_SHARE,
    WAITING_WORKERS_MAX,
    WORKER_BYTES,
    Config,
    parse_size,
)
from adaptive_exec.core.costs import Costs
from adaptive_exec.core.governor import set_marks
from adaptive_exec.core.reason import Code, Fact, Reason, because
from adaptive_exec.core.snapshot import HostSnapshot

THREADS_BEYOND_CORES = 4
"""Threads more than cores where only threads are allowed. Source: ThreadPoolExecutor's default."""
THREADS_MAX = 32
"""Threads at most by default. Source: ThreadPoolExecutor's default."""


class BatchShape(NamedTuple):
    """What is known of a batch before any of it ran.

    Attributes:
        tasks: Its length, None when unknown.
        portable: False when its function cannot be sent to a process.
    """

    tasks: int | None
    portable: bool = True


class Plan(NamedTuple):
    """Level and most workers for a batch, and why."""

    level: str
    workers: int
    reason: Reason


def make_plan(
    shape: BatchShape, host: HostSnapshot, config: Config, *, shut: frozenset[str] = frozenset()
) -> Plan:
    """Choose the level and the number of workers for a batch.

    Args:
        shape: Length and portability of the batch.
        host: What the host affords.
        config: Uses levels, max_workers, isolate, task_timeout, task_memory, target_memory.
        shut: Levels that failed and are not to be tried now.

    Returns:
        The plan. Where no level can be used, its level is the last one that the settings allow.

    Source:
        Fewer than 4 tasks to threads, 4 and more to processes: the score system's rule. See
        docs/sources.md.
    """
    level, code = _choose_level(shape, host, config, shut)
    workers = count_workers(level, shape.tasks, host, config)
    facts: dict[str, Fact] = {"tasks": shape.tasks, "cores": host.usable_cores}
    facts["available"] = host.available_bytes
    facts["limit"] = host.limit_bytes
    return Plan(level, workers, because(code, **facts))


def count_workers(level: str, tasks: int | None, host: HostSnapshot, config: Config) -> int:
    """Say how many workers a level may have.

    Args:
        level: The level.
        tasks: Length of the batch, None when unknown.
        host: What the host affords.
        config: Uses max_workers, levels, task_memory, target_memory.

    Returns:
        At least 1.
    """
    if level == "sequential":
        return 1
    most = config.max_workers or _default_workers(level, tasks, host, config)
    if tasks is not None:
        most = min(most, tasks)
    if not is_isolated(level):  # of processes as many are started as the window lets out
        most = min(most, affordable_workers(level, host, config))
    return max(1, min(most, _startable(host)))


def count_waiting_workers(
    level: str, costs: Costs, left: int | None, host: HostSnapshot, config: Config
) -> int:
    """Say how many workers tasks that mostly wait may have, so that the cores are not idle.

    Args:
        level: The level.
        costs: What was measured of the tasks.
        left: Tasks not yet sent, None when unknown.
        host: What the host affords.
        config: Uses max_workers, task_memory, target_memory.

    Returns:
        Workers; 0 where the tasks do not wait, or the caller has said how many there are to be.
    """
    if config.max_workers is not None or level not in {"process", "thread"}:
        return 0
    if costs.cpu_seconds is None or costs.wall_seconds < TINY_TASK_SECONDS:
        return 0
    share = costs.cpu_seconds / costs.wall_seconds
    if share > WAITING_CPU_SHARE:
        return 0
    most = min(WAITING_WORKERS_MAX, ceil(host.usable_cores / max(share, 1 / WAITING_WORKERS_MAX)))
    if left is not None:
        most = min(most, left)
    if not is_isolated(level):
        most = min(most, affordable_workers(level, host, config))
    return min(most, _startable(host))


def affordable_workers(level: str, host: HostSnapshot, config: Config) -> int:
    """Say how many workers fit under the memory target, counting what each is expected to take."""
    each = WORKER_BYTES if level == "process" else THREAD_BYTES
    if config.task_memory is not None:
        each += parse_size("task_memory", config.task_memory, limit_bytes=host.limit_bytes)
    return max(0, (set_marks(host, config).target_bytes - host.used_bytes) // each)


def is_short_of_memory(host: HostSnapshot, workers: int) -> bool:
    """Say whether not even so many bare worker processes fit."""
    return host.available_bytes < workers * WORKER_BYTES


def is_isolated(level: str) -> bool:
    """Say whether a task at this level can die without taking the caller with it."""
    return level == "process"


def may_leave_isolation(config: Config) -> bool:
    """Say whether tasks may run in the caller's process at all."""
    return not (config.isolate or config.task_timeout is not None)


def _choose_level(
    shape: BatchShape, host: HostSnapshot, config: Config, shut: frozenset[str]
) -> tuple[str, Code]:
    levels = usable_levels(config, portable=shape.portable, shut=shut)
    if "process" not in levels:
        allowed = usable_levels(config, portable=True, shut=frozenset())
        return (levels or allowed[-1:])[0], _why_no_process(config, shut)
    if len(config.ladder) == 1:
        return "process", Code.LEVEL_ASKED
    if not may_leave_isolation(config):
        return "process", Code.ISOLATION_ASKED if config.isolate else Code.TIMEOUT_ASKED
    if shape.tasks is not None and shape.tasks < SMALL_BATCH_TASKS:
        return _below_process(levels), Code.BATCH_SMALL
    if is_short_of_memory(host, DEGRADED_THREADS):
        return _below_process(levels), Code.MEMORY_SHORT
    return "process", Code.BATCH_UNSIZED if shape.tasks is None else Code.BATCH_LARGE


def usable_levels(config: Config, *, portable: bool, shut: frozenset[str]) -> tuple[str, ...]:
    """Name the levels that a batch may run at now, best first; empty when there is none."""
    return tuple(
        level
        for level in config.ladder
        if level not in shut
        and (portable or level != "process")
        and (is_isolated(level) or not config.isolate)
    )


def _why_no_process(config: Config, shut: frozenset[str]) -> Code:
    if config.ladder[0] in shut:
        return Code.LEVEL_SHUT
    return Code.FUNCTION_NOT_PORTABLE if "process" in config.ladder else Code.LEVEL_ASKED


def _below_process(levels: tuple[str, ...]) -> str:
    return levels[1] if len(levels) > 1 else levels[0]


def _default_workers(level: str, tasks: int | None, host: HostSnapshot, config: Config) -> int:
    if level == "process":
        return host.usable_cores
    if "process" not in config.ladder:
        return min(THREADS_MAX, host.usable_cores + THREADS_BEYOND_CORES)
    if tasks is not None and tasks < SMALL_BATCH_TASKS:
        return SMALL_BATCH_WORKERS
    return DEGRADED_THREADS


def _startable(host: HostSnapshot) -> int:
    return THREADS_MAX * THREADS_MAX if host.free_processes is None else max(1, host.free_processes)
