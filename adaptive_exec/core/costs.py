"""What a batch's tasks were measured to take, per task, learned chunk by chunk.

The newest chunk weighs half, so that a change of the tasks' nature is seen within a few chunks.
Decides nothing.
"""

from typing import Final, NamedTuple

from adaptive_exec.core.bounds import BYTES, COUNT, SECONDS, Number, Range, bound
from adaptive_exec.core.events import Usage

CHUNK_SECONDS: Final = 0.1
"""Seconds of work in a full chunk. Source: the middle of 50-200 ms, below joblib's 0.2-2 s."""
SAMPLE_TASKS: Final = 3
"""Tasks that must have run isolated before the cost model speaks."""

NEWEST_WEIGHT = 0.5
"""Share of the newest chunk in a learned mean (exponential smoothing)."""


class Costs(NamedTuple):
    """Learned means of one batch; all per task. A tuple, since one is made for every chunk.

    Attributes:
        tasks: Tasks measured so far.
        isolated_tasks: Those of them that ran in a process of their own.
        wall_seconds: Duration.
        cpu_seconds: Processor time, None where unknown.
        transport_seconds: Packing and unpacking, measured at the process level.
        sent_bytes: Size of the arguments, measured at the process level.
        result_bytes: Size of the result, measured at the process level.
        peak_bytes: Highest growth of memory seen in any task, None when unknown.
        chunk_tasks: Length of the last chunk that was measured.
    """

    tasks: int = 0
    isolated_tasks: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float | None = None
    transport_seconds: float = 0.0
    sent_bytes: float = 0.0
    result_bytes: float = 0.0
    peak_bytes: int | None = None
    chunk_tasks: int = 0


def has_sample(costs: Costs) -> bool:
    """Say whether enough was measured to speak of: some tasks, or a long one."""
    long_enough = costs.tasks * costs.wall_seconds >= CHUNK_SECONDS
    return costs.tasks >= SAMPLE_TASKS or long_enough


def learn(before: Costs, usage: Usage, *, isolated: bool) -> Costs:
    """Take a finished chunk into the means.

    Args:
        before: What was known.
        usage: What the chunk took, as `believe` has it.
        isolated: True when it ran in a process of its own, so that transport and peak are real.

    Returns:
        The new means; unchanged when no task of the chunk was finished.
    """
    count = usage.tasks
    if count == 0:
        return before
    weight = NEWEST_WEIGHT if before.tasks else 1.0
    wall = _mix(before.wall_seconds, usage.wall_seconds / count, weight, SECONDS)
    cpu = before.cpu_seconds
    if usage.cpu_seconds is not None:
        cpu = _mix_known(cpu, usage.cpu_seconds / count, weight)
    tasks, isolated_tasks = bound(before.tasks + count, COUNT), before.isolated_tasks
    if not isolated:
        return Costs(tasks, isolated_tasks, wall, cpu, *before[4:8], count)
    weight = NEWEST_WEIGHT if isolated_tasks else 1.0
    return Costs(
        tasks,
        bound(isolated_tasks + count, COUNT),
        wall,
        cpu,
        _mix(before.transport_seconds, usage.transport_seconds / count, weight, SECONDS),
        _mix(before.sent_bytes, usage.sent_bytes / count, weight, BYTES),
        _mix(before.result_bytes, usage.result_bytes / count, weight, BYTES),
        _highest(before.peak_bytes, usage.peak_bytes),
        count,
    )


def believe(usage: Usage) -> Usage:
    """Bring what a worker reports into its range; the report of a healthy one stays as it is."""
    if _is_plain(usage):
        return usage
    return Usage(
        bound(usage.tasks, COUNT),
        bound(usage.wall_seconds, SECONDS),
        _bound_known(usage.cpu_seconds, SECONDS),
        bound(usage.transport_seconds, SECONDS),
        bound(usage.sent_bytes, BYTES),
        bound(usage.result_bytes, BYTES),
        _bound_known(usage.peak_bytes, BYTES),
        bound(usage.failed_tasks, COUNT),
        _bound_known(usage.span_bytes, BYTES),
        _bound_known(usage.kept_bytes, BYTES),
        _bound_known(usage.birth_bytes, BYTES),
    )


def _is_plain(usage: Usage) -> bool:
    """Say whether all is in its range; in one pass, since it is asked for every chunk."""
    tasks, wall, cpu, transport, sent, result, peak, failed, span, kept, birth = usage
    cpu, peak, span, kept, birth = cpu or 0, peak or 0, span or 0, kept or 0, birth or 0
    least = min(tasks, wall, cpu, transport, sent, result, peak, failed, span, kept, birth)
    sizes = tasks + sent + result + peak + failed + span + kept + birth
    return least >= 0 and wall + cpu + transport <= SECONDS.most and sizes <= BYTES.most


def _bound_known(number: Number | None, within: Range) -> Number | None:
    return None if number is None else bound(number, within)


def _mix(old: float, new: float, weight: float, within: Range) -> float:
    """Mix two numbers of a range, so that the mean is in it; next to nothing is 0."""
    mixed = old + weight * (new - old)
    return mixed if mixed > within.grain else 0.0


def _mix_known(old: float | None, new: float, weight: float) -> float:
    return new if old is None else _mix(old, new, weight, SECONDS)


def _highest(old: int | None, new: int | None) -> int | None:
    if old is None or new is None:
        return new if old is None else old
    return max(old, new)
