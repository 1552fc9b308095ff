"""The iterators that hand results to the caller: in order, as they come, or as outcomes.

Each raises a failed task's exception at its place and can be advanced past it; closing or dropping
one that was begun cancels what has not begun. One that was never begun lets its tasks run.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat
from typing import Any, Final, NoReturn, TypeVar

from adaptive_exec.calls import MapCalls
from adaptive_exec.levels.base import Block, Failure
from adaptive_exec.outcomes import Outcome, add_note
from adaptive_exec.program.captured import Captured

T = TypeVar("T")
_EMPTY: Final = object()
"""Stands for the item that an empty block does not have."""


class ResultIterator(Iterator[T]):
    """Yields the results of one `map`.

    Args:
        calls: The map.
        timeout: Seconds from now in which every result must be there, None for no limit.
        shape: Makes of a block what is yielded, one item per task.
    """

    def __init__(
        self,
        calls: MapCalls,
        timeout: float | None,
        shape: Callable[[Block], list[Any]] | None = None,
    ) -> None:
        deadline = None if timeout is None else timeout + time.monotonic()
        self._owner = _Owner(calls)
        self._blocks: Iterator[list[Any]] = _blocks(self._owner, deadline, shape or _values)
        self._pop: Callable[[], Any] = [].pop
        self._refills = threading.RLock()

    def __next__(self) -> T:
        # Several threads may take from one iterator. A list is popped in C, so each item goes to
        # one of them; who comes upon an empty one fetches the next block, or waits for who does.
        # No chain of lists from itertools: entered twice, it frees what the first still runs in.
        try:
            item = self._pop()
        except IndexError:
            item = _EMPTY  # what comes next has no context
        if item is _EMPTY:
            item = self._refill()
        if item.__class__ is Failure:
            try:
                _raise(item.error)
            finally:
                del item, self  # the traceback holds this frame, which would hold the error
        return item  # type: ignore[no-any-return]  # what blocks hold is the user's

    def close(self) -> None:
        """Cancel what has not begun, and yield no more."""
        self._owner.close()
        self._blocks, self._pop = iter(()), [].pop

    def _refill(self) -> Any:
        """Return the next item, of the next block if nobody has fetched that one meanwhile."""
        with self._refills:
            while True:
                with suppress(IndexError):
                    return self._pop()
                blocks = self._blocks
                items = next(blocks)
                if blocks is not self._blocks:
                    raise StopIteration  # closed meanwhile
                self._pop = items.pop
                del items


def make_outcomes(block: Block, captured: Captured | None = None) -> list[Outcome[Any]]:
    """Make an Outcome for each task of a block, for an iterator that never raises for a task.

    Args:
        block: Its results.
        captured: What its tasks have said, None where that was not kept.
    """
    return [_outcome(block, offset, captured) for offset in range(block.results.count)]


class _Owner:
    """Tells the map when nobody will take its results, or no more of them."""

    calls: MapCalls | None = None  # until it is made: an interrupt may leave one half made

    def __init__(self, calls: MapCalls) -> None:
        self.calls = calls

    def close(self) -> None:
        if self.calls is not None and self.calls.taker in _MAY_LET_GO:
            self.calls.drop()

    def __del__(self) -> None:
        if self.calls is not None and self.calls.taker == "expected":
            self.calls.detach()
        else:
            self.close()


_MAY_LET_GO: Final = ("expected", "here")


def _blocks(
    owner: _Owner, deadline: float | None, shape: Callable[[Block], list[Any]]
) -> Iterator[list[Any]]:
    calls = owner.calls
    assert calls is not None, "it is made"
    calls.begin_to_take()
    while calls.taker == "here":
        try:
            block = calls.take(deadline)
        except BaseException:  # the deadline has passed, or Ctrl-C: nobody will take the rest
            owner.close()
            raise
        if block is None:
            calls.settle()
            raise_final(calls)
            return
        count = block.results.count
        try:
            note_failures(block, calls)
            items = shape(block)
        except BaseException:  # Ctrl-C while a result was unpacked
            owner.close()
            raise
        del block
        items.reverse()  # each item is let go as it is handed on
        yield items
        del items
        calls.taken(count)


def note_failures(block: Block, calls: MapCalls) -> None:
    """Unpack results, here in the taker's thread; errors get a note of where they came from."""
    values = block.results.values
    if not any(map(isinstance, values, repeat(Failure))):  # in C: most blocks have none
        return
    for offset, value in enumerate(values):
        if value.__class__ is Failure:
            add_note(value.error, block.start + offset, block.attempt, block.level)
            calls.note_failure(value.error)


def raise_final(calls: MapCalls) -> None:
    """Raise what ended a map early, if anything did."""
    error = calls.final_error()
    try:
        if error is not None:
            raise error
    finally:
        del error  # its traceback holds this frame, which would hold it


def _raise(error: BaseException) -> NoReturn:
    """Raise a task's exception; a StopIteration would end the iterator instead (PEP 479)."""
    if isinstance(error, StopIteration):
        message = "task raised StopIteration"
        raise RuntimeError(message) from error  # noqa: TRY004  # as generators do
    try:
        raise error
    finally:
        del error


def _values(block: Block) -> list[Any]:
    return block.results.values


def _outcome(block: Block, offset: int, captured: Captured | None) -> Outcome[Any]:
    said: Any = None
    if captured is not None:
        take = captured.take_recalled if block.is_recalled else captured.take
        said = take(block.start + offset)
    stdout, stderr, log = said or (None, None, None)
    value = block.results.values[offset]
    details = block.results.details
    wall, cpu, peak = details[offset] if details else (None, None, None)
    failed = isinstance(value, Failure)
    return Outcome(
        index=block.start + offset,
        value=None if failed else value,
        error=value.error if failed else None,
        attempts=block.attempt,
        wall_seconds=wall,
        cpu_seconds=cpu,
        peak_bytes=peak,
        level=block.level,
        is_recalled=block.is_recalled,
        stdout=stdout,
        stderr=stderr,
        log=log,
    )
