"""The callers' side of a batch: arguments go in, outcomes come out.

A `map` pulls lazily, from its caller's thread where the input is the caller's own code, and hands results on in
blocks; a `submit` has a Future. Decides nothing: it pulls when asked and delivers when told.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

from adaptive_exec.config import IDLE_WAIT_SECONDS
from adaptive_exec.core.events import BatchDropped, BatchOpened, InputExhausted, ResultsTaken, TasksArrived
from adaptive_exec.core.reason import Code, Reason
from adaptive_exec.driver import Driver
from adaptive_exec.errors import (
    AdaptiveExecError,
    InitializerError,
    LevelUnavailableError,
    PoisonTaskError,
    TaskTimeoutError,
    WorkerLostError,
)
from adaptive_exec.levels.base import FULL, Failure, Results, Unportable, Work


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task.

    Attributes:
        index: Position of the task in its input, from 0.
        value: What it returned; None when it failed.
        error: What it raised, or one of our errors; None when it has a value.
        attempts: Executions begun, 0 when there was none.
        wall_seconds: Duration; None when it never finished.
        cpu_seconds: Processor time; None where unknown.
        peak_bytes: Growth of its worker's memory while it ran; None where unknown.
        level: Where it ran; `""` when nowhere.
    """

    index: int
    value: Any
    error: BaseException | None
    attempts: int
    wall_seconds: float | None
    cpu_seconds: float | None
    peak_bytes: int | None
    level: str


class Slices:
    """Arguments that lie in a sequence of Python's own, so they can be cut out at any time and from any thread."""

    def __init__(self, sequence: Sequence[Any]) -> None:
        self._sequence = sequence
        self._pulled = 0

    def pull(self, count: int) -> tuple[int, bool, BaseException | None]:
        """Pull up to `count` tasks; return how many came, whether that was all, and the input's own error."""
        before = self._pulled
        self._pulled = min(len(self._sequence), before + count)
        return self._pulled - before, self._pulled == len(self._sequence), None

    def items(self, start: int, stop: int) -> Sequence[Any]:
        """Return the arguments of tasks `start` to `stop` - 1."""
        return self._sequence[start:stop]

    def release(self, start: int, stop: int) -> None:
        """Nothing: the sequence is the caller's."""


class Pulled:
    """Arguments pulled from an iterator and kept until their tasks are finished."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._kept: dict[int, Any] = {}
        self._pulled = 0

    def pull(self, count: int) -> tuple[int, bool, BaseException | None]:
        """Pull up to `count` tasks; return how many came, whether that was all, and the input's own error."""
        before = self._pulled
        try:
            for item in itertools.islice(self._source, count):
                self._kept[self._pulled] = item
                self._pulled += 1
        except BaseException as error:  # noqa: BLE001  # the caller's own iterator may raise anything
            return self._pulled - before, True, error
        return self._pulled - before, self._pulled - before < count, None

    def items(self, start: int, stop: int) -> Sequence[Any]:
        """Return the arguments of tasks `start` to `stop` - 1."""
        return [self._kept[index] for index in range(start, stop)]

    def release(self, start: int, stop: int) -> None:
        """Let go of finished tasks' arguments."""
        for index in range(start, stop):
            self._kept.pop(index, None)


@dataclass(slots=True)
class Block:
    """Outcomes that follow on from each other, with what they have in common."""

    start: int
    results: Results
    level: str
    attempt: int


class MapCalls:
    """One `map`: pulls its input, keeps what is finished until the caller takes it.

    Args:
        driver: Whom to tell.
        work: The function, and how to call it.
        source: Where arguments come from.
        is_easy: True when any thread may pull from the source at any time.
        in_order: True to hand results on in the order of the input.
    """

    def __init__(
        self, driver: Driver, work: Work, source: Slices | Pulled, *, is_easy: bool, in_order: bool
    ) -> None:
        self.work = work
        self.batch = work.batch
        self._driver = driver
        self._source = source
        self._is_easy = is_easy
        self._in_order = in_order
        self._changed = threading.Condition()
        self._pulling = threading.Lock()
        self._asked = 0
        self._ready: dict[int, Block] = {}
        self._loose: deque[Block] = deque()
        self._next = 0
        self._input_error: BaseException | None = None
        self._end: BaseException | None = None
        self._is_finished = False
        self._is_dropped = False
        self._is_detached = False
        self._is_cancelled = False
        self._is_exhausted = False
        self._is_complete = False
        self._is_cut = False
        self._has_begun = False
        self._open_tasks = 0

    # what the driver says

    def ask(self, count: int) -> None:
        """Pull up to `count` more tasks, or have the caller's thread do it."""
        self._asked += count
        if self._is_easy or self._is_detached:
            self._pull()
        else:
            self.call_for_attention()

    def items(self, start: int, stop: int) -> Sequence[Any]:
        """Return the arguments of tasks `start` to `stop` - 1."""
        return self._source.items(start, stop)

    def deliver(self, start: int, results: Results, level: str, attempt: int) -> None:
        """Keep outcomes for the caller, the first of which is task `start`'s."""
        self._release(start, start + len(results.values))
        self._keep(Block(start, results, level, attempt))

    def fail(self, start: int, stop: int, reason: Reason) -> None:
        """End tasks with one of our errors."""
        self._release(start, stop)
        for index in range(start, stop):
            error = make_error(index, reason)
            executions = reason.fact("executions")
            attempts = executions if isinstance(executions, int) else 0
            self._keep(Block(index, Results([Failure(error)]), "", attempts))

    def finish(self) -> None:
        """Every task that was begun has its outcome and no more will begin."""
        with self._changed:
            self._is_finished = True
            self._is_complete = self._is_exhausted and self._open_tasks == 0
            self._changed.notify_all()

    def abort(self, error: BaseException) -> None:
        """End every open task with this error."""
        with self._changed:
            self._end = error
            self._is_finished = True
            self._changed.notify_all()

    def end_input(self, *, at_exit: bool) -> None:
        """A map's input ends by itself; at exit one that may be endless and whose taker is gone ends here."""
        if at_exit and self._has_begun and not self._is_easy:
            self._is_cut = True
            self._driver.post(InputExhausted(time.monotonic(), self.batch))

    def call_for_attention(self) -> None:
        """Something lies ready for the thread that takes the results."""
        self._driver.attention.set()
        with self._changed:
            self._changed.notify_all()

    # what the caller's thread does

    def serve(self) -> bool:
        """Pull what was asked for and run what lies ready, in the calling thread; False when there was nothing."""
        pulled = bool(self._asked) and not self._is_finished and not self._is_cut and self._pull()
        return self._driver.work_inline(self.batch) or pulled

    def serve_pulls(self) -> None:
        """Pull what was asked for in the calling thread."""
        if self._asked:
            self._pull()

    def take(self, deadline: float | None) -> Block | None:
        """Wait for the next block of outcomes.

        Args:
            deadline: Monotonic seconds, None to wait for ever.

        Returns:
            The block; None when no more will come.

        Raises:
            TimeoutError: The deadline has passed.
        """
        self._has_begun = True
        while True:
            block = self._pop()
            if block is not None or self._is_over():
                return block
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError
            if not self.serve():
                self._wait(deadline)

    def taken(self, count: int) -> None:
        """The caller took so many results out of our hands."""
        self._driver.post(ResultsTaken(time.monotonic(), self.batch, count))

    def drop(self) -> None:
        """The caller wants no more."""
        self._is_dropped = True
        self._ready.clear()
        self._loose.clear()
        if not self._is_finished:
            self._driver.post(BatchDropped(time.monotonic(), self.batch))

    def detach(self) -> None:
        """Nobody will take the results, but the tasks are to run all the same."""
        self._is_detached = True
        if self._asked:
            self._driver.attention.set()

    def final_error(self) -> BaseException | None:
        """Return what ends the results early: the input's own error, a failed driver, or a cancellation."""
        error, self._end = self._end or self._input_error or self._cut_off(), None
        self._input_error = None
        self._is_complete = True
        return error

    def cancel(self) -> None:
        """What has not begun by now never will."""
        self._is_cancelled = True

    def _cut_off(self) -> BaseException | None:
        if self._is_complete or self._is_dropped:
            return None
        if self._is_cancelled:
            return CancelledError()
        return RuntimeError("cannot schedule new futures after shutdown")

    def _pull(self) -> bool:
        if not self._pulling.acquire(blocking=False):
            return False
        try:
            count, self._asked = self._asked, 0
            came, is_end, error = self._source.pull(count)
            self._open_tasks += came
            self._is_exhausted |= is_end
            if error is not None:
                self._input_error = error
        finally:
            self._pulling.release()
        now = time.monotonic()
        if came:
            self._driver.post(TasksArrived(now, self.batch, came))
        if is_end:
            self._driver.say(InputExhausted(now, self.batch))
        elif came:
            self._driver.pump_if_alone()
        return True

    def _keep(self, block: Block) -> None:
        if self._is_dropped or self._is_detached:
            return
        self._add_notes(block)
        with self._changed:
            if self._in_order:
                self._ready[block.start] = block
            else:
                self._loose.append(block)
            self._changed.notify_all()

    @staticmethod
    def _add_notes(block: Block) -> None:
        for offset, value in enumerate(block.results.values):
            if value.__class__ is Failure:
                add_note(value.error, block.start + offset, block.attempt, block.level)

    def _pop(self) -> Block | None:
        if not self._in_order:
            return self._loose.popleft() if self._loose else None
        block = self._ready.pop(self._next, None)
        if block is not None:
            self._next += len(block.results.values)
        return block

    def _is_over(self) -> bool:
        return self._is_finished and not self._loose and self._next not in self._ready

    def _wait(self, deadline: float | None) -> None:
        seconds = IDLE_WAIT_SECONDS if deadline is None else min(IDLE_WAIT_SECONDS, deadline - time.monotonic())
        if not self._driver.is_threaded:
            self._driver.step(max(0.0, seconds))
            return
        with self._changed:
            if self._asked or self._loose or self._next in self._ready or self._is_finished:
                return
            if self._driver.has_inline_work(self.batch):
                return
            self._changed.wait(max(0.0, seconds))

    def _release(self, start: int, stop: int) -> None:
        self._open_tasks -= stop - start
        self._source.release(start, stop)


class SubmitCalls:
    """All the `submit`s of an executor: a Future each.

    Args:
        driver: Whom to tell.
        work: How calls are made.
        local: Batch id for calls whose function cannot be sent to a process, which then run in this one; None
            where they may not.
    """

    def __init__(self, driver: Driver, work: Work, *, local: int | None = None) -> None:
        self.work = work
        self._local = local
        self._overflow: SubmitCalls | None = None
        self._is_overflow = False
        self._driver = driver
        self._entries: dict[int, _Entry] = {}
        self._arriving = threading.Lock()
        self._beginning = threading.Lock()
        self._next = 0

    def submit(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Future[Any]":
        """Enter a call; return its Future."""
        future: Future[Any] = Future()
        self._enter(_Entry(future, (function, args, kwargs)))
        if not self._driver.is_threaded:
            self._driver.pump()
            self.serve()
        return future

    def end_input(self, *, at_exit: bool) -> None:
        """No more calls will come; an overflow's end when the batch it overflows from is finished."""
        del at_exit
        if self._is_overflow:
            return
        self._driver.post(InputExhausted(time.monotonic(), self.work.batch))

    def cancel(self) -> None:
        """Cancel every call that has not begun."""
        for entry in list(self._entries.values()):
            if entry.future.cancel():
                self._begin(entry)

    def ask(self, count: int) -> None:
        """Nothing: calls come when they come."""

    def items(self, start: int, stop: int) -> Sequence[Any]:
        """Return the calls of tasks `start` to `stop` - 1; a cancelled one is replaced by nothing to do."""
        return [self._begin(self._entries[index]) for index in range(start, stop)]

    def deliver(self, start: int, results: Results, level: str, attempt: int) -> None:
        """Set the Futures, the first of which is task `start`'s."""
        for index, value in enumerate(results.values, start):
            entry = self._entries.pop(index)
            if entry.is_cancelled:
                continue
            if value.__class__ is Unportable and self._local is not None:
                self._open_overflow(self._local)._enter(entry)
            elif isinstance(value, Failure):
                add_note(value.error, index, attempt, level)
                entry.future.set_exception(value.error)
            else:
                entry.future.set_result(value)
            del entry

    def fail(self, start: int, stop: int, reason: Reason) -> None:
        """End tasks with one of our errors."""
        for index in range(start, stop):
            self._end(self._entries.pop(index), make_error(index, reason))

    def finish(self) -> None:
        """Every task has its outcome; what is left was cancelled."""
        if self._overflow is not None:
            self._driver.post(InputExhausted(time.monotonic(), self._overflow.work.batch))
        self.cancel()
        self._entries.clear()

    def abort(self, error: BaseException) -> None:
        """End every open task with this error."""
        while self._entries:
            self._end(self._entries.popitem()[1], error)

    def call_for_attention(self) -> None:
        """Something lies ready for a caller's thread."""
        self._driver.attention.set()

    def serve(self) -> bool:
        """Run what lies ready in the calling thread; return False when nothing did."""
        did = False
        while self._driver.work_inline(self.work.batch):
            did = True
        return did

    def _open_overflow(self, batch: int) -> "SubmitCalls":
        if self._overflow is None:
            work = Work(batch, FULL, None, timeout_seconds=self.work.timeout_seconds)
            self._overflow = SubmitCalls(self._driver, work)
            self._overflow._is_overflow = True
            self._driver.enter(batch, self._overflow)
            self._driver.post(
                BatchOpened(time.monotonic(), batch, None, single=True, portable=False)
            )
        return self._overflow

    def _enter(self, entry: "_Entry") -> None:
        with self._arriving:
            self._entries[self._next] = entry
            self._next += 1
            self._driver.post(TasksArrived(time.monotonic(), self.work.batch, 1))

    def _begin(self, entry: "_Entry") -> Any:
        with self._beginning:
            if not entry.has_begun:
                entry.has_begun = True
                entry.is_cancelled = not entry.future.set_running_or_notify_cancel()
        return (do_nothing, (), {}) if entry.is_cancelled else entry.call

    def _end(self, entry: "_Entry", error: BaseException) -> None:
        self._begin(entry)
        if not entry.is_cancelled:
            entry.future.set_exception(error)


@dataclass(slots=True)
class _Entry:
    future: "Future[Any]"
    call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
    has_begun: bool = False
    is_cancelled: bool = False


def do_nothing() -> None:
    """Stand in for a call that was cancelled before it began."""


def make_error(index: int, reason: Reason) -> AdaptiveExecError:
    """Make the error that a task ends with when the run gives it up."""
    cause = str(reason.fact("cause") or reason.fact("error") or reason.code)
    match reason.code:
        case Code.POISON:
            peak, limit = reason.fact("peak"), reason.fact("limit")
            return PoisonTaskError(
                index,
                cause,
                attempts=int(reason.fact("executions") or 1),
                peak_bytes=peak if isinstance(peak, int) else None,
                limit_bytes=limit if isinstance(limit, int) else None,
            )
        case Code.TASK_OVERDUE:
            return TaskTimeoutError(index, float(reason.fact("limit") or 0))
        case Code.INITIALIZER_FAILED:
            return InitializerError(cause)
        case Code.NO_LEVEL_LEFT:
            return LevelUnavailableError(str(reason.fact("level")), cause)
        case _:
            return WorkerLostError(index, cause)


def add_note(error: BaseException, index: int, attempt: int, level: str) -> None:
    """Say on an exception which task it is from; an object raised twice keeps its first note."""
    if level and not any(note.startswith("adaptive_exec: ") for note in getattr(error, "__notes__", ())):
        error.add_note(f"adaptive_exec: task {index}, attempt {attempt}, level {level}")
