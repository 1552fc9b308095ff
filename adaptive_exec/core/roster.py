"""The workers of one level inside a run: ordered, ready, busy, gone. Decides nothing; `core/run` owns it."""

from dataclasses import dataclass

from adaptive_exec.core.ladder import Breaker


@dataclass(slots=True)
class Flight:
    """A chunk that is with a worker.

    Attributes:
        next: First task of it that is not finished.
        suspect: True when it is a suspect that runs alone.
        alone: True when nothing else was out when it was sent.
    """

    chunk: int
    batch: int
    level: str
    worker: int
    start: int
    stop: int
    next: int
    sent_at: float
    suspect: bool = False
    alone: bool = False
    overdue: int | None = None


class Roster:
    """The workers of one level.

    Attributes:
        state: `"closed"`, `"open"`, `"draining"` (no new work, what is out is awaited), `"closing"`.
        cap: Most workers it may have.
        start_after: Monotonic seconds before which no worker is ordered.
        on_trial: True after a restore until the first chunk is done.
    """

    def __init__(self, level: str) -> None:
        self.level = level
        self.state = "closed"
        self.cap = 1
        self.starting: set[int] = set()
        self.idle: list[int] = []
        self.busy: dict[int, Flight] = {}
        self.served: dict[int, int] = {}
        self.breaker = Breaker()
        self.start_after = 0.0
        self.strikes = 0
        self.on_trial = False
        self.told_missing = 0

    @property
    def size(self) -> int:
        """Workers there or ordered."""
        return len(self.starting) + len(self.idle) + len(self.busy)

    @property
    def is_leaving(self) -> bool:
        """True between a degrade and the moment the last worker is gone."""
        return self.state in ("draining", "closing")

    def ready(self, worker: int) -> None:
        """A worker has reported for work."""
        self.starting.discard(worker)
        self.idle.append(worker)
        self.served[worker] = 0

    def assign(self, flight: Flight) -> None:
        """Give a chunk to the worker named in it."""
        self.idle.remove(flight.worker)
        self.busy[flight.worker] = flight

    def release(self, worker: int, tasks: int) -> None:
        """A worker is through with its chunk."""
        del self.busy[worker]
        self.idle.append(worker)
        self.served[worker] += tasks

    def remove(self, worker: int) -> Flight | None:
        """Forget a worker; return the chunk that was with it."""
        self.starting.discard(worker)
        if worker in self.idle:
            self.idle.remove(worker)
        self.served.pop(worker, None)
        return self.busy.pop(worker, None)

    def clear(self) -> None:
        """Forget all workers, as a closed level has none."""
        self.starting.clear()
        self.idle.clear()
        self.busy.clear()
        self.served.clear()
