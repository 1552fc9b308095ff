"""When a worker has served long enough: by tasks, by age, by what it keeps of memory.

A worker goes between two chunks only. One that keeps more from chunk to chunk shows a function
that leaks. Pure: (service record, facts, config) -> reason or None. Who retires it is
`core/staffing`.
"""

from itertools import pairwise
from typing import NamedTuple

from adaptive_exec.config import MIB, Config, parse_size
from adaptive_exec.core.bounds import COUNT, bound
from adaptive_exec.core.events import Usage
from adaptive_exec.core.reason import Code, Reason, because

MARKS_KEPT = 8
"""Ends of chunks at which a worker's size is remembered. Source: own choice, twice LEAK_MARKS."""
LEAK_MARKS = 4
"""Ends of chunks in a row at which a worker must have grown before its function is said to leak.
Source: own choice."""
LEAK_WORKERS = 2
"""Workers in a row that grew with each chunk until they were too large, where none lived long
enough to show by itself that the function leaks. Source: own choice."""
LEAK_BYTES_MIN = 8 * MIB
"""Bytes that such growth must come to. Source: above what allocators keep of small tasks."""
STEADY_SHARE = 0.5
"""Share of the first half's growth that the second half must reach: a cache fills and stops.
Source: own choice, a half."""
FAIR_BYTES_MIN = 32 * MIB
"""Bytes that a worker may always keep. Source: as `plan.WORKER_BYTES`."""


class Mark(NamedTuple):
    """A worker's size at the end of a chunk: tasks served by then, bytes kept."""

    tasks: int
    bytes: int


class Service(NamedTuple):
    """What is known of one worker.

    Attributes:
        since: When it reported for work, monotonic seconds.
        tasks: Tasks it has finished.
        birth_bytes: Its size before its first task, None when unknown.
        kept_bytes: What it keeps beyond that between chunks.
        marks: Its newest sizes at ends of chunks, oldest first.
    """

    since: float
    tasks: int = 0
    birth_bytes: int | None = None
    kept_bytes: int = 0
    marks: tuple[Mark, ...] = ()
    first_bytes: int | None = None


def serve(before: Service, usage: Usage) -> Service:
    """Enter a finished chunk."""
    tasks = bound(before.tasks + usage.tasks, COUNT)
    birth = before.birth_bytes if usage.birth_bytes is None else usage.birth_bytes
    if usage.kept_bytes is None:
        return before._replace(tasks=tasks, birth_bytes=birth)
    kept = usage.kept_bytes
    marks = (*before.marks[-MARKS_KEPT + 1 :], Mark(tasks, kept))
    first = kept if before.first_bytes is None else before.first_bytes
    return Service(before.since, tasks, birth, kept, marks, first)


def suggest_recycle(
    service: Service, config: Config, *, now: float, limit_bytes: int, fair_bytes: float
) -> Reason | None:
    """Say why a worker should be replaced now.

    Args:
        service: What is known of it.
        config: Uses max_tasks_per_worker, max_worker_age, max_worker_memory.
        now: Monotonic seconds.
        limit_bytes: The memory limit that fractions refer to.
        fair_bytes: A worker's fair part of the room for tasks.

    Returns:
        The reason, None to keep it.
    """
    tasks_limit, age_limit = config.max_tasks_per_worker, config.max_worker_age
    if tasks_limit is not None and service.tasks >= tasks_limit:
        return because(Code.TASKS_SERVED, tasks=service.tasks, limit=tasks_limit)
    age = now - service.since
    if age_limit is not None and age >= age_limit:
        return because(Code.WORKER_OLD, age=round(age, 3), most=age_limit, tasks=service.tasks)
    if service.tasks and _is_too_large(service, config, limit_bytes, fair_bytes):
        leak = leak_per_task(service)
        code = Code.WORKER_LARGE if leak is None else Code.TASKS_LEAK
        return because(code, kept=service.kept_bytes, tasks=service.tasks, leak=leak)
    return None


def _is_too_large(service: Service, config: Config, limit_bytes: int, fair_bytes: float) -> bool:
    if config.max_worker_memory is not None:
        most = parse_size("max_worker_memory", config.max_worker_memory, limit_bytes=limit_bytes)
        return (service.birth_bytes or 0) + service.kept_bytes >= most
    # What a fresh worker would keep after one chunk is not freed by replacing it: a loaded model.
    freed = service.kept_bytes - (service.first_bytes or 0)
    return freed >= max(FAIR_BYTES_MIN, fair_bytes)


def leak_per_task(service: Service) -> int | None:
    """Say how much a worker grows with each task, where it grows steadily.

    Returns:
        Bytes per task, None where it does not.
    """
    marks = service.marks
    steps = [(after.bytes - before.bytes) for before, after in pairwise(marks)]
    if len(steps) < LEAK_MARKS or any(step <= 0 for step in steps[-LEAK_MARKS:]):
        return None
    grown, half = marks[-1].bytes - marks[0].bytes, len(steps) // 2
    if grown < LEAK_BYTES_MIN or sum(steps[half:]) < STEADY_SHARE * sum(steps[:half]):
        return None
    return int(grown / max(1, marks[-1].tasks - marks[0].tasks))


def growth_per_task(service: Service) -> int | None:
    """Say how much a worker grew with each task, where it grew with every chunk it served.

    Returns:
        Bytes per task, None where it did not or served one chunk only.
    """
    marks = service.marks
    if len(marks) < 2 or any(after.bytes <= before.bytes for before, after in pairwise(marks)):  # noqa: PLR2004  # a step has two ends
        return None
    return int((marks[-1].bytes - marks[0].bytes) / max(1, marks[-1].tasks - marks[0].tasks))
