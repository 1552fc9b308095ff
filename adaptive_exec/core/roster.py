"""The workers of one level inside a run: ordered, ready, busy, gone. Decides nothing."""

from collections.abc import Iterable

from adaptive_exec.core.events import Usage
from adaptive_exec.core.instructions import SendChunk
from adaptive_exec.core.ladder import Breaker
from adaptive_exec.core.lifecycle import (
    LEVEL,
    WORKER,
    LevelEvent,
    LevelState,
    WorkerEvent,
    WorkerState,
    after,
)
from adaptive_exec.core.memory.recycle import Service, serve
from adaptive_exec.core.memory.sizes import Measure


class Flight:
    """A chunk that was sent.

    Attributes:
        chunk, level, worker, batch, start, stop: As it was ordered.
        next: First task of it that is not finished.
        attempt: The how-manieth execution of its tasks this is.
        is_suspect: True when it is a suspect that runs alone.
        is_alone: True while no other chunk was ever with a worker beside it.
        is_doomed: True when the killing of its worker was ordered.
        overdue: Task that ran out of time, None while none did.
        unwanted: First task of it that nobody waits for, None while there is none.
        since: When it was sent, monotonic seconds.
        cpu_since: What processor time this process had used when it was first weighed; None where
            that is not the process that it runs in, or is not told.
        birth_bytes: Its worker's size before its first task, None when unknown.
        kept_bytes: What its worker kept beyond that when the chunk was sent.
        timed_at: When its worker's processor time was judged last, None while it never was.
        timed_seconds: What that was.
        is_waiting: True while it uses next to no processor, so that it holds no core.
        is_told: True once that was said.
        wall_bytes: What its worker may take at most beyond what it had, None for no wall.
        broken_bytes: The wall that its task, a suspect, ran into before; 0 for none.
        is_braked: True when it was stopped for memory although nothing else was out.
        measure: What is known of the size of its tasks, the largest; None where nothing is.
        reserve_bytes: What it is expected to take, its worker's kept memory included; 0 where that
            is what all chunks are reckoned to take.
        is_probe: True where its task is larger than any seen before.
    """

    __slots__ = (
        "attempt",
        "batch",
        "birth_bytes",
        "broken_bytes",
        "chunk",
        "cpu_since",
        "is_alone",
        "is_braked",
        "is_doomed",
        "is_probe",
        "is_suspect",
        "is_told",
        "is_waiting",
        "kept_bytes",
        "level",
        "measure",
        "next",
        "overdue",
        "reserve_bytes",
        "since",
        "start",
        "stop",
        "timed_at",
        "timed_seconds",
        "unwanted",
        "wall_bytes",
        "worker",
    )

    def __init__(self, order: SendChunk, *, is_suspect: bool) -> None:
        self.chunk = order.chunk
        self.level = order.level
        self.worker = order.worker
        self.batch = order.batch
        self.start = order.start
        self.stop = order.stop
        self.attempt = order.attempt
        self.next = order.start
        self.is_suspect = is_suspect
        self.is_alone = False
        self.is_doomed = False
        self.overdue: int | None = None
        self.unwanted: int | None = None
        self.since = 0.0
        self.cpu_since: float | None = None
        self.birth_bytes: int | None = None
        self.kept_bytes = 0
        self.timed_at: float | None = None
        self.timed_seconds = 0.0
        self.is_waiting = self.is_told = False
        self.is_braked = False
        self.wall_bytes: int | None = None
        self.broken_bytes = 0
        self.is_probe = False
        self.measure: Measure | None = None
        self.reserve_bytes = 0


class Roster:
    """The workers of one level.

    Attributes:
        state: See `LEVEL` in `core.lifecycle`.
        goal: Workers that the plan wants at most.
        cap: Workers it may have now; below `goal` after a refusal, and then grows by one at a time.
        seats: Workers that the share of the host has cores for; None where it sets no bound.
        start_seconds: What the start of the last worker took by itself.
        start_after: Monotonic seconds before which no worker is ordered.
        strikes: Workers in a row that died before their first result.
        on_trial: True after a failure until the first chunk is done.
        services: What is known of each worker that has reported for work.
        is_spent: True when patience with refused starts is spent and some starts are still open.
    """

    def __init__(self, level: str) -> None:
        self.level = level
        self.state: LevelState = "closed"
        self._lives: dict[int, WorkerState] = {}
        self.goal = 0
        self.cap = 0
        self.seats: int | None = None
        self.starting: set[int] = set()
        self.idle: list[int] = []
        self.busy: dict[int, Flight] = {}
        self.services: dict[int, Service] = {}
        self.breaker = Breaker()
        self.start_seconds = 0.0
        self.start_after = 0.0
        self.strikes = 0
        self.on_trial = False
        self.is_spent = False

    @property
    def size(self) -> int:
        """Workers there or ordered."""
        return len(self.starting) + len(self.idle) + len(self.busy)

    @property
    def waiting(self) -> int:
        """Workers whose tasks use next to no processor, so that they hold no core."""
        return sum(flight.is_waiting for flight in self.busy.values())

    @property
    def places(self) -> int | None:
        """Workers that the share of the host has room for now; None where it sets no bound."""
        return None if self.seats is None else self.seats + self.waiting

    @property
    def is_leaving(self) -> bool:
        """True between a failure and the moment the last worker is gone."""
        return self.state in {"draining", "closing"}

    @property
    def is_shut(self) -> bool:
        """True while the level is not to be used because it failed."""
        return self.breaker.shut_until is not None

    def aim(self, workers: int) -> None:
        """Let the level have at least this many workers, at once unless it has to grow slowly."""
        if not self.size:
            self.goal = workers
        is_reduced = self.cap < self.goal and self.size
        self.goal = max(self.goal, workers)
        if not (self.on_trial or is_reduced):
            self.cap = self.goal

    def see(self, event: LevelEvent) -> None:
        """Take in what happened to the level."""
        self.state = after(LEVEL, self.state, event)

    def _see(self, worker: int, event: WorkerEvent) -> None:
        """Take in what happened to a worker; one that is gone is forgotten."""
        state = after(WORKER, self._lives[worker], event)
        if state == "gone":
            del self._lives[worker]
        else:
            self._lives[worker] = state

    def life(self, worker: int) -> WorkerState:
        """Return the state of a worker's life."""
        return self._lives.get(worker, "gone")

    def order(self, workers: Iterable[int]) -> None:
        """Workers were ordered."""
        for worker in workers:
            self._lives[worker] = "ordered"
            self.starting.add(worker)

    def knows(self, worker: int) -> bool:
        """Say whether a worker is ours and not yet gone."""
        return worker in self.starting or worker in self.services

    def ready(self, worker: int, service: Service) -> None:
        """A worker has reported for work."""
        self._see(worker, "reported")
        self.starting.remove(worker)
        self.idle.append(worker)
        self.services[worker] = service

    def assign(self, flight: Flight) -> None:
        """Give a chunk to the worker that became idle last."""
        worker = self.idle.pop()
        self._see(worker, "given a chunk")
        service = self.services[worker]
        flight.birth_bytes, flight.kept_bytes = service.birth_bytes, service.kept_bytes
        self.busy[worker] = flight

    def release(self, worker: int, usage: Usage) -> None:
        """A worker is through with its chunk."""
        self._see(worker, "through")
        del self.busy[worker]
        self.idle.append(worker)
        self.services[worker] = serve(self.services[worker], usage)

    def remove(self, worker: int) -> Flight | None:
        """Forget a worker; return the chunk that was with it."""
        if worker in self._lives:
            self._see(worker, "left")
        self.starting.discard(worker)
        if worker in self.idle:
            self.idle.remove(worker)
        self.services.pop(worker, None)
        return self.busy.pop(worker, None)

    def clear(self) -> None:
        """Forget all workers, as a closed level has none."""
        self._lives.clear()
        self.starting.clear()
        self.idle.clear()
        self.busy.clear()
        self.services.clear()
