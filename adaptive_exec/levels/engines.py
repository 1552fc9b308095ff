"""What a cluster's engine must be able to do, and the plainest of them: any `submit` will do.

An engine is there already and belongs to the caller; it is asked, and neither started nor ended
here. All that it raises is judged here: what is lost, and who may be to blame.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from functools import partial
from typing import Any, NamedTuple, Protocol

from adaptive_exec.errors import message_of
from adaptive_exec.levels.away import Bundle, greet, run_bundle
from adaptive_exec.levels.base import CannotStartError, Carried
from adaptive_exec.levels.bundles import differs

SEAT = "any"
"""The one worker that an engine is which does not tell its workers apart."""
_SIZES = ("_max_workers", "max_workers", "num_workers")
"""What executors call the number of their workers."""


def line_of(error: BaseException) -> str:
    """Say in one line what was raised."""
    lines = message_of(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}".removesuffix(": ")


class Opened(NamedTuple):
    """What an engine has.

    Attributes:
        slots: Tasks that each of its workers runs at once.
        trip_seconds: What the way there and back takes.
    """

    slots: dict[str, int]
    trip_seconds: float


class ChunkLostError(Exception):
    """An engine has lost a chunk.

    Attributes:
        has_begun: Whether its tasks may have begun.
        is_blameless: Whether none of them can be to blame.
    """

    def __init__(self, text: str, *, has_begun: bool = True, is_blameless: bool = False) -> None:
        self.has_begun = has_begun
        self.is_blameless = is_blameless
        super().__init__(text)


class EngineLostError(ChunkLostError):
    """It takes nothing more, and has lost this chunk, too."""


Answered = Callable[[Any], None]
"""Told what `run_bundle` returned, or of an exception of the engine's."""
Changed = Callable[[dict[str, int]], None]
"""Told of the slots of all workers, when they have changed."""
Lost = Callable[[BaseException], None]
"""Told that the engine is lost, with all that it has."""


class Engine(Protocol):
    """Somebody else's workers. But for `open` none of these waits."""

    def open(self, changed: Changed, lost: Lost) -> Opened:
        """Look who is there, and whether they are like this program; within a bound.

        Raises:
            Exception: It cannot be used, and why.
        """

    def submit(
        self,
        seat: str,
        bundle: Bundle,
        carried: Carried | None,
        answered: Answered,
        *,
        is_whole: bool,
    ) -> object:
        """Have a chunk run; with `is_whole` a large function goes along.

        Raises:
            Exception: The engine does not take it.
        """

    def cancel(self, ticket: Any) -> bool:
        """Have a chunk not run; return whether it has surely not begun."""

    def judge(self, error: BaseException) -> ChunkLostError:
        """Say what an exception of the engine's means."""

    def trouble(self) -> str:
        """Say why nothing more will come of it, `""` where that is not known."""

    def forget(self, batch: int) -> None:
        """Let go of what belongs to a batch."""

    def close(self) -> None:
        """Let go of it; from any thread, more than once."""


class PlainEngine:
    """Any `concurrent.futures.Executor`, and what is like one.

    Args:
        executor: It.
        wait_seconds: The longest wait for its first answer.
        first: The initializer, packed.
    """

    def __init__(self, executor: Executor, wait_seconds: float, first: bytes) -> None:
        self._executor = executor
        self._wait_seconds = wait_seconds
        self._first = first

    def open(self, changed: Changed, lost: Lost) -> Opened:  # noqa: ARG002  # it does not tell
        """Have one worker answer, twice: the first time it may have to be started."""
        deadline = time.monotonic() + self._wait_seconds
        trip_seconds = 0.0
        for first in (self._first, b""):
            before = time.monotonic()
            future = self._executor.submit(greet, first)
            try:
                greeting = future.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                future.cancel()
                message = f"no answer of the executor within {self._wait_seconds:g} s"
                raise TimeoutError(message) from None
            trouble = differs(greeting)
            if trouble:
                raise CannotStartError(trouble)
            trip_seconds = time.monotonic() - before
        return Opened({SEAT: self._count()}, trip_seconds)

    def submit(
        self,
        seat: str,  # noqa: ARG002  # there is but one
        bundle: Bundle,
        carried: Carried | None,
        answered: Answered,
        *,
        is_whole: bool,
    ) -> object:
        """Have a chunk run."""
        body = carried.body if is_whole and carried is not None else b""
        try:
            future = self._executor.submit(run_bundle, bundle, body)
        except BaseException as error:
            message = line_of(error)
            raise EngineLostError(message, has_begun=False, is_blameless=True) from error
        future.add_done_callback(partial(_answer, answered))
        return future

    def cancel(self, ticket: Any) -> bool:
        """Cancel what has not begun."""
        return bool(ticket.cancel())

    def judge(self, error: BaseException) -> ChunkLostError:
        """Say what an exception means: the end of the executor, or of one chunk."""
        if isinstance(error, ChunkLostError):
            return error
        text = line_of(error)
        if isinstance(error, CancelledError):
            return EngineLostError(text, has_begun=False, is_blameless=True)
        if isinstance(error, BrokenExecutor):
            return EngineLostError(text)
        return ChunkLostError(text)

    def trouble(self) -> str:
        """Nothing: its futures tell."""
        return ""

    def forget(self, batch: int) -> None:
        """Nothing: it holds nothing of ours."""

    def close(self) -> None:
        """Nothing: it is the caller's."""

    def _count(self) -> int:
        sizes = (getattr(self._executor, name, None) for name in _SIZES)
        known = next((size for size in sizes if isinstance(size, int) and size > 0), None)
        return known or os.cpu_count() or 1


def _answer(answered: Answered, future: "Future[Any]") -> None:
    if future.cancelled():
        answered(CancelledError())
        return
    error = future.exception()
    answered(future.result() if error is None else error)
