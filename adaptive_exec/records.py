"""The journal's side of a batch: which of its tasks are known, and what is written of the others.

Stands between `calls` or `submits` and the journal: keeps the keys of open tasks and the results
that were read, until the run says that they are to be handed on. Decides nothing.
"""

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from adaptive_exec.core.events import (
    Event,
    JournalSkipped,
    TasksAccused,
    TasksArrived,
    TasksFreed,
    TasksRecalled,
    TasksSetAside,
)
from adaptive_exec.core.reason import Code, Reason
from adaptive_exec.journal.book import KNOWN, RUN
from adaptive_exec.journal.keys import KEY_BYTES
from adaptive_exec.journal.rows import Ended, FoundRow
from adaptive_exec.journal.section import Admitted, Section
from adaptive_exec.levels.base import FULL, ONE, Block, Failure, Results, Unportable
from adaptive_exec.outcomes import make_error
from adaptive_exec.program.captured import Captured

_NO_KEY = bytes(KEY_BYTES)
_LASTING = frozenset({Code.POISON, Code.TASK_OVERDUE, Code.RETRIES_SPENT})
"""Our errors that say something of the task itself; of others nobody knows whether it was run."""


class Records:
    """What the journal has to do with one batch.

    Args:
        section: The batch's part of the journal.
        batch: The batch's id.
        style: ONE, STAR or FULL.
        key: The user's function from a task to what its key is made of, None for all arguments.
        post: Where events go.
        captured: What its tasks say is written with their outcomes; None to leave it out.
    """

    def __init__(
        self,
        section: Section,
        batch: int,
        style: int,
        key: Callable[..., Any] | None,
        post: Callable[[Event], None],
        *,
        captured: Captured | None = None,
    ) -> None:
        self._captured = captured
        self._section = section
        self._batch = batch
        self._post = post
        self._content = _content_reader(style, key)
        self._keys: dict[int, bytes] = {}
        self._aside: dict[int, bytes] = {}
        self._found: dict[int, FoundRow] = {}
        self._has_told = False

    def know(self, function: Callable[..., Any]) -> None:
        """Enter a function into the journal.

        Raises:
            JournalError: Its source has changed since its results were written.
        """
        try:
            self._section.know(function)
        except TypeError as error:
            self._tell(f"{error}")

    def admit(self, function: Callable[..., Any], start: int, tasks: Sequence[Any]) -> None:
        """Tell the run of tasks that have arrived: those to be run and those known.

        Args:
            function: Their function.
            start: Index of the first.
            tasks: The tasks.
        """
        self.enter(self.look_up(function, tasks), start, len(tasks))

    def look_up(self, function: Callable[..., Any], tasks: Sequence[Any]) -> Admitted:
        """Ask the journal for tasks, and claim those that are to be run; may wait for the disk."""
        return self._section.admit(function, tasks, self._content)

    def enter(self, admitted: Admitted, start: int, count: int) -> None:
        """Tell the run of tasks that were looked up.

        Args:
            admitted: What the journal said.
            start: Index of the first.
            count: How many they are.
        """
        if admitted.unkeyed is not None:
            self._tell(admitted.unkeyed)
        self._keys.update(
            (index, key) for index, key in enumerate(admitted.keys, start) if key is not None
        )
        offsets = range(count)
        for fate, span in groupby(offsets, admitted.fates.__getitem__):
            self._announce(fate, [start + offset for offset in span], start, admitted.found)

    def _announce(
        self, fate: int, indices: list[int], start: int, found: dict[int, FoundRow]
    ) -> None:
        now, count = time.monotonic(), len(indices)
        if fate == RUN:
            self._arrive(now, indices)
            return
        self._post(TasksSetAside(now, self._batch, count))
        if fate == KNOWN:
            self._recall({index: found[index - start] for index in indices})
        else:
            self._aside.update((index, self._keys[index]) for index in indices)

    def _arrive(self, now: float, indices: list[int]) -> None:
        """Tell of tasks that are to be run, and of those that may end the program by that."""
        times = self._section.book.times_accused
        for deaths, span in groupby(indices, lambda at: times(self._keys.get(at, _NO_KEY))):
            those = list(span)
            if not deaths:
                self._post(TasksArrived(now, self._batch, len(those)))
                continue
            self._post(TasksSetAside(now, self._batch, len(those)))
            self._post(TasksAccused(now, self._batch, those[0], those[-1] + 1, deaths))

    def look_aside(self) -> bool:
        """Look what became of tasks that another instance runs; return whether some still wait."""
        if not self._aside:
            return False
        waiting = dict(self._aside)
        found, freed = self._section.book.look_again(waiting)
        for index in (*found, *freed):
            self._aside.pop(index, None)
        for first, stop in _spans(freed):
            self._post(TasksFreed(time.monotonic(), self._batch, first, stop))
        self._recall(found)
        return bool(self._aside)

    def _recall(self, found: dict[int, FoundRow]) -> None:
        self._found.update(found)
        for first, stop in _spans(list(found)):
            size = sum(found[index].size_bytes for index in range(first, stop))
            self._post(TasksRecalled(time.monotonic(), self._batch, first, stop, size))

    def take_found(self, start: int, stop: int) -> list[Block]:
        """Return what the journal knows of tasks, as blocks of one level and attempt each."""
        found = [(index, self._found.pop(index)) for index in range(start, stop)]
        if self._captured is not None:
            for index, row in found:
                said = self._section.book.read_said(row.place)
                if said is not None:
                    self._captured.put(index, said)
        blocks = []
        for (level, attempt), span in groupby(found, lambda one: (one[1].level, one[1].attempt)):
            those = list(span)
            values = [one.value if one.error is None else Failure(one.error) for _, one in those]
            details: list[Any] = [one.detail for _, one in those]
            results = Results(values, details)
            blocks.append(Block(those[0][0], results, level, attempt, is_recalled=True))
        return blocks

    def record(self, function: Callable[..., Any], block: Block, worker: int) -> None:
        """Have the outcomes of a block written with the next group."""
        values = block.results.values
        failures = {
            offset: value.error for offset, value in enumerate(values) if value.__class__ is Failure
        }
        keys = [self._keys.get(index) for index in range(block.start, block.start + len(values))]
        if Unportable in map(type, values):  # nothing of it was run
            keys = [
                None if value.__class__ is Unportable else key
                for key, value in zip(keys, values, strict=True)
            ]
        said = self._said(range(block.start, block.start + len(values)))
        ended = Ended(keys, values, failures, block.results.details, said)
        self._section.record(
            function, ended, level=block.level, worker=worker, attempt=block.attempt
        )

    def record_failure(self, function: Callable[..., Any], index: int, reason: Reason) -> None:
        """Have one of our errors written, where it says something of the task itself."""
        if reason.code not in _LASTING:
            return
        executions = reason.fact("executions")
        attempt = executions if isinstance(executions, int) else 0
        error, said = make_error(index, reason), self._said(range(index, index + 1))
        ended = Ended([self._keys.get(index)], [None], {0: error}, None, said)
        self._section.record(function, ended, level="", worker=0, attempt=attempt)

    def _said(self, tasks: range) -> list[bytes] | None:
        return None if self._captured is None else [self._captured.pack(index) for index in tasks]

    def release(self, start: int, stop: int) -> None:
        """Let go of what belongs to tasks that are delivered."""
        for index in range(start, stop):
            self._keys.pop(index, None)

    def names(self, start: int, stop: int) -> bytes:
        """Return the keys of open tasks, one after the other; zeros for one that has none."""
        return b"".join(self._keys.get(index, _NO_KEY) for index in range(start, stop))

    def _tell(self, why: str) -> None:
        if not self._has_told:
            self._has_told = True
            self._post(JournalSkipped(time.monotonic(), self._batch, why))


def _content_reader(style: int, key: Callable[..., Any] | None) -> Callable[[Any], Any]:
    """Return what makes of a task that which its key is made of."""
    if style == FULL:
        return (lambda call: call[1:]) if key is None else lambda call: key(*call[1], **call[2])
    if key is None:
        return _itself
    return key if style == ONE else lambda task: key(*task)


def _itself(task: Any) -> Any:
    return task


def _spans(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return first and one past last of each run of neighbours."""
    spans: list[tuple[int, int]] = []
    for index in sorted(indices):
        if spans and spans[-1][1] == index:
            spans[-1] = (spans[-1][0], index + 1)
        else:
            spans.append((index, index + 1))
    return spans
