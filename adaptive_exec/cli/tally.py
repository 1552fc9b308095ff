"""What a pass came to: counts, times, the first error; and rows of tasks that gave none."""

import heapq
import time
from collections.abc import Iterator
from typing import Final, Protocol

from adaptive_exec.cards.cells import Row
from adaptive_exec.cards.commands import CommandFailedError
from adaptive_exec.cards.prepared import CardBatch
from adaptive_exec.cli import exits
from adaptive_exec.core.report import RunReport
from adaptive_exec.errors import DriverError, InitializerError, TaskTimeoutError, WorkerLostError

NO_OUTCOME_ERRORS: Final = (WorkerLostError, DriverError, InitializerError)
"""Errors that say nothing about the task itself: it may or may not have run to its end."""
ERROR_LETTERS: Final = 500
"""Letters of an error kept in a row."""
SLOWEST: Final = 3
"""Tasks named in the summary of timings."""


class TallyLine(Protocol):
    """What the executor says of one task."""

    @property
    def index(self) -> int:
        """Position of the task in the batch."""

    @property
    def value(self) -> object:
        """What the function returned."""

    @property
    def error(self) -> BaseException | None:
        """What it raised."""

    @property
    def wall_seconds(self) -> float | None:
        """Seconds it took."""

    @property
    def level(self) -> str | None:
        """Where it ran."""


class Feed:
    """The tasks of a batch on their way to the executor, and the labels of those that are open.

    A record that cannot be read ends the batch there: `broken` says why, and what was read before
    still runs.

    Args:
        batch: The batch.
    """

    def __init__(self, batch: CardBatch) -> None:
        self._batch = batch
        self._open: dict[int, tuple[int, str, Row]] = {}
        self.broken: Exception | None = None

    def __iter__(self) -> Iterator[object]:
        """Yield the tasks, lazily."""
        try:
            for number, (place, task) in enumerate(self._batch.tasks()):
                kept = self._batch.kept(task)
                self._open[number] = (place, self._batch.label(place, task), kept)
                yield task
        except Exception as error:  # noqa: BLE001  # a reader of a damaged file may raise anything
            self.broken = error

    def close_task(self, number: int) -> tuple[int, str, Row]:
        """Forget an open task; return its place in the input, its label, and what is kept of it."""
        return self._open.pop(number)


class Tally:
    """Counts and times of one pass; constant in memory."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self.timeouts = 0
        self.without_outcome = 0
        self.first_error = ""
        self.broken: Exception | None = None
        self.work_seconds = 0.0
        self._slowest: list[tuple[float, str]] = []
        self.wall_seconds = 0.0
        self._began = time.monotonic()

    def stop(self) -> None:
        """Stop the clock: what follows is writing."""
        self.wall_seconds = time.monotonic() - self._began

    def add(self, outcome: TallyLine, label: str) -> None:
        """Count one outcome."""
        self.done += 1
        took = outcome.wall_seconds or 0.0
        self.work_seconds += took
        heapq.heappush(self._slowest, (took, label))
        if len(self._slowest) > SLOWEST:
            heapq.heappop(self._slowest)
        if outcome.error is not None:
            self.failed += 1
            self.timeouts += isinstance(outcome.error, TaskTimeoutError)
            self.without_outcome += isinstance(outcome.error, NO_OUTCOME_ERRORS)
            self.first_error = self.first_error or f"{label}: {error_text(outcome.error)}"

    def exit_code(self, total: int | None) -> int:
        """Return the exit code of a pass that came to its end.

        Args:
            total: How many tasks there were; None where that was not known beforehand.
        """
        if self.broken or self.without_outcome or (total is not None and self.done < total):
            return exits.NO_OUTCOME
        return exits.SOME_FAILED if self.failed else exits.ALL_HAVE_VALUES

    def timing_lines(self) -> list[str]:
        """Return the summary of timings."""
        mean = self.work_seconds / self.done if self.done else 0.0
        slowest = ", ".join(
            f"{label} {took:.3f} s" for took, label in sorted(self._slowest, reverse=True)
        )
        took = f"{self.wall_seconds:.2f} s, work {self.work_seconds:.2f} s, mean {mean:.3f} s"
        return [f"timing: {self.done} tasks in {took}", f"slowest: {slowest or 'none'}"]


def end_lines(tally: Tally, report: RunReport) -> list[str]:
    """Return what is said of a pass at its end: the score system's line, counts, where it ran."""
    took = tally.wall_seconds
    rate = tally.done / took if took > 0 else 0.0
    recalled = report.recalled_tasks
    levels = " -> ".join(report.levels) or "none"
    return [
        f"{tally.failed} failed, {took:.2f} s, {rate:.1f} tasks/s",
        f"{tally.done} tasks - {tally.timeouts} timeouts",
        *([f"{recalled} of them from the journal"] if recalled else []),
        f"levels: {levels}, workers: {report.workers}, degrades: {report.degrades}",
    ]


def timing_line(batch: CardBatch, place: int, label: str, outcome: TallyLine) -> str:
    """Return the line of one task: card, place, label, seconds, level, and its error if any."""
    took = "? s" if outcome.wall_seconds is None else f"{outcome.wall_seconds:.3f} s"
    line = f"{batch.name}[{place}] - {label} - {took} - {outcome.level or 'no level'}"
    return line if outcome.error is None else f"{line} - {error_text(outcome.error)}"


def row_of(
    batch: CardBatch, place: int, label: str, kept: Row, outcome: TallyLine
) -> Row | list[Row]:
    """Return the row of an outcome.

    Args:
        batch: Its batch.
        place: Place of the task in the input.
        label: Label of the task.
        kept: What its row has of the input.
        outcome: Its outcome.

    Returns:
        The function's row, with the batch's key in front; or the key and the error.
    """
    key = place if batch.columns is None else label
    if isinstance(outcome.error, CommandFailedError):
        kept = {**kept, **outcome.error.row}
    if outcome.error is not None:
        return {batch.key: key, **kept, "error": error_text(outcome.error)}
    if isinstance(outcome.value, list):
        return [{batch.key: key, **row} for row in outcome.value]
    assert isinstance(outcome.value, dict)
    return {batch.key: key, **kept, **outcome.value}


def error_text(error: BaseException) -> str:
    """Return type and first line of an error, as one line that can be written."""
    line = next(iter(str(error).splitlines()), "")
    text = f"{type(error).__name__}: {line}" if line else type(error).__name__
    return text[:ERROR_LETTERS].encode(errors="backslashreplace").decode()
