"""Drives a Run on a simulated host: performs its instructions there and posts the same events.

The callers are simulated too: they give input when asked and take results in order, at once.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from random import Random
from typing import assert_never

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.memory.sizes import Measure
from adaptive_exec.core.report import RunReport
from adaptive_exec.core.run import Run
from adaptive_exec.core.sharing.share import Share, apportion
from adaptive_exec.core.trace import Trace
from adaptive_exec.sim.clock import Clock
from adaptive_exec.sim.machine import Course, SimHost, run_chunk
from adaptive_exec.sim.occupancy import SimMemory
from adaptive_exec.specs import is_isolated

EVENTS_MAX = 100_000_000
"""Events after which a simulation that has not ended is given up."""


@dataclass(slots=True)
class SimBatch:
    """A batch and what became of it.

    Attributes:
        durations: Seconds of each task.
        outcomes: `"value"` or the reason code of its error for each task, None before.
        executions: How often each task was begun.
        known: Tasks whose result the journal has from an earlier run.
        is_sizing: True while the run wants to know what tasks' arguments show of their size.
        recorded: Tasks whose result was written into the journal.
    """

    durations: Sequence[float]
    outcomes: list[str | None]
    executions: bytearray
    known: frozenset[int] = frozenset()
    recorded: set[int] = field(default_factory=set)
    is_sizing: bool = False
    pulled: int = 0
    taken: int = 0


@dataclass(frozen=True, slots=True)
class SimResult:
    """How a simulated run went.

    Attributes:
        batches: Each batch with its tasks' outcomes.
        seconds: Simulated time from the first batch to the last result.
        events: Events that the run handled.
        report: What the run says of itself.
        most_bytes: The most memory that tasks and others took at once.
        memory_deaths: Chunks that died since there was not enough.
    """

    batches: tuple[SimBatch, ...]
    seconds: float
    events: int
    report: RunReport
    most_bytes: int = 0
    memory_deaths: int = 0


def simulate(
    config: Config,
    host: SimHost,
    *batches: Sequence[float],
    known: Collection[int] = (),
    check: bool = False,
) -> SimResult:
    """Run batches on a simulated host until everything is done.

    Args:
        config: The settings.
        host: The host and its faults.
        *batches: Each a sequence of its tasks' durations in seconds.
        known: Tasks of each batch whose result a journal has from an earlier run; with any, what
            is done now is recorded, too.
        check: Ask after every event whether the run's own rules hold; slow.

    Returns:
        How it went; the same for the same arguments.

    Raises:
        RuntimeError: The run stands still or does not end.
        AssertionError: `check` found a rule broken.

    >>> simulate(Config(), SimHost(cores=8), [0.5] * 16).seconds < 1.5
    True
    """
    return SimDriver(config, host, check=check).run_to_end(batches, frozenset(known))


class SimDriver:
    """The counterpart of the real driver.

    Args:
        config: The settings.
        host: The host and its faults.
        check: True to hold the run to its own rules after every event.
        trade: Answers a trade with the ledger; None for a run that is alone on its host.
        beside: Counts the chunks of other runs that are out; None where there are no others.
    """

    def __init__(
        self,
        config: Config,
        host: SimHost,
        *,
        check: bool = False,
        trade: Callable[[ins.TradeShare], Share] | None = None,
        beside: Callable[[], int] = int,
    ) -> None:
        self.clock = Clock()
        self.trace = Trace()
        self._host = host
        self._config = config
        self._run = Run(config, host.snapshot(0.0, 0))
        self._check = check
        self._trade = trade or _trade_alone
        self._beside = beside
        self._random = Random(host.seed)
        self._inbox: deque[ev.Event] = deque()
        self._batches: dict[int, SimBatch] = {}
        self._memory = SimMemory(host)
        self._timer_at: float | None = None
        self._events = 0
        self._done_at = 0.0

    def run_to_end(
        self, batches: Sequence[Sequence[float]], known: frozenset[int] = frozenset()
    ) -> SimResult:
        """Run batches until everything is done."""
        self.begin(batches, known)
        while not self._run.finished:
            self.step()
        batches_done = tuple(self._batches.values())
        report, memory = self.trace.report(), self._memory
        most, deaths = memory.most_bytes, memory.deaths
        return SimResult(batches_done, self._done_at, self._events, report, most, deaths)

    def begin(
        self, batches: Sequence[Sequence[float]], known: frozenset[int] = frozenset()
    ) -> None:
        """Hand batches over, now."""
        now = self.clock.now
        for number, durations in enumerate(batches, start=1):
            count = len(durations)
            batch = SimBatch(durations, [None] * count, bytearray(count), known)
            self._batches[number] = batch
            is_ordered = self._config.order is not None and self._host.shows is not None
            batch.is_sizing = is_ordered
            opened = ev.BatchOpened(
                now, number, count, recorded=bool(known), sized=is_ordered, largest_first=is_ordered
            )
            self._inbox.append(opened)
        self._inbox.append(ev.StopRequested(now))

    def step(self) -> None:
        """Let the next event happen."""
        self._handle(self._next_event())

    @property
    def next_at(self) -> float:
        """When the next event happens; now while something lies ready."""
        if self._inbox:
            return self.clock.now
        times = [at for at in (self._timer_at, self.clock.next_at) if at is not None]
        return min(times, default=self.clock.now)

    @property
    def is_finished(self) -> bool:
        """True when everything is done."""
        return self._run.finished

    @property
    def share(self) -> Share | None:
        """What the run may have beside others."""
        return self._run.share

    @property
    def running(self) -> int:
        """Chunks that are out."""
        return len(self._run.flights)

    def _next_event(self) -> ev.Event:
        if self._inbox:
            return self._inbox.popleft()
        at, next_at = self._timer_at, self.clock.next_at
        if at is not None and (next_at is None or at <= next_at):
            self._timer_at = None
            self.clock.skip_to(at)
            return ev.TimerFired(at)
        if next_at is None or self._events > EVENTS_MAX:
            message = f"the simulated run does not end, got {self._events} events; report this"
            raise RuntimeError(message)
        return self.clock.pop()

    def _handle(self, event: ev.Event) -> None:
        if isinstance(event, ev.ChunkDone) and event.chunk not in self._run.flights:
            return  # it was scheduled before its worker died
        self._memory.see(event)
        self._events += 1
        orders = self._run.handle(event)
        self.trace.see(event, orders, self._run.state)
        for order in orders:
            self._perform(order)
        if self._check:
            rules = list(self._run.check())
            assert not rules, f"{event}: {rules}"

    def _perform(self, order: ins.Instruction) -> None:  # noqa: C901, PLR0912, PLR0915  # one arm for each instruction
        match order:
            case ins.SendChunk():
                self._send(order)
            case ins.MoveWalls():
                pass
            case ins.Record():
                self._batches[order.batch].recorded.update(range(order.start, order.stop))
            case ins.Recall():
                self._end_tasks(order.batch, order.start, order.stop, "recalled")
            case ins.Deliver():
                self._end_tasks(order.batch, order.start, order.stop, "value")
            case ins.FailTasks():
                self._end_tasks(order.batch, order.start, order.stop, str(order.reason.code))
            case ins.SetTimer():
                self._timer_at = order.at
            case ins.Pull():
                self._pull(order)
            case ins.OpenLevel() | ins.StartWorkers():
                self._start(order.level, order.workers)
            case ins.CloseLevel():
                self._inbox.append(ev.LevelClosed(self.clock.now, order.level))
            case ins.KillWorker():
                self._kill(order)
            case ins.ReadHost():
                snapshot = self._host.snapshot(self.clock.now, self._memory.taken_bytes)
                sizes = self._memory.sizes()
                self._inbox.append(ev.HostSampled(self.clock.now, snapshot, sizes))
            case ins.SizeTasks():
                self._size(order)
            case ins.TimeWorkers():
                self._inbox.append(ev.WorkersTimed(self.clock.now))  # all of them compute
            case ins.TradeShare():
                self._inbox.append(ev.ShareChanged(self.clock.now, self._trade(order)))
            case (
                ins.Explain()
                | ins.TrimMemory()
                | ins.RetireWorker()
                | ins.BelieveLimit()
                | ins.Finish()
            ):
                pass
            case ins.FinishBatch():
                pass
            case _:
                assert_never(order)

    def _send(self, order: ins.SendChunk) -> None:
        batch = self._batches[order.batch]
        running = len(self._run.rosters[order.level].busy) - 1 + self._beside()
        needed = self._host.chunk_bytes(order.start, order.stop)
        fits = self._memory.take(order, needed, self.clock.now)
        course = run_chunk(
            self._host, self._random, order, batch.durations, running=running, fits=fits
        )
        for index in range(order.start, order.start + course.finished):
            batch.executions[index] += 1
        at = self.clock.now + course.seconds
        if course.killer is None:
            usage = self._measure(order, batch, course, needed)
            self.clock.schedule(ev.ChunkDone(at, order.chunk, course.finished, usage))
            return
        batch.executions[course.killer] += 1
        self.clock.schedule(ev.ChunkProgressed(at, order.chunk, course.finished))
        self.clock.schedule(
            ev.WorkerLost(
                at,
                order.level,
                order.worker,
                cause="out of memory" if course.is_memory else "signal 9",
                running=course.killer,
                memory=course.is_memory,
                unexplained=course.is_outside,
            )
        )

    def _measure(
        self, order: ins.SendChunk, batch: SimBatch, course: Course, peak_bytes: int
    ) -> ev.Usage:
        stop = order.start + course.finished
        return ev.Usage(
            course.finished,
            sum(batch.durations[order.start : stop]),
            transport_seconds=self._host.message_seconds,
            peak_bytes=peak_bytes,
            span_bytes=peak_bytes,
            kept_bytes=0,
        )

    def _end_tasks(self, number: int, start: int, stop: int, outcome: str) -> None:
        batch = self._batches[number]
        self._done_at = self.clock.now
        for index in range(start, stop):
            assert batch.outcomes[index] is None, f"task {index} ended twice"
            batch.outcomes[index] = outcome
        taken = batch.taken
        while batch.taken < len(batch.outcomes) and batch.outcomes[batch.taken] is not None:
            batch.taken += 1
        if batch.taken > taken:
            self._inbox.append(ev.ResultsTaken(self.clock.now, number, batch.taken - taken))

    def _pull(self, order: ins.Pull) -> None:
        batch, now = self._batches[order.batch], self.clock.now
        count = min(order.count, len(batch.durations) - batch.pulled)
        start, batch.pulled = batch.pulled, batch.pulled + count
        self._show(order.batch, start, batch.pulled)
        tasks = range(start, batch.pulled)
        for is_known, span in groupby(tasks, batch.known.__contains__):
            first, *rest = span
            length = 1 + len(rest)
            if is_known:
                self._inbox.append(ev.TasksSetAside(now, order.batch, length))
                self._inbox.append(ev.TasksRecalled(now, order.batch, first, first + length))
            else:
                self._inbox.append(ev.TasksArrived(now, order.batch, length))
        if batch.pulled == len(batch.durations):
            self._inbox.append(ev.InputExhausted(now, order.batch))

    def _size(self, order: ins.SizeTasks) -> None:
        batch = self._batches[order.batch]
        batch.is_sizing = order.start is not None and self._host.shows is not None
        if order.start is not None:
            self._show(order.batch, order.start, batch.pulled)

    def _show(self, number: int, start: int, stop: int) -> None:
        if self._batches[number].is_sizing and self._host.shows is not None:
            shown = tuple(Measure(1, self._host.shows(index)) for index in range(start, stop))
            self._inbox.append(ev.TasksSized(self.clock.now, number, start, shown))

    def _start(self, level: str, workers: Sequence[int]) -> None:
        now = self.clock.now
        is_refused = is_isolated(level) and now < self._host.refused_until
        wait = self._host.start_seconds if is_isolated(level) else 0.0
        for worker in workers:
            if is_refused:
                error = "OSError: [Errno 12] Cannot allocate memory"
                self._inbox.append(ev.StartRefused(now, level, worker, error))
            else:
                self.clock.schedule(ev.WorkerReady(now + wait, level, worker, size_bytes=0))

    def _kill(self, order: ins.KillWorker) -> None:
        cause = str(order.reason.code)
        self._inbox.append(
            ev.WorkerLost(self.clock.now, order.level, order.worker, cause, blameless=True)
        )


def _trade_alone(order: ins.TradeShare) -> Share:
    return apportion(order.claim, (), cores=order.cores, room_bytes=order.room_bytes)
