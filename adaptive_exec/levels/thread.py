"""The thread level: started first and fed later, so that a refused start runs no task twice.

Does not decide how many there are, and cannot kill one that runs.
"""

import os
import queue
import time
from collections.abc import Callable, Sequence
from typing import Any

from adaptive_exec.core.events import (
    ChunkDone,
    ChunkProgressed,
    InitializerFailed,
    LevelClosed,
    StartRefused,
    Usage,
    WorkerReady,
)
from adaptive_exec.errors import DriverError
from adaptive_exec.levels.base import IDLE_WAIT_SECONDS, ChunkOrder, Failure, Outlet, Results
from adaptive_exec.levels.current import InThread
from adaptive_exec.levels.forks import end_child
from adaptive_exec.levels.inner import limit_loaded, limit_this_thread
from adaptive_exec.levels.offspring import LOOK_SECONDS
from adaptive_exec.levels.own_memory import SharedGrowth
from adaptive_exec.levels.tasks import chunk_context, run_bite, try_initializer
from adaptive_exec.levels.threads import start_thread

LEVEL = "thread"


class ThreadRunner:
    """Runs chunks on threads of this process.

    Args:
        outlet: Where events go.
        initializer: Called first in each thread, None for none.
        initargs: Its arguments.
        inner_threads: Threads that numeric libraries may use in each; None for a share of the
            cores.
        cores: Usable cores.
    """

    def __init__(
        self,
        outlet: Outlet,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        inner_threads: int | None = None,
        cores: int = 1,
    ) -> None:
        self._outlet = outlet
        self._initializer = initializer
        self._initargs = initargs
        self._orders: dict[int, queue.SimpleQueue[ChunkOrder | None]] = {}
        self._inner_threads = inner_threads
        self._cores = cores
        self._limits: Any = None
        self._each: int | None = None
        self._growth = SharedGrowth()
        self._birth_bytes = 0 if self._growth.is_known() else None
        self._pid = os.getpid()

    def start(self, workers: Sequence[int]) -> None:
        """Start threads; each answers with WorkerReady or StartRefused."""
        for worker in workers:
            orders: queue.SimpleQueue[ChunkOrder | None] = queue.SimpleQueue()
            try:
                self._start_one(worker, orders)
            except (RuntimeError, MemoryError, OSError) as error:
                text = f"{type(error).__name__}: {error}"
                self._outlet.post(StartRefused(time.monotonic(), LEVEL, worker, text))
            else:
                self._orders[worker] = orders
        if self._each is None and (self._inner_threads or len(self._orders) > 1):
            self._each = self._inner_threads or max(1, self._cores // len(self._orders))
            self._limits = limit_loaded(self._each)

    def send(self, order: ChunkOrder) -> None:
        """Give a chunk to an idle thread."""
        self._growth.begin(order.worker)
        self._outlet.look_by(time.monotonic() + LOOK_SECONDS)
        self._orders[order.worker].put(order)

    def retire(self, worker: int) -> None:
        """Let an idle thread end."""
        self._orders.pop(worker).put(None)

    def kill(self, worker: int) -> None:
        """Nothing: a thread cannot be killed."""

    def move_walls(self, walls: Sequence[tuple[int, int]]) -> None:
        """Threads have no walls."""

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Return what each thread with a chunk takes: its part of the process's growth."""
        return self._growth.parts()

    def times(self) -> tuple[tuple[int, float], ...]:
        """Nothing: no share of the cores holds threads up."""
        return ()

    def trim(self) -> None:
        """Nothing: the driver trims this process."""

    def forget(self, batch: int) -> None:
        """Nothing: a thread keeps no function."""

    def close(self) -> None:
        """Let all threads end when they are through.

        LevelClosed answers at once, as idle threads hold nothing.
        """
        self.abandon()
        self._outlet.post(LevelClosed(time.monotonic(), LEVEL))

    def abandon(self) -> None:
        """Let go of everything at once, without a word."""
        for worker in list(self._orders):
            self.retire(worker)
        self._growth.close()
        limits, self._limits, self._each = self._limits, None, None
        if limits is not None:
            limits.restore_original_limits()

    def strike(self) -> None:
        """Nothing: threads cannot be killed."""

    def let_go(self) -> None:
        """Nothing: threads do not live on in a forked child."""

    def tick(self, now: float) -> float | None:
        """Look at what tasks have started."""
        return self._growth.watch(now)

    def _start_one(self, worker: int, orders: "queue.SimpleQueue[ChunkOrder | None]") -> None:
        start_thread(self._serve, f"adaptive-exec-{worker}", worker, orders)

    def _serve(self, worker: int, orders: "queue.SimpleQueue[ChunkOrder | None]") -> None:
        if not self._initialize(worker):
            return
        self._growth.join(worker)
        try:
            self._serve_on(worker, orders)
        finally:
            self._growth.part(worker)

    def _serve_on(self, worker: int, orders: "queue.SimpleQueue[ChunkOrder | None]") -> None:
        self._outlet.post(WorkerReady(time.monotonic(), LEVEL, worker, self._birth_bytes))
        held: int | None = None
        while True:
            try:
                order = orders.get(timeout=IDLE_WAIT_SECONDS)
            except queue.Empty:
                continue
            if order is None:
                return
            if self._each != held and self._each:
                held = self._each
                limit_this_thread(held)
            self._run(order)
            del order

    def _initialize(self, worker: int) -> bool:
        if self._initializer is None:
            return True
        text = try_initializer(self._initializer, self._initargs)
        if text:
            self._outlet.post(InitializerFailed(time.monotonic(), LEVEL, worker, text))
        return not text

    def _run(self, order: ChunkOrder) -> None:
        cpu, wall = time.thread_time(), time.perf_counter()
        results, failed = self._run_in_bites(order)
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
        grown = self._growth.end(order.worker, wall)
        usage = Usage(len(order.items), wall, cpu, failed_tasks=failed, span_bytes=grown)
        self._outlet.put_results(order.chunk, results)
        self._outlet.post(ChunkDone(time.monotonic(), order.chunk, len(results.values), usage))

    def _run_in_bites(self, order: ChunkOrder) -> tuple[Results, int]:
        """Run a chunk, report what is finished now and then; return what is not yet reported."""
        failed, at, bite = 0, 0, 1
        context = chunk_context(order)
        while True:
            results = Results([])
            try:
                with InThread(order.place(), results.values, at):
                    run_bite(order, at, bite, context, results)
            except BaseException as error:  # noqa: BLE001  # ours: what tasks raise is their result
                _fail_rest(results.values, len(order.items) - at, error)
                bite = len(order.items)
            if os.getpid() != self._pid:  # a task forked, and this is its child
                last = results.values[-1]
                end_child(last.error if isinstance(last, Failure) else None)
            failed += sum(1 for value in results.values if value.__class__ is Failure)
            at, bite = at + bite, 2 * bite
            if at >= len(order.items):
                return results, failed
            self._outlet.put_results(order.chunk, results)
            count = len(results.values)
            self._outlet.post(ChunkProgressed(time.monotonic(), order.chunk, count))


def _fail_rest(values: list[Any], count: int, error: BaseException) -> None:
    """End those of a chunk's tasks that have no outcome, for an error of this package."""
    broken = DriverError(f"a thread failed beside its tasks, got {type(error).__name__}: {error}")
    broken.__cause__ = error
    values.extend(Failure(broken) for _ in range(count - len(values)))
