"""A model of everything around a Run: it obeys instructions, keeps its own books, and objects.

The books are kept from instructions and events alone, so that they can contradict the run's.
"""

from dataclasses import dataclass, field

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.memory.sizes import Measure
from adaptive_exec.core.quarantine import STOPPED, WALLED
from adaptive_exec.core.reason import Code, Reason
from adaptive_exec.core.run import Run
from adaptive_exec.core.sharing.share import Claim, apportion
from adaptive_exec.core.snapshot import HostSnapshot

GIB = 1024**3
MEASURES_PER_LOOK = 100
FAILURES = {Code.START_REFUSED, Code.NO_PROGRESS, Code.TRIAL_FAILED, Code.MEMORY_SHORT}


def make_host(*, cores: int = 4, available: int = 32 * GIB, limit: int = 32 * GIB, at: float = 0.0):
    return HostSnapshot(at, limit, "test", available, "test", cores, "test")


@dataclass
class Chunk:
    order: ins.SendChunk
    next: int
    is_alone: bool

    @property
    def left(self) -> int:
        return self.order.stop - self.next


@dataclass
class Books:
    """What is known of one batch."""

    opened: ev.BatchOpened
    arrived: int = 0
    asked: int = 0
    taken: int = 0
    frontier: int = 0
    exhausted: bool = False
    dropped: bool = False
    finished: bool = False
    outcomes: dict[int, str] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    blamed: dict[int, int] = field(default_factory=dict)
    extra: set[int] = field(default_factory=set)
    suspects: set[int] = field(default_factory=set)
    aside: set[int] = field(default_factory=set)
    recorded: set[int] = field(default_factory=set)

    @property
    def takeable(self) -> int:
        """Results that lie ready in the order of the input."""
        count = self.taken
        while count in self.outcomes:
            count += 1
        return count - self.taken


class World:
    def __init__(self, config: Config, host: HostSnapshot) -> None:
        self.config = config
        self.host = host
        self.run = Run(config, host)
        self.at = 0.0
        self.timer: float | None = None
        self.history: list[tuple[ev.Event, list[ins.Instruction]]] = []
        self.books: dict[int, Books] = {}
        self.levels = dict.fromkeys(("process", "thread", "sequential"), "closed")
        self.starting: dict[int, str] = {}
        self.workers: dict[int, str] = {}
        self.doomed: dict[int, str] = {}
        self.retired: list[int] = []
        self.chunks: dict[int, Chunk] = {}
        self.reads = 0
        self.oom_kills = 0
        self.unknown_losses = 0
        self.is_stopped = False
        self.is_finished = False
        self.is_wrecked = False
        self.is_unrecorded = False
        self.is_shown_by_hand = False
        self.believed: list[int] = []
        self.told: list[Reason] = []
        self.is_trading = False
        self.is_timing = False
        self.computed: dict[int, float] = {}  # a worker that is not in it computes all the time
        self.offers: list[ins.TradeShare] = []
        self.neighbours: list[Claim] | None = []  # None leaves the answer to the test
        self.is_ledger_usable = True

    # events

    def say(self, event: ev.Event) -> list[ins.Instruction]:
        """Hand an event in, obey what comes of it, and look whether all is in order."""
        before = self.is_finished
        self.is_wrecked = True
        orders = self.run.handle(event)
        self.history.append((event, orders))
        for order in orders:
            self.obey(order)
        if self.is_trading and self.neighbours is not None:
            self.share()
        if self.is_timing:
            self.time_workers()
        assert not (before and orders), "ordered after Finish"
        measures = sum(len(batch.measures) for batch in self.run.batches.values())
        if len(self.history) % (1 + measures // MEASURES_PER_LOOK) == 0:  # else minutes
            assert not list(self.run.check()), list(self.run.check())
        if not self.is_finished:
            self.object_to_stall()
        self.is_wrecked = False
        return orders

    def open(self, **fields) -> int:
        batch = len(self.books) + 1
        fields = {"tasks": None} | fields
        event = ev.BatchOpened(self.at, batch, **fields)
        self.books[batch] = Books(event)
        self.say(event)
        return batch

    def arrive(self, batch: int, count: int) -> None:
        books = self.books[batch]
        if not books.finished:
            books.arrived += count
        if books.opened.largest_first and not self.is_shown_by_hand:
            self._show(batch, books.arrived - count, count)
        books.asked = max(0, books.asked - count)
        self.say(ev.TasksArrived(self.at, batch, count))

    def _show(self, batch: int, start: int, count: int) -> None:
        """Tell of tasks what their arguments show; of some it shows nothing."""
        tasks = range(start, start + count)
        measures = tuple(Measure(1, (float(17 * one % 11),) if one % 7 else ()) for one in tasks)
        self.say(ev.TasksSized(self.at, batch, start, measures))

    def set_aside(self, batch: int, count: int) -> None:
        books = self.books[batch]
        if books.opened.largest_first:
            self._show(batch, books.arrived, count)
        if not books.finished:
            if not books.dropped:
                books.aside.update(range(books.arrived, books.arrived + count))
            books.arrived += count
        books.asked = max(0, books.asked - count)
        self.say(ev.TasksSetAside(self.at, batch, count))

    def recall(self, batch: int, start: int, stop: int, result_bytes: int = 0) -> None:
        self.say(ev.TasksRecalled(self.at, batch, start, stop, result_bytes))
        self.books[batch].aside.difference_update(range(start, stop))

    def free(self, batch: int, start: int, stop: int) -> None:
        self.books[batch].aside.difference_update(range(start, stop))
        self.say(ev.TasksFreed(self.at, batch, start, stop))

    def exhaust(self, batch: int) -> None:
        self.books[batch].exhausted = True
        self.books[batch].asked = 0
        self.say(ev.InputExhausted(self.at, batch))

    def ready(self, worker: int, size_bytes: int | None = None) -> None:
        level = self.starting.pop(worker)
        self.workers[worker] = level
        self.say(ev.WorkerReady(self.at, level, worker, size_bytes))

    def refuse(self, worker: int, *, lasting: bool = False) -> None:
        level = self.starting.pop(worker)
        error = "OSError: [Errno 12] Cannot allocate memory"
        self.say(ev.StartRefused(self.at, level, worker, error, lasting))

    def progress(self, chunk: int, count: int) -> None:
        self._finish_tasks(self.chunks[chunk], count)
        self.say(ev.ChunkProgressed(self.at, chunk, count))

    def take_back(self, chunk: int) -> None:
        """Take back what stands behind the task that runs now."""
        flight = self.chunks[chunk]
        flight.order = flight.order._replace(stop=flight.next + 1)
        self.say(ev.TasksUnbegun(self.at, chunk, flight.next + 1))

    def done(self, chunk: int, count: int | None = None, wall: float = 0.01, **usage) -> None:
        flight = self.chunks[chunk]
        count = flight.left if count is None else count
        self._finish_tasks(flight, count)
        tasks = flight.next - flight.order.start
        self.chunks.pop(chunk)
        measured = ev.Usage(tasks, wall * tasks, **usage)
        self.say(ev.ChunkDone(self.at, chunk, count, measured))

    def _finish_tasks(self, flight: Chunk, count: int) -> None:
        for index in range(flight.next, flight.next + count):
            self._begin(flight, index)
        flight.next += count

    def _begin(self, flight: Chunk, index: int) -> None:
        books = self.books[flight.order.batch]
        books.begun[index] = books.begun.get(index, 0) + 1
        if self.config.retries == 0:
            assert books.begun[index] == 1, f"task {index} ran twice with retries=0"

    def lose(
        self,
        worker: int,
        *,
        offset: int | None = None,
        known: bool = True,
        is_counted: bool = False,
        **fields,
    ) -> None:
        """Lose a worker.

        Args:
            worker: Its id.
            offset: How far into the rest of its chunk it was.
            known: Whether the task that ran is known.
            is_counted: Whether the kernel counted a kill for memory.
            **fields: Of the event.
        """
        self.oom_kills += is_counted
        level = self.starting.pop(worker, None) or self.workers.pop(worker, None)
        level = level or self.doomed.pop(worker)
        running = None
        chunk = next((c for c in self.chunks.values() if c.order.worker == worker), None)
        if chunk is not None:
            del self.chunks[chunk.order.chunk]
            if offset is not None and chunk.left:
                running = chunk.next + offset % chunk.left
                for index in range(chunk.next, running + 1):
                    self._begin(chunk, index)
            is_large = fields.get("peak_bytes", 0) >= self.host.limit_bytes / 2
            verdict = {"memory": True} if is_counted or is_large else {}
            verdict |= {"unexplained": False} if is_counted else {}
            self._blame(chunk, running, known=known, **{**fields, **verdict})
        fields.setdefault("cause", "signal 9")
        if fields.get("unexplained"):
            fields["oom_kills"] = self.oom_kills
        self.say(
            ev.WorkerLost(
                self.at, level, worker, running=running if known else None, known=known, **fields
            )
        )

    def _blame(self, chunk: Chunk, running: int | None, *, known: bool, **fields) -> None:
        books = self.books[chunk.order.batch]
        accused = range(chunk.next, chunk.order.stop) if not known else [running]
        if known and fields.get("foul") and running is not None:
            accused = range(chunk.next, running + 1)
        if fields.get("blameless"):
            return
        for index in accused:
            if index is None:
                continue
            books.suspects.add(index)
            if fields.get("unexplained"):
                books.extra.add(index)
            if chunk.is_alone or not fields.get("memory"):
                books.blamed[index] = books.blamed.get(index, 0) + 1

    def sample(self, available: int) -> None:
        self.reads = max(0, self.reads - 1)
        host = make_host(cores=self.host.usable_cores, available=available, at=self.at)
        self.say(ev.HostSampled(self.at, host))

    def share(self) -> None:
        """Answer a trade as the ledger would, with these neighbours."""
        order = self.offers[-1]
        own = order.claim._replace(name="own", arrived_at=0.0)
        found = apportion(
            own, self.neighbours or (), cores=order.cores, room_bytes=order.room_bytes
        )
        self.is_trading = False
        if self.is_ledger_usable:
            self.say(ev.ShareChanged(self.at, found))
        else:
            self.say(ev.ShareChanged(self.at, None, "OSError: [Errno 28] No space left on device"))

    def time_workers(self) -> None:
        """Answer with the processor time that each worker has used."""
        self.is_timing = False
        seconds = {worker: self.computed.get(worker, self.at) for worker in self.workers}
        self.say(ev.WorkersTimed(self.at, tuple(seconds.items())))

    def close_level(self, level: str) -> None:
        self.levels[level] = "closed"
        self.starting = {w: name for w, name in self.starting.items() if name != level}
        self.workers = {w: name for w, name in self.workers.items() if name != level}
        self.say(ev.LevelClosed(self.at, level))

    def take(self, batch: int, count: int) -> None:
        self.books[batch].taken += count
        self.say(ev.ResultsTaken(self.at, batch, count))

    def drop(self, batch: int) -> None:
        books = self.books[batch]
        books.aside.clear()
        books.dropped = books.exhausted = True
        books.asked = 0
        self.say(ev.BatchDropped(self.at, batch))

    def stop(self, *, cancel: bool) -> None:
        self.is_stopped = True
        for books in self.books.values():
            if cancel and not books.finished:
                books.dropped = books.exhausted = True
                books.aside.clear()
        self.say(ev.StopRequested(self.at, cancel))

    def wait(self, seconds: float) -> None:
        """Let time pass, and the timer fire when it has come."""
        end = self.at + seconds
        while self.timer is not None and self.timer <= end:
            self.at, self.timer = self.timer, None
            self.say(ev.TimerFired(self.at))
        self.at = max(self.at, end)

    # instructions

    def obey(self, order: ins.Instruction) -> None:
        match order:
            case ins.OpenLevel():
                assert "closing" not in self.levels.values(), "opened before the other closed"
                assert self.levels[order.level] == "closed"
                self.levels[order.level] = "open"
                self._start(order.level, order.workers)
            case ins.StartWorkers():
                assert self.levels[order.level] == "open"
                self._start(order.level, order.workers)
            case ins.CloseLevel():
                assert self.levels[order.level] == "open"
                self.levels[order.level] = "closing"
                assert order.level not in {c.order.level for c in self.chunks.values()}
            case ins.RetireWorker():
                assert self.workers.pop(order.worker) == order.level
                self._assert_idle(order.worker)
                self.retired.append(order.worker)
            case ins.KillWorker():
                assert order.level == "process"
                known = self.workers if order.worker in self.workers else self.starting
                self.doomed[order.worker] = known.pop(order.worker)
                self.told.append(order.reason)
            case ins.Pull():
                books = self.books[order.batch]
                assert order.count > 0
                assert not (books.finished)
                assert not (books.exhausted)
                assert not (books.opened.single)
                books.asked += order.count
                limit = books.opened.buffer_tasks
                held = books.arrived - books.taken + books.asked
                assert limit is None or held <= limit
            case ins.SendChunk():
                self._send(order)
            case ins.Record():
                books = self.books[order.batch]
                tasks = set(range(order.start, order.stop))
                assert books.opened.recorded
                assert tasks
                assert not books.recorded & tasks, "recorded twice"
                books.recorded |= tasks
            case ins.Recall():
                books = self.books[order.batch]
                for index in range(order.start, order.stop):
                    assert index in books.aside
                    self._end(books, index, "recalled")
            case ins.Deliver():
                books = self.books[order.batch]
                assert order.start < order.stop
                if books.opened.recorded and not self.is_unrecorded:
                    assert books.recorded.issuperset(range(order.start, order.stop))
                for index in range(order.start, order.stop):
                    self._end(books, index, "value")
            case ins.FailTasks():
                books = self.books[order.batch]
                assert order.start < order.stop
                self.told.append(order.reason)
                for index in range(order.start, order.stop):
                    self._end(books, index, str(order.reason.code))
                    self._check_poison(books, index, order.reason)
            case ins.FinishBatch():
                self._finish(order.batch)
            case ins.Explain():
                decision = order.decision
                assert isinstance(decision.reason.code, Code)
                assert decision.at == self.at
                self.told.append(decision.reason)
                if decision.event == "degraded":
                    assert decision.reason.code in FAILURES
                    assert decision.reason.fact("error")
            case ins.ReadHost():
                self.reads += 1
            case ins.BelieveLimit():
                self.believed.append(order.bytes)
            case ins.TimeWorkers():
                assert not self.is_timing
                self.is_timing = True
            case ins.TradeShare():
                assert not self.is_trading
                self.is_trading = True
                self.offers.append(order)
            case ins.TrimMemory():
                pass
            case ins.SetTimer():
                assert order.at is None or order.at > self.at, "a timer in the past"
                self.timer = order.at
            case ins.Finish():
                assert self.is_stopped
                assert all(books.finished for books in self.books.values())
                assert set(self.levels.values()) == {"closed"}
                self.is_finished = True

    def _start(self, level: str, workers: tuple[int, ...]) -> None:
        assert level in self.config.ladder
        assert workers
        assert not self.config.isolate or level == "process"
        for worker in workers:
            assert worker not in self.starting
            assert worker not in self.workers
            self.starting[worker] = level

    def _assert_idle(self, worker: int) -> None:
        assert worker not in {chunk.order.worker for chunk in self.chunks.values()}

    def _send(self, order: ins.SendChunk) -> None:
        books = self.books[order.batch]
        assert order.start < order.stop <= books.arrived
        assert self.levels[order.level] == "open"
        assert self.workers[order.worker] == order.level
        self._assert_idle(order.worker)
        assert not books.dropped
        for index in range(order.start, order.stop):
            assert index not in books.outcomes
            assert not self._is_out(order.batch, index), f"task {index} is out twice"
            assert index not in books.aside, f"task {index} is set aside and sent"
            if index in books.suspects:
                assert order.level == "process"
                assert order.stop - order.start == 1
            if not self.unknown_losses:  # after one nobody can say how often a task was begun
                assert order.attempt == books.begun.get(index, 0) + 1
        if order.level == "sequential":
            sent = [c for c in self.chunks.values() if c.order.batch == order.batch]
            assert "sequential" not in {chunk.order.level for chunk in sent}
        beside = [c for c in self.chunks.values() if c.order.level != "sequential"]
        flight = Chunk(order, order.start, is_alone=not beside)
        if order.level != "sequential":
            for chunk in beside:
                chunk.is_alone = False
        self.chunks[order.chunk] = flight
        books.frontier = max(books.frontier, order.stop)

    def _is_out(self, batch: int, index: int) -> bool:
        return any(
            chunk.order.batch == batch and chunk.next <= index < chunk.order.stop
            for chunk in self.chunks.values()
        )

    def _end(self, books: Books, index: int, how: str) -> None:
        assert index < books.arrived
        assert index not in books.outcomes, f"task {index} ended twice"
        books.outcomes[index] = how

    def _check_poison(self, books: Books, index: int, reason: Reason) -> None:
        if reason.code is not Code.POISON or reason.fact("cause") in (WALLED, STOPPED):
            return  # of these one alone is enough
        allowed = self.config.retries + 1 + (index in books.extra)
        assert books.blamed[index] == allowed

    def _finish(self, batch: int) -> None:
        books = self.books[batch]
        assert not books.finished
        books.finished = True
        assert books.exhausted or self.is_stopped
        expected = books.frontier if books.dropped else books.arrived
        for index in range(expected):
            assert index in books.outcomes, f"task {index} was lost"

    # what must always be possible

    def object_to_stall(self) -> None:
        waiting = [batch for batch, books in self.books.items() if self._has_work(books)]
        if not waiting or self.chunks or self.starting or self.timer is not None:
            return
        if self.reads and self.neighbours is not None:
            return  # the host is read before a share is asked for
        if any(books.asked for books in self.books.values()) or "closing" in self.levels.values():
            return
        for batch in waiting:
            books = self.books[batch]
            idle_single = books.opened.single and len(books.outcomes) == books.arrived
            idle = idle_single or books.takeable or books.aside
            assert idle, f"batch {batch} stands still"

    @staticmethod
    def _has_work(books: Books) -> bool:
        return not books.finished

    def settle(self) -> None:
        """Complete everything fairly: starts succeed, chunks end, callers take, inputs end."""
        for _ in range(20_000):
            if not self._complete_one():
                break
        else:
            raise AssertionError("no end in sight")
        assert self.is_finished

    def _complete_one(self) -> bool:
        closing = [level for level, state in self.levels.items() if state == "closing"]
        pulls = [batch for batch, books in self.books.items() if books.asked and not books.finished]
        takers = [batch for batch, books in self.books.items() if books.takeable]
        asides = [batch for batch, books in self.books.items() if books.aside]
        open_singles = [
            batch
            for batch, books in self.books.items()
            if books.opened.single and not books.exhausted
        ]
        if closing:
            self.close_level(closing[0])
        elif self.doomed:
            self.lose(next(iter(self.doomed)), offset=0, blameless=True)
        elif self.reads:
            self.sample(32 * GIB)
        elif self.starting:
            self.ready(next(iter(self.starting)))
        elif self.chunks:
            self.at += 0.001
            self.done(next(iter(self.chunks)))
        elif asides:
            books = self.books[asides[0]]
            index = min(books.aside)
            (self.recall if index % 2 else self.free)(asides[0], index, index + 1)
        elif takers:
            self.take(takers[0], self.books[takers[0]].takeable)
        elif pulls:
            self.exhaust(pulls[0])
        elif open_singles:
            self.exhaust(open_singles[0])
        elif not self.is_stopped:
            self.stop(cancel=False)
        elif self.timer is not None:
            self.wait(max(0.0, self.timer - self.at))
        else:
            return False
        return True

    def replay(self) -> None:
        """The same events give the same instructions."""
        again = Run(self.config, self.host)
        for event, orders in self.history:
            repeated = again.handle(event)
            assert repeated == orders
            assert [type(order) for order in repeated] == [type(order) for order in orders]
