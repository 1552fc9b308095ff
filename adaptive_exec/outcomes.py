"""What becomes of a task: its outcome, and our errors for the tasks that the run gives up.

Decides nothing: the reason says which error it is.
"""

from contextlib import suppress
from logging import LogRecord
from typing import Generic, NamedTuple, TypeVar

from adaptive_exec.core.reason import Code, Reason
from adaptive_exec.errors import (
    AdaptiveExecError,
    InitializerError,
    LevelUnavailableError,
    PoisonTaskError,
    TaskTimeoutError,
    WorkerLostError,
)

T = TypeVar("T")


class Outcome(NamedTuple, Generic[T]):
    """What became of one task.

    Attributes:
        index: Position of the task in its input, from 0.
        value: What it returned; None when it failed.
        error: What it raised, or one of our errors; None when it has a value.
        attempts: Executions begun, 0 when there was none.
        wall_seconds: Duration; None when it never finished.
        cpu_seconds: Processor time; None where unknown.
        peak_bytes: Growth of its worker's memory while it ran; None where unknown.
        level: Where it ran; `""` when nowhere.
        is_recalled: True when it came from the journal and was not run now.
        stdout: What it printed, with `capture` and where it ran in a process, now or, out of the
            journal, when it ran; else None.
        stderr: What it wrote to standard error, in the same way.
        log: Its log records that the caller's levels let pass, in the same way.
    """

    index: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls
    value: T | None
    error: BaseException | None
    attempts: int
    wall_seconds: float | None
    cpu_seconds: float | None
    peak_bytes: int | None
    level: str
    is_recalled: bool = False
    stdout: str | None = None
    stderr: str | None = None
    log: "tuple[LogRecord, ...] | None" = None


def make_error(index: int, reason: Reason) -> AdaptiveExecError:
    """Make the error that a task ends with when the run gives it up."""
    cause = str(reason.fact("cause") or reason.fact("error") or reason.code)
    stack = str(reason.fact("stack") or "")
    match reason.code:
        case Code.POISON:
            peak, limit = reason.fact("peak"), reason.fact("limit")
            return PoisonTaskError(
                index,
                cause,
                attempts=int(reason.fact("executions") or 1),
                peak_bytes=peak if isinstance(peak, int) else None,
                limit_bytes=limit if isinstance(limit, int) else None,
                stack=stack,
            )
        case Code.TASK_OVERDUE:
            return TaskTimeoutError(index, float(reason.fact("limit") or 0))
        case Code.INITIALIZER_FAILED:
            return InitializerError(cause)
        case Code.NO_LEVEL_LEFT | Code.FUNCTION_NOT_PORTABLE:
            return LevelUnavailableError(str(reason.fact("level")), cause)
        case _:
            return WorkerLostError(index, cause, stack=stack)


def add_note(error: BaseException, index: int, attempt: int, level: str) -> None:
    """Say on an exception which task it is from; an object raised twice keeps its first note.

    One whose class has notes of its own way goes without.
    """
    with suppress(Exception):  # whatever its own attributes raise
        if level and not any(
            note.startswith("adaptive_exec: task ") for note in getattr(error, "__notes__", ())
        ):
            error.add_note(f"adaptive_exec: task {index}, attempt {attempt}, level {level}")
