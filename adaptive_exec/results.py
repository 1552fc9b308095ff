"""The iterators that hand results to the caller: in order, as they come, or as outcomes.

Each raises a failed task's exception at its place and can be advanced past it; closing or dropping one that was
begun cancels what has not begun. One that was never begun lets its tasks run.
"""

import time
from collections.abc import Iterator
from typing import Any

from adaptive_exec.calls import Block, MapCalls, Outcome
from adaptive_exec.levels.base import Failure


class ResultIterator(Iterator[Any]):
    """Yields the results of one `map`.

    Args:
        calls: The map.
        timeout: Seconds from now in which every result must be there, None for no limit.
    """

    def __init__(self, calls: MapCalls, timeout: float | None) -> None:
        self._calls = calls
        self._deadline = None if timeout is None else timeout + time.monotonic()
        self._values: list[Any] = []
        self._count = 0
        self._has_begun = False
        self._is_over = False

    def __iter__(self) -> "ResultIterator":
        return self

    def __next__(self) -> Any:
        values = self._values or self._refill()
        value = values.pop()
        if value.__class__ is Failure:
            try:
                raise value.error
            finally:
                del value  # the traceback holds this frame, which would hold the error
        return value

    def close(self) -> None:
        """Cancel what has not begun, and yield no more."""
        self._is_over = True
        self._values = []
        self._calls.drop()

    def __del__(self) -> None:
        if not hasattr(self, "_is_over") or self._is_over:
            return
        if self._has_begun:
            self.close()
        else:
            self._calls.detach()

    def _refill(self) -> list[Any]:
        block = self._next_block()
        self._count = len(block.results.values)
        self._values = self._shape(block)
        self._values.reverse()
        return self._values

    def _shape(self, block: Block) -> list[Any]:
        return block.results.values

    def _next_block(self) -> Block:
        self._has_begun = True
        if self._is_over:
            raise StopIteration
        if self._count:
            self._calls.taken(self._count)
            self._count = 0
        try:
            block = self._calls.take(self._deadline)
        except TimeoutError:
            self.close()
            raise
        if block is None:
            self._is_over = True
            raise self._calls.final_error() or StopIteration
        return block


class OutcomeIterator(ResultIterator):
    """Yields an Outcome per task, as they come, and never raises for a task."""

    def _shape(self, block: Block) -> list[Any]:
        return [_outcome(block, offset) for offset in range(len(block.results.values))]


def _outcome(block: Block, offset: int) -> Outcome:
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
    )
