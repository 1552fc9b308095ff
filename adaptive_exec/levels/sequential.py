"""The sequential level: the caller's own thread, or one beside it for what came by `submit`.

It always works. A chunk is worked on for a bounded time and the rest goes back, so that the run
looks at the world between two bites. Does not decide anything.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from adaptive_exec.core.chunks import INLINE_SECONDS
from adaptive_exec.core.events import ChunkDone, InitializerFailed, LevelClosed, Usage, WorkerReady
from adaptive_exec.levels.base import FULL, ChunkOrder, Failure, Outlet, Results
from adaptive_exec.levels.current import InThread
from adaptive_exec.levels.interrupts import hold_interrupts
from adaptive_exec.levels.tasks import chunk_context, run_bite, try_initializer
from adaptive_exec.levels.threads import start_thread

LEVEL = "sequential"
FIRST_BITE_TASKS = 16
"""Tasks run before the clock is read for the first time; the next bite is twice as long."""
BITE_TASKS_MAX = 1024
"""Tasks in a bite at most.

So that tasks that suddenly grow a thousandfold are seen within a second.
"""


class SequentialRunner:
    """Runs chunks in whichever thread calls `work`.

    Args:
        outlet: Where events go.
        initializer: Called once before the first task, None for none.
        initargs: Its arguments.
    """

    def __init__(
        self,
        outlet: Outlet,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        self._outlet = outlet
        self._initializer = initializer
        self._initargs = initargs
        self._orders: dict[int, deque[ChunkOrder]] = {}
        self._starting = threading.Lock()
        self._is_helped = False
        self.unhelped: int | None = None

    def start(self, workers: Sequence[int]) -> None:
        """Be ready: nothing has to be started."""
        if self._initializer is not None and not self._initialize(workers[0]):
            return
        for worker in workers:
            self._outlet.post(WorkerReady(time.monotonic(), LEVEL, worker))

    def send(self, order: ChunkOrder) -> None:
        """Lay a chunk ready for the thread that works for its batch.

        `submit`'s go to a thread of their own.
        """
        self._orders.setdefault(order.work.batch, deque()).append(order)
        if order.work.style == FULL:
            self._work_beside(order.work.batch)

    def has_work(self, batch: int) -> bool:
        """Say whether a chunk of this batch lies ready."""
        return bool(self._orders.get(batch))

    def work(self, batch: int) -> bool:
        """Run one chunk of a batch in the calling thread.

        Args:
            batch: The batch.

        Returns:
            False when none lay ready.
        """
        lying = self._orders.get(batch)  # an end at once may take them all away meanwhile
        if not lying:
            return False
        with hold_interrupts() as hold:  # only a task may be interrupted: a chunk is never lost
            try:
                order = lying.popleft()
            except IndexError:
                return False
            results = Results([])
            before, cpu_before = time.perf_counter(), time.thread_time()
            try:
                with hold.let_through():
                    self._work_for_a_while(order, results)
            finally:
                wall, cpu = time.perf_counter() - before, time.thread_time() - cpu_before
                self._report(order, results, wall, cpu)
        return True

    def hand_back(self, batch: int) -> None:
        """Give back unworked what lies ready for a thread that will not come for it."""
        lying = self._orders.get(batch)
        while lying:
            try:
                order = lying.popleft()
            except IndexError:  # another thread took it
                return
            self._outlet.post(ChunkDone(time.monotonic(), order.chunk, 0, Usage(0, 0.0, 0.0)))

    def retire(self, worker: int) -> None:
        """Nothing: there is no worker but the caller."""

    def kill(self, worker: int) -> None:
        """Nothing: the caller cannot be killed."""

    def move_walls(self, walls: Sequence[tuple[int, int]]) -> None:
        """Threads have no walls."""

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Nothing: what a thread takes is the process's."""
        return ()

    def times(self) -> tuple[tuple[int, float], ...]:
        """Nothing: no share of the cores holds threads up."""
        return ()

    def trim(self) -> None:
        """Nothing: the driver trims this process."""

    def forget(self, batch: int) -> None:
        """Let go of a batch's place in the line."""
        self._orders.pop(batch, None)

    def close(self) -> None:
        """Close; nothing has to end."""
        self._outlet.post(LevelClosed(time.monotonic(), LEVEL))

    def abandon(self) -> None:
        """Let go of everything at once, without a word."""
        self._orders.clear()

    def strike(self) -> None:
        """Nothing: the caller cannot be killed."""

    def let_go(self) -> None:
        """Nothing: threads do not live on in a forked child."""

    def tick(self, now: float) -> float | None:
        """Run, in the driver's thread, what no other thread can be started for."""
        if self.unhelped is None:
            return None
        if not self.work(self.unhelped):
            self.unhelped = None
        return now

    def _initialize(self, worker: int) -> bool:
        assert self._initializer is not None, "asked only where there is one"
        initializer, self._initializer = self._initializer, None
        text = try_initializer(initializer, self._initargs)
        if text:
            self._outlet.post(InitializerFailed(time.monotonic(), LEVEL, worker, text))
        return not text

    def _work_beside(self, batch: int) -> None:
        """Have one thread beside the caller work for a batch; there is at most one."""
        with self._starting:
            if self._is_helped:
                return
            try:
                start_thread(self._work_off, "adaptive-exec-submit", batch)
            except (RuntimeError, MemoryError):
                self.unhelped = (
                    batch  # whoever called submit works it off, else the driver's thread
                )
                return
            self._is_helped = True

    def _work_off(self, batch: int) -> None:
        while True:
            while self.work(batch):
                pass
            with self._starting:
                if not self.has_work(batch):
                    self._is_helped = False
                    return

    @staticmethod
    def _work_for_a_while(order: ChunkOrder, results: Results) -> None:
        end = time.perf_counter() + INLINE_SECONDS
        bite, at = FIRST_BITE_TASKS, 0
        context = chunk_context(order)
        with InThread(order.place(), results.values, 0):
            while at < len(order.items):
                run_bite(order, at, bite, context, results)
                at += bite
                bite = min(2 * bite, BITE_TASKS_MAX)
                if time.perf_counter() > end:
                    return

    def _report(self, order: ChunkOrder, results: Results, wall: float, cpu: float) -> None:
        count = len(results.values)
        failed = sum(1 for value in results.values if value.__class__ is Failure)
        self._outlet.put_results(order.chunk, results)
        self._outlet.say(
            ChunkDone(
                time.monotonic(), order.chunk, count, Usage(count, wall, cpu, failed_tasks=failed)
            )
        )
