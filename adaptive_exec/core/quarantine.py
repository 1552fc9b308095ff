"""Whom to blame for a dead worker, who runs again alone, and who is poison. Pure.

What was finished before the death stays finished; what had not begun runs again unsuspected.
Only the task that was running is a suspect. How a suspect is run alone is `core/run`.
"""

from typing import Final, NamedTuple

from adaptive_exec.core.events import WorkerLost

OOM_NEAR_SHARE: Final = 0.5
"""Fraction of the memory limit that a worker held at least if the kernel killed it for memory; with
less, the kill may have been another's. Source: workers killed in a small group held 71 to 92 %."""

CONFIRMED = "out of memory (confirmed)"
PROBABLE = "out of memory (probable)"
"""Causes of a death for memory: two witnesses, or one."""
WALLED = "out of memory (more was refused)"
OUTGROWN = "out of memory (more than its part)"
STOPPED = "out of memory (stopped, nothing was left)"
"""Causes of an end for memory that came before a kill which might be another's: by a wall, at the
limit of the worker's own control group, or by our own hand."""
KILLED_WITH_ALL = "killed with its program"
"""Cause of an end of which only the next run of the program has learned."""
UNTOUCHED_SHARE = 0.75
"""Share of a wall below which the highest memory of a worker says that it ended for one large
request, or for memory that was reserved and not used."""
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
        is_sure: True when it died for memory with nothing beside it, where one such death is one
            too many, or under the widest wall.
        is_freed: True when it is to run without a wall.
        wall_bytes: The wall that it ran into last, 0 for none.
        is_accused: True when it ran in an earlier run of the program as that was killed.
    """

    deaths: int
    executions: int
    extra: int
    since: float
    cause: str
    for_memory: bool = False
    peak_bytes: int | None = None
    is_sure: bool = False
    is_freed: bool = False
    wall_bytes: int = 0
    is_accused: bool = False

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


def accuse(
    before: Suspect | None,
    lost: WorkerLost,
    *,
    executions: int,
    is_alone: bool,
    is_fatal: bool = False,
    wall_bytes: int = 0,
) -> Suspect:
    """Enter a death against the task that was running.

    Args:
        before: The record so far, None for a first death.
        lost: How the worker ended.
        executions: Times the task was begun, this one included.
        is_alone: True when the task ran with no other work beside it.
        is_fatal: True where a kill for memory may end the caller as well, so that one is enough.
        wall_bytes: The wall of its worker, 0 for none.

    Returns:
        The record with this death; one for memory while not alone is not counted.
    """
    record = before or Suspect(0, 0, 0, lost.at, lost.cause)
    if lost.walled:
        return _note_wall(record, lost, executions, wall_bytes, is_fatal=is_fatal)
    counts = is_alone or not lost.memory
    peaks = [peak for peak in (record.peak_bytes, lost.peak_bytes) if peak is not None]
    return record._replace(
        deaths=record.deaths + counts,
        executions=executions,
        extra=max(record.extra, UNEXPLAINED_EXTRA * lost.unexplained),
        cause=lost.cause,
        for_memory=record.for_memory or lost.memory,
        peak_bytes=max(peaks) if peaks else None,
        is_sure=record.is_sure or ((is_fatal or record.is_freed) and is_alone and lost.memory),
    )


def _note_wall(
    record: Suspect, lost: WorkerLost, executions: int, wall_bytes: int, *, is_fatal: bool
) -> Suspect:
    """Enter that a task ran into a wall: the first time it may be another's fault, not alone.

    The wall is of memory that is asked for, not of what is used. Where a kill costs a worker only,
    one that was refused more alone than it had used is tried without a wall before it is poison.
    """
    peaks = [peak for peak in (record.peak_bytes, lost.peak_bytes) if peak is not None]
    was_alone = record.for_memory
    may_be_untouched = (lost.peak_bytes or 0) < UNTOUCHED_SHARE * wall_bytes
    is_freed = was_alone and may_be_untouched and not is_fatal
    return record._replace(
        deaths=record.deaths + (was_alone and not is_freed),
        executions=executions,
        cause=lost.cause,
        for_memory=True,
        peak_bytes=max(peaks) if peaks else None,
        is_sure=was_alone and not is_freed,
        is_freed=is_freed,
        wall_bytes=wall_bytes,
    )


def is_poison(suspect: Suspect, retries: int) -> bool:
    """Say whether a suspect has killed its worker on every execution that it is allowed.

    Once is enough where nobody else can have been to blame and another time might end us all.
    """
    return suspect.is_sure or suspect.deaths > retries + suspect.extra
