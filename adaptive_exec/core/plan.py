"""Where a batch starts and with how many workers: a prior rule, and what the host allows.

Pure: (shape of the batch, facts, config) -> Plan with a Reason. What measuring suggests later is
`core/ladder`.
"""

from math import ceil, sqrt
from typing import Final, NamedTuple

from adaptive_exec.config import MIB, Config, parse_size
from adaptive_exec.core.costs import Costs
from adaptive_exec.core.memory.governor import set_marks
from adaptive_exec.core.reason import Code, Fact, Reason, because
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.specs import ISOLATED, is_inline, is_isolated

SMALL_BATCH_TASKS: Final = 4
"""Tasks; a smaller batch starts on threads. Source: the score system's rule (docs/sources.md)."""
SMALL_BATCH_WORKERS: Final = 3
"""Workers; the most threads for a small batch. Source: the score system's rule."""
DEGRADED_THREADS: Final = 2
"""Workers; threads after the process level failed. Source: the score system's rule."""
TINY_TASK_SECONDS: Final = 0.001
"""Seconds; with `inline=True` tasks whose isolated sample is below this may move into the caller's
process."""
TINY_TASK_BYTES: Final = 4 * MIB
"""Bytes of payload or peak above which a task is not tiny."""
WAITING_WORKERS_MAX: Final = 32
"""Workers for tasks that mostly wait. Source: ThreadPoolExecutor's default bound."""
WAITING_CPU_SHARE: Final = 0.25
"""Share of processor time in a task's duration below which it counts as mostly waiting."""
ONE_PROCESS_BYTES: Final = 20 * MIB
"""Bytes below which not even one worker process is tried. Source: measured, a zygote and a worker
of a small program have 16-20 MB."""
WORKER_BYTES: Final = 32 * MIB
"""Bytes counted for a worker of which nothing is known. Source: measured at 8-30 MB."""
THREAD_BYTES: Final = 8 * MIB
"""Bytes counted for a thread of which nothing is known: its stack and a modest task."""

THREADS_BEYOND_CORES = 4
"""Threads more than cores where only threads are allowed. Source: ThreadPoolExecutor's default."""
FREE_START_SECONDS = 0.05
"""Seconds below which the start of a worker is not looked at: a fork takes 3 ms, a message 1 ms."""
THREADS_MAX = 32
"""Threads at most by default. Source: ThreadPoolExecutor's default."""


class BatchShape(NamedTuple):
    """What is known of a batch before any of it ran.

    Attributes:
        tasks: Its length, None when unknown.
        portable: False when its function cannot be sent to a process.
        announced: True when the executor was told that so few would come.
    """

    tasks: int | None
    portable: bool = True
    announced: bool = True

    @property
    def is_small(self) -> bool:
        """Say whether it is one of those that the score system's rule gives to threads."""
        return self.announced and self.tasks is not None and self.tasks < SMALL_BATCH_TASKS


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
        config: Uses levels, max_workers, fallback, task_memory, target_memory, and what asks for
            workers: isolate, task_timeout, initializer, max_tasks_per_worker, start, seed.
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
    if code is Code.WORKERS_ASKED:
        facts["setting"] = _asking(config)
    if config.inline:
        facts["inline"] = "allowed"
    return Plan(level, workers, because(code, **facts))


def count_workers(level: str, tasks: int | None, host: HostSnapshot, config: Config) -> int:
    """Say how many workers a level may have.

    Args:
        level: The level.
        tasks: Length of the batch, None when unknown.
        host: What the host affords.
        config: Uses max_workers, levels, task_memory, target_memory, seed.

    Returns:
        At least 1.
    """
    if is_inline(level) or (config.seed is not None and not is_isolated(level)):
        return 1  # threads share the global random generators, which are set for one task
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
    if config.max_workers is not None or is_inline(level):
        return 0
    if config.seed is not None and not is_isolated(level):
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


def paying_workers(costs: Costs, left: int | None, cores: int, price_seconds: float) -> int:
    """Say how many workers for tasks that wait are worth their start, which takes a core each.

    Args:
        costs: What was measured of the tasks.
        left: Tasks not yet sent; None when unknown, then as many are expected as there were.
        cores: Usable cores.
        price_seconds: What the start of a worker takes, with all that it imports.

    Returns:
        At least 1; that number for which starts and what is left take the least time together:
        `n * price / cores + work / n` has its minimum at `sqrt(work * cores / price)`.
    """
    if price_seconds < FREE_START_SECONDS:
        return WAITING_WORKERS_MAX
    work_seconds = costs.wall_seconds * (costs.tasks if left is None else left)
    return max(1, int(sqrt(work_seconds * cores / price_seconds)))


def affordable_workers(level: str, host: HostSnapshot, config: Config) -> int:
    """Say how many workers fit under the memory target, counting what each is expected to take."""
    each = WORKER_BYTES if is_isolated(level) else THREAD_BYTES
    if config.task_memory is not None:
        each += parse_size("task_memory", config.task_memory, limit_bytes=host.limit_bytes)
    return max(0, (set_marks(host, config).target_bytes - host.used_bytes) // each)


def is_short_of_memory(host: HostSnapshot) -> bool:
    """Say whether not even one bare worker process fits."""
    return host.available_bytes < ONE_PROCESS_BYTES


def may_leave_isolation(config: Config) -> bool:
    """Say whether tasks may run in the caller's process while there are workers."""
    return not (config.isolate or config.task_timeout is not None or _asking(config))


def _asking(config: Config) -> str | None:
    """Name the setting that is written for workers, so that a small batch, too, gets some."""
    names = ("initializer", "max_tasks_per_worker", "start", "seed")
    return next((name for name in names if getattr(config, name) is not None), None)


def _choose_level(
    shape: BatchShape, host: HostSnapshot, config: Config, shut: frozenset[str]
) -> tuple[str, Code]:
    levels = usable_levels(config, portable=True, shut=shut)
    if ISOLATED not in levels:
        allowed = usable_levels(config, portable=True, shut=frozenset())
        return (levels or allowed[-1:])[0], _why_not_isolated(config)
    if len(config.ladder) == 1:
        return ISOLATED, Code.LEVEL_ASKED
    if not may_leave_isolation(config):
        return ISOLATED, _why_isolated(config)
    if shape.is_small:
        return _below_isolation(levels), Code.BATCH_SMALL
    return _choose_large(shape, host, config, levels)


def _choose_large(
    shape: BatchShape, host: HostSnapshot, config: Config, levels: tuple[str, ...]
) -> tuple[str, Code]:
    if not shape.portable:  # at the process level it ends with an error
        level = ISOLATED if config.fallback is None else _below_isolation(levels)
        return level, Code.FUNCTION_NOT_PORTABLE
    if is_short_of_memory(host):
        return _below_isolation(levels), Code.MEMORY_SHORT
    if shape.tasks is None:
        return ISOLATED, Code.BATCH_UNSIZED
    is_large = shape.tasks >= SMALL_BATCH_TASKS
    return ISOLATED, Code.BATCH_LARGE if is_large else Code.BATCH_UNANNOUNCED


def usable_levels(config: Config, *, portable: bool, shut: frozenset[str]) -> tuple[str, ...]:
    """Name the levels that a batch may run at now, best first; empty when there is none.

    With portable=False those that are left to it where its function cannot go to processes.
    """
    return tuple(
        level
        for level in config.ladder
        if level not in shut
        and (portable or not is_isolated(level))
        and (is_isolated(level) or not config.keeps_out)
    )


def _why_not_isolated(config: Config) -> Code:
    return Code.LEVEL_SHUT if ISOLATED in config.ladder else Code.LEVEL_ASKED


def _why_isolated(config: Config) -> Code:
    if config.isolate:
        return Code.ISOLATION_ASKED
    return Code.WORKERS_ASKED if config.task_timeout is None else Code.TIMEOUT_ASKED


def _below_isolation(levels: tuple[str, ...]) -> str:
    return levels[1] if len(levels) > 1 else levels[0]


def _default_workers(level: str, tasks: int | None, host: HostSnapshot, config: Config) -> int:
    if is_isolated(level):
        return host.usable_cores
    if ISOLATED not in config.ladder:
        return min(THREADS_MAX, host.usable_cores + THREADS_BEYOND_CORES)
    if tasks is not None and tasks < SMALL_BATCH_TASKS:
        return SMALL_BATCH_WORKERS
    return DEGRADED_THREADS


def _startable(host: HostSnapshot) -> int:
    return THREADS_MAX * THREADS_MAX if host.free_processes is None else max(1, host.free_processes)
