"""Performs instructions, each by the part that does such things. Decides nothing.

Holds the runners of the levels that were opened; only whoever drives touches them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, assert_never

from adaptive_exec.core.events import (
    ChunkDone,
    HostSampled,
    LevelClosed,
    StartRefused,
    Usage,
    WorkersTimed,
)
from adaptive_exec.core.instructions import (
    BelieveLimit,
    CloseLevel,
    Deliver,
    Explain,
    FailTasks,
    Finish,
    FinishBatch,
    Instruction,
    KillWorker,
    MoveWalls,
    OpenLevel,
    Pull,
    ReadHost,
    Recall,
    Record,
    RetireWorker,
    SendChunk,
    SetTimer,
    SizeTasks,
    StartWorkers,
    TimeWorkers,
    TradeShare,
    TrimMemory,
)
from adaptive_exec.core.run import Run
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.core.trace import Trace
from adaptive_exec.engine import lanes as lane
from adaptive_exec.engine.delivery import Delivery
from adaptive_exec.engine.ports import Calls, Step, Wheel, give_up
from adaptive_exec.engine.telling import Telling
from adaptive_exec.engine.trades import Sharing
from adaptive_exec.levels.base import (
    TICK_SECONDS,
    CannotStartError,
    ChunkOrder,
    Failure,
    Results,
    Runner,
)
from adaptive_exec.levels.meter import collect_and_trim
from adaptive_exec.log import LOGGER
from adaptive_exec.specs import is_inline


class Performer:
    """Does what a run orders.

    Args:
        wheel: The loop.
        make: How to make each level's runner.
        read_host: Takes a snapshot of the host.
        run: The run, whose state is told to neighbours.
        trace: What has been, for the same.
        delivery: Hands results over.
        sharing: Trades with the ledger.
        telling: Tells people.
        believe_limit: Takes a limit that cannot be seen for what is; returns what keeps it.

    Attributes:
        runners: Those of the levels that were opened.
    """

    def __init__(
        self,
        wheel: Wheel,
        make: Mapping[str, Callable[[], Runner]],
        read_host: Callable[[], HostSnapshot],
        *,
        run: Run,
        trace: Trace,
        delivery: Delivery,
        sharing: Sharing,
        telling: Telling,
        believe_limit: Callable[[int], Step] | None = None,
    ) -> None:
        self.runners: dict[str, Runner] = {}
        self._wheel = wheel
        self._make = make
        self._read_host = read_host
        self._run = run
        self._trace = trace
        self._delivery = delivery
        self._sharing = sharing
        self._telling = telling
        self._believe_limit = believe_limit
        self._is_trimming = False
        self._prepared: Runner | None = None

    def prepare(self, level: str, step: Callable[[Any], None]) -> None:
        """Have something done with a level's runner before it is opened; what it raises is dropped.

        Args:
            level: The level.
            step: Gets its runner.
        """
        if self.runners:
            return
        try:
            self._prepared = self.runners[level] = self._make[level]()
            step(self._prepared)
        except Exception:  # noqa: BLE001  # as in `_start`, which will meet the same
            LOGGER.debug("engine: the %s level cannot be prepared", level, exc_info=True)

    def drop_prepared(self) -> None:
        """Let go of what was prepared and not opened: what it holds is to be had by others."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            with suppress(Exception):  # a half-made level may raise anything
                prepared.abandon()

    def perform(self, instruction: Instruction) -> None:  # noqa: C901, PLR0912, PLR0915  # one arm for each instruction
        """Do what the run has ordered."""
        match instruction:
            case SendChunk():
                self._send(instruction)
            case MoveWalls():
                self.runners[instruction.level].move_walls(instruction.walls)
            case Record():
                self._delivery.record(instruction)
            case Deliver():
                self._delivery.deliver(instruction)
            case Recall():
                self._delivery.recall(instruction)
            case Pull():
                self._delivery.pull(instruction)
            case SizeTasks():
                self._delivery.size(instruction)
            case SetTimer():
                self._wheel.timer_at = instruction.at
            case Explain():
                self._telling.explain(instruction)
            case OpenLevel() | StartWorkers():
                self._start(instruction.level, instruction.workers)
            case CloseLevel():
                self._close(instruction.level)
            case RetireWorker():
                self.runners[instruction.level].retire(instruction.worker)
            case KillWorker():
                self.runners[instruction.level].kill(instruction.worker)
            case FailTasks():
                self._delivery.fail(instruction)
            case FinishBatch():
                self._finish_batch(instruction.batch)
            case ReadHost():
                self._read()
            case BelieveLimit():
                if self._believe_limit is not None:
                    self._wheel.apart(lane.TRADE, self._believe_limit(instruction.bytes))
            case TimeWorkers():
                self._time_workers()
            case TradeShare():
                self._sharing.trade(instruction, self._run, self._trace)
            case TrimMemory():
                self._trim()
            case Finish():
                self._wheel.finish("driver finished")
            case _:
                assert_never(instruction)

    def _send(self, order: SendChunk) -> None:
        calls = self._wheel.batches[order.batch]
        self._wheel.look_by(time.monotonic() + TICK_SECONDS)
        self._delivery.orders[order.chunk] = (order.level, order.attempt, order.worker)
        try:
            items = calls.items(order.start, order.stop)
            names = calls.names(order.start, order.stop)
        except Exception as error:  # noqa: BLE001  # it is this batch's alone
            self._fail_unsent(order, calls, error)
            return
        where = (order.chunk, order.worker, order.start, order.attempt)
        chunk = ChunkOrder(*where, items, calls.work, names, order.wall_bytes)
        self.runners[order.level].send(chunk)
        if is_inline(order.level):
            calls.call_for_attention()

    def _fail_unsent(self, order: SendChunk, calls: Calls, error: Exception) -> None:
        """End a batch whose arguments cannot be had; the worker was sent nothing and is free."""
        count = order.stop - order.start
        failure = give_up(calls, error)
        self._delivery.put_results(order.chunk, Results([Failure(failure)] * count))
        self._wheel.put(ChunkDone(time.monotonic(), order.chunk, count, Usage(count, 0.0)))

    def _finish_batch(self, batch: int) -> None:
        self._delivery.finish_batch(batch)
        for runner in self.runners.values():
            runner.forget(batch)

    def _read(self) -> None:
        sizes = [size for runner in self.runners.values() for size in runner.sizes()]
        self._wheel.put(HostSampled(time.monotonic(), self._read_host(), tuple(sizes)))

    def _time_workers(self) -> None:
        times = [one for runner in self.runners.values() for one in runner.times()]
        self._wheel.put(WorkersTimed(time.monotonic(), tuple(times)))

    def _trim(self) -> None:
        for runner in self.runners.values():
            runner.trim()
        if not self._is_trimming:
            self._is_trimming = True
            self._wheel.apart(lane.TIDY, self._collect)

    def _collect(self) -> None:
        self._is_trimming = False
        collect_and_trim()

    def _start(self, level: str, workers: Sequence[int]) -> None:
        try:
            if level not in self.runners:
                self.runners[level] = self._make[level]()
            if not is_inline(level):
                self._wheel.ensure_thread(level)
            if not self._wheel.may_drive():
                self._wheel.in_turn(partial(self._start, level, workers))
                return
            self._wheel.look_by(0.0)  # a start has bounds to be looked after
            if self.runners[level] is self._prepared:
                self._prepared = None
            self.runners[level].start(workers)
        except Exception as error:  # noqa: BLE001  # by origin: all that a start raises is a refused start
            self.drop_prepared()
            origin = error.__cause__ or error
            text = f"{type(origin).__name__}: {origin}"
            lasting = isinstance(error, (ImportError, CannotStartError))
            for worker in workers:
                self._wheel.put(StartRefused(time.monotonic(), level, worker, text, lasting))

    def _close(self, level: str) -> None:
        self._wheel.look_by(0.0)
        if level in self.runners:
            self.runners[level].close()
        else:
            self._wheel.put(LevelClosed(time.monotonic(), level))
