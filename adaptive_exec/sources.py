"""Where the arguments of a map come from: a sequence of Python's own, or any iterator.

Nothing here knows of threads: who may pull, and when, is `calls`'.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final

GONE: Final = object()
"""Stands in for arguments that were let go of."""


class Slices:
    """Arguments that lie in a sequence of Python's own.

    So they can be cut out at any time and from any thread.
    """

    def __init__(self, sequence: Sequence[Any]) -> None:
        self._sequence = sequence
        self._pulled = 0

    def pull(self, count: int) -> tuple[int, bool, BaseException | None]:
        """Pull up to `count` tasks.

        Return how many came, whether that was all, and the input's own error.
        """
        before = self._pulled
        self._pulled = min(len(self._sequence), before + count)
        return self._pulled - before, self._pulled == len(self._sequence), None

    def items(self, start: int, stop: int) -> Sequence[Any]:
        """Return the arguments of tasks `start` to `stop` - 1."""
        return self._sequence[start:stop]

    def peek(self, start: int, stop: int) -> Sequence[Any]:
        """Return the same, from any thread and also of tasks that are over."""
        return self._sequence[start:stop]

    def release(self, start: int, stop: int) -> None:
        """Nothing: the sequence is the caller's."""


class Pulled:
    """Arguments pulled from an iterator and kept until their tasks are finished."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._kept: dict[int, Any] = {}
        self._pulled = 0

    def pull(self, count: int) -> tuple[int, bool, BaseException | None]:
        """Pull up to `count` tasks.

        Return how many came, whether that was all, and the input's own error.
        """
        before = self._pulled
        try:
            for item in itertools.islice(self._source, count):
                self._kept[self._pulled] = item
                self._pulled += 1
        except BaseException as error:  # noqa: BLE001  # the caller's own iterator may raise anything
            return self._pulled - before, True, error
        return self._pulled - before, self._pulled - before < count, None

    def items(self, start: int, stop: int) -> Sequence[Any]:
        """Return the arguments of tasks `start` to `stop` - 1."""
        return [self._kept[index] for index in range(start, stop)]

    def peek(self, start: int, stop: int) -> Sequence[Any]:
        """Return the same, from any thread; GONE in the place of those let go of meanwhile."""
        return [self._kept.get(index, GONE) for index in range(start, stop)]

    def release(self, start: int, stop: int) -> None:
        """Let go of finished tasks' arguments."""
        for index in range(start, stop):
            self._kept.pop(index, None)
