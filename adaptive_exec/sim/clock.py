"""Time that passes only when somebody asks for the next event: a heap of events to come."""

import heapq
from itertools import count

from adaptive_exec.core.events import Event


class Clock:
    """Virtual time.

    Attributes:
        now: Seconds since the simulation began.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Event]] = []
        self._order = count()

    def schedule(self, event: Event) -> None:
        """Let an event happen at its time; events of the same time happen in this order."""
        heapq.heappush(self._heap, (event.at, next(self._order), event))

    @property
    def next_at(self) -> float | None:
        """When the next event happens, None when none will."""
        return self._heap[0][0] if self._heap else None

    def pop(self) -> Event:
        """Go on to the next event and return it."""
        self.now, _, event = heapq.heappop(self._heap)
        return event

    def skip_to(self, at: float) -> None:
        """Let time pass up to a moment before the next event."""
        self.now = max(self.now, at)
