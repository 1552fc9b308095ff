"""Whom to blame for a dead worker, who runs again alone, and who is poison. Pure.

What was finished before the death stays finished; what had not begun runs again unsuspected.
Only the task that was running is a suspect. How a suspect is run alone is `core/run`.
"""

from typing import NamedTuple

from adaptive_exec.config import OOM_NEAR_SHARE
from adaptive_exec.core.events import WorkerLost

CONFIRMED = "out of memory (confirmed)"
PROBABLE = "out of memory (probable)"
"""Causes of a death for memory: two witnesses, or one."""
UNEXPLAINED_EXTRA = 1
"""Executions more that an unexplained SIGKILL allows: an outsider may have meant the worker, not
the task."""


class Suspect(NamedTuple):
    """A task that was running when its worker died.

    Attributes:
        deaths: Deaths that count against it.
        executions: Times it was begun.
        extra: Executions granted beyond `retries`.
        since: Monotonic seconds of the first death.
        cause: The last cause.
        for_memory: True when any of the deaths was for memory; it runs with all else paused.
        peak_bytes: Highest memory of its workers, None when unknown.
    """

    deaths: int
    executions: int
    extra: int
    since: float
    cause: str
    for_memory: bool = False
    peak_bytes: int | None = None

    def again(self, *, executions: int) -> "Suspect":
        """Return the record with another count of executions and nothing more held against it."""
        return self._replace(executions=executions)


def explain_death(lost: WorkerLost, *, has_killed: bool, limit_bytes: int) -> WorkerLost:
    """Say of a worker that somebody else killed whether that was for memory.

    Args:
        lost: A death by a SIGKILL that was not ours.
        has_killed: True when the memory group's counter of out-of-memory kills rose.
        limit_bytes: The memory limit in force.

    Returns:
        The death, for memory where either speaks for it; confirmed where both do. Where the
        kernel killed for memory nobody else is looked for.
    """
    is_near = lost.peak_bytes is not None and lost.peak_bytes >= OOM_NEAR_SHARE * limit_bytes
    if not (has_killed or is_near):
        return lost
    cause = CONFIRMED if has_killed and is_near else PROBABLE
    return lost._replace(cause=cause, memory=True, unexplained=not has_killed)


def accuse(before: Suspect | None, lost: WorkerLost, *, executions: int, is_alone: bool) -> Suspect:
    """Enter a death against the task that was running.

    Args:
        before: The record so far, None for a first death.
        lost: How the worker ended.
        executions: Times the task was begun, this one included.
        is_alone: True when the task ran with no other work beside it.

    Returns:
        The record with this death; one for memory while not alone is not counted.
    """
    record = before or Suspect(0, 0, 0, lost.at, lost.cause)
    counts = is_alone or not lost.memory
    peaks = [peak for peak in (record.peak_bytes, lost.peak_bytes) if peak is not None]
    return record._replace(
        deaths=record.deaths + counts,
        executions=executions,
        extra=max(record.extra, UNEXPLAINED_EXTRA * lost.unexplained),
        cause=lost.cause,
        for_memory=record.for_memory or lost.memory,
        peak_bytes=max(peaks) if peaks else None,
    )


def is_poison(suspect: Suspect, retries: int) -> bool:
    """Say whether a suspect has killed its worker on every execution that it is allowed."""
    return suspect.deaths > retries + suspect.extra
