"""Drives a bare Run as fast as can be: workers are there at once, callers take at once, chunks end
in the order in which they were sent. Keeps no books, so that a million chunks take a minute."""

from collections import deque
from collections.abc import Callable

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.bounds import SECONDS, bound
from adaptive_exec.core.run import Run
from adaptive_exec.core.sharing.share import NO_CLAIM, Share, apportion
from adaptive_exec.core.trace import Trace
from tests.core.world import make_host

Measure = Callable[[int, ins.SendChunk], ev.Usage]
"""What the n-th chunk took."""


class Feeder:
    def __init__(self, config: Config, *, cores: int = 4) -> None:
        self.host = make_host(cores=cores)
        self.run = Run(config, self.host)
        self.trace = Trace()
        self.at = 0.0
        self.timer: float | None = None
        self.chunks = 0
        self.limits: dict[int, int | None] = {}
        self.out: deque[ins.SendChunk] = deque()
        self.told: deque[ev.Event] = deque()
        self.reasons: deque[str] = deque(maxlen=1000)

    def open(self, batch: int, *, tasks: int | None = None, **fields) -> None:
        self.limits[batch] = tasks
        self.tell(ev.BatchOpened(self.at, batch, tasks, **fields))

    def tell(self, event: ev.Event) -> None:
        self.told.append(event)
        while self.told:
            event = self.told.popleft()
            orders = self.run.handle(event)
            self.trace.see(event, orders, self.run.state)
            for order in orders:
                self.obey(order)

    def feed(self, chunks: int, measure: Measure, *, check_every: int = 10_000) -> None:
        """Let so many chunks end, each as it was measured."""
        for _ in range(chunks):
            order = self._next_chunk()
            if order is None:
                return
            usage = measure(self.chunks, order)
            self.chunks += 1
            self.at += bound(usage.wall_seconds, SECONDS)
            self.tell(ev.ChunkDone(self.at, order.chunk, order.stop - order.start, usage))
            if self.timer is not None and self.timer <= self.at:
                self.timer = None
                self.tell(ev.TimerFired(self.at))
            if self.chunks % check_every == 0:
                broken = list(self.run.check())
                assert not broken, broken

    def _next_chunk(self) -> ins.SendChunk | None:
        while not self.out and self.timer is not None:
            self.at, self.timer = max(self.at, self.timer), None
            self.tell(ev.TimerFired(self.at))
        return self.out.popleft() if self.out else None

    def obey(self, order: ins.Instruction) -> None:
        match order:
            case ins.OpenLevel() | ins.StartWorkers():
                for worker in order.workers:
                    self.told.append(ev.WorkerReady(self.at, order.level, worker, 10**7))
            case ins.SendChunk():
                self.out.append(order)
            case ins.Pull():
                self._pull(order)
            case ins.Deliver() | ins.FailTasks():
                count = order.stop - order.start
                self.told.append(ev.ResultsTaken(self.at, order.batch, count))
            case ins.ReadHost():
                self.told.append(ev.HostSampled(self.at, self.host._replace(taken_at=self.at)))
            case ins.TimeWorkers():
                self.told.append(ev.WorkersTimed(self.at))
            case ins.TradeShare():
                self.told.append(ev.ShareChanged(self.at, self.share(order)))
            case ins.SetTimer():
                self.timer = order.at
            case ins.CloseLevel():
                self.told.append(ev.LevelClosed(self.at, order.level))
            case ins.Explain():
                self.reasons.append(str(order.decision.reason.code))

    def _pull(self, order: ins.Pull) -> None:
        left = self.limits[order.batch]
        count = order.count if left is None else min(left, order.count)
        if left is not None:
            self.limits[order.batch] = left = left - count
        if count:
            self.told.append(ev.TasksArrived(self.at, order.batch, count))
        if left == 0:
            self.told.append(ev.InputExhausted(self.at, order.batch))

    def share(self, order: ins.TradeShare) -> Share:
        other = NO_CLAIM._replace(name="other", wanted_slots=1, held_slots=1)
        own = order.claim._replace(name="own")
        return apportion(own, [other], cores=order.cores, room_bytes=order.room_bytes, now=self.at)
