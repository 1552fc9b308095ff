"""Recorded, then delivered: holds outcomes back until the journal has them.

Groups are written when they may wait no longer, so that many results share a transaction. Decides
nothing: the run says what is recorded, the journal how long a group may wait.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from adaptive_exec.core.events import Event, JournalFailed

ASIDE_LOOK_SECONDS: Final = 0.1
"""Seconds between looks at tasks that another instance on the same journal runs."""

FOREVER = float("inf")


class RecordBook(Protocol):
    """The journal, as the driver sees it."""

    @property
    def trouble(self) -> str:
        """Why it cannot be used any more, `""` while it can."""

    @property
    def commit_at(self) -> float:
        """Monotonic seconds at which the group is to be written; FOREVER without one."""

    def commit(self) -> None:
        """Write the group that waits."""

    def show_life(self, now: float) -> None:
        """Leave a sign of life."""

    def close(self) -> None:
        """Write what is left and close the file."""


class LooksAside(Protocol):
    """What may wait for tasks that another instance runs."""

    def look_aside(self) -> bool:
        """Look what became of them; return whether some are still waited for."""


class Recorder:
    """Holds outcomes until they are written.

    Args:
        book: The journal, None where there is none.
        post: Where events go.
    """

    def __init__(self, book: RecordBook | None, post: Callable[[Event], None]) -> None:
        self._book = book
        self._post = post
        self._batches: set[int] = set()
        self._held: list[Callable[[], object]] = []
        self._has_told = False
        self._look_at = 0.0

    def enter(self, batch: int) -> None:
        """Know a batch whose outcomes are recorded."""
        self._batches.add(batch)

    def is_recorded(self, batch: int) -> bool:
        """Say whether a batch's outcomes are recorded."""
        return batch in self._batches

    def deliver(self, batch: int, step: Callable[[], object]) -> None:
        """Deliver at once, or after what was recorded before is written."""
        if batch in self._batches:
            self._held.append(step)
        else:
            step()

    def finish(self, batch: int) -> None:
        """Deliver everything: a batch ends."""
        if batch in self._batches:
            self._batches.discard(batch)
            self.flush()

    def flush(self) -> None:
        """Write the group that waits, and deliver what waits for it."""
        if self._book is None:
            return
        self._book.commit()
        held, self._held = self._held, []
        for step in held:
            step()
        self._report()

    def flush_if_due(self, *, may_wait: bool) -> float:
        """Write the group if it is time, or if nobody will come back soon.

        Args:
            may_wait: False where no thread of ours is there to do it later.

        Returns:
            Monotonic seconds at which it will be time.
        """
        if not self._held or self._book is None:
            return FOREVER
        at = self._book.commit_at
        if may_wait and time.monotonic() < at < FOREVER:
            return at
        self.flush()
        return FOREVER

    def tend(self, calls: Iterable[LooksAside], *, may_wait: bool) -> float:
        """Do what comes by itself.

        Args:
            calls: What may wait for another instance.
            may_wait: As above.

        Returns:
            Monotonic seconds at which to come again.
        """
        if self._book is None:
            return FOREVER
        now = time.monotonic()
        again = self.flush_if_due(may_wait=may_wait)
        self._book.show_life(now)
        if now >= self._look_at:
            waiting = [one.look_aside() for one in calls]  # each, even when the first has to wait
            is_waiting = any(waiting)
            self._look_at = now + ASIDE_LOOK_SECONDS if is_waiting else 0.0
        self._report()
        return min(again, self._look_at or FOREVER)

    def close(self) -> None:
        """Write and deliver what is left, and close the journal."""
        if self._book is not None:
            self.flush()
            self._book.close()
            self._book = None

    def _report(self) -> None:
        if self._book is not None and self._book.trouble and not self._has_told:
            self._has_told = True
            self._post(JournalFailed(time.monotonic(), self._book.trouble))
