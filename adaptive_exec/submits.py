"""The callers' side of `submit`: calls go in one by one, a Future each comes out.

Calls whose function no process can take overflow into a batch of their own that runs in this
process. Decides nothing.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextvars import copy_context
from functools import partial
from typing import Any

from adaptive_exec.calls import number_plain
from adaptive_exec.core.events import (
    BatchOpened,
    InputExhausted,
    TasksArrived,
    TasksSized,
    TaskUnwanted,
)
from adaptive_exec.core.lifecycle import CALL, CallEvent, CallState, after
from adaptive_exec.core.memory.sizes import Measure
from adaptive_exec.core.reason import Code, Reason
from adaptive_exec.engine import lanes as lane
from adaptive_exec.engine.lanes import LISTEN_SECONDS
from adaptive_exec.engine.loop import Driver
from adaptive_exec.levels.base import Block, Failure, Results, Unportable, Work
from adaptive_exec.levels.interrupts import hold_interrupts
from adaptive_exec.log import LOGGER
from adaptive_exec.measures import Sizer
from adaptive_exec.outcomes import add_note, make_error
from adaptive_exec.program.captured import Captured
from adaptive_exec.program.contexts import caller_context
from adaptive_exec.program.settings import Settings, read_for_call

TYPE_CHECKING = False
if TYPE_CHECKING:  # brings SQLite, which is loaded where a journal is asked for
    from adaptive_exec.records import Records

_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class SubmitCalls:
    """All the `submit`s of an executor: a Future each.

    Args:
        driver: Whom to tell.
        work: How calls are made.
        local: Batch id for calls whose function cannot be sent to a process, which then run in this
            one; None where they may not.
        is_overflow: True for those calls.
        sends: Whether processes may run them, so that what the program has set is read.
        records: The journal's side of it, None where nothing is recorded.
        make_future: Makes the Future of a call.
    """

    def __init__(
        self,
        driver: Driver,
        work: Work,
        *,
        local: int | None = None,
        is_overflow: bool = False,
        sends: bool = False,
        records: "Records | None" = None,
        make_future: "Callable[[], Future[Any]]" = Future,
    ) -> None:
        self._make_future = make_future
        self.captured: Captured | None = None  # a Future has no place for what a task says
        self._records = records
        self.sizer: Sizer | None = None
        self._entries: dict[int, _Entry] = {}
        self._sends = sends
        self.work = work._replace(entered=lambda: self._next, callers=self._entries.get)
        self._local = local
        self._overflow: SubmitCalls | None = None
        self._is_overflow = is_overflow
        self._driver = driver
        self._door = driver.gate.inner if is_overflow else driver.gate.outer
        self._claiming = threading.Lock()
        self._beginning = threading.Lock()
        self._next = 0
        self._is_over = False
        self._registering = threading.RLock()  # a finalizer may submit something at any line

    def submit(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        sizer: Sizer | None = None,
    ) -> "Future[Any]":
        """Enter a call, measured as the user says; return its Future."""
        future = self._make_future()
        settings = read_for_call(is_alone=not self._entries) if self._sends else None
        entry = _Entry(future, (function, args, kwargs), settings)
        if sizer is not None:
            entry.measure = _measure_call(sizer, entry.call)
        self.enter(entry)
        if not self._driver.is_threaded:
            self._driver.pump()
            if not future.done():
                self._driver.drive_on(self.work.batch)
            self._work_off(future)
        return future

    def end_input(self, *, at_exit: bool) -> None:
        """No more calls will come.

        An overflow's end when the batch it overflows from is finished.
        """
        del at_exit
        if self._is_overflow:
            return
        self._driver.post(InputExhausted(time.monotonic(), self.work.batch))

    def cut_input(self) -> None:
        """Nothing: what was submitted is here."""

    def count_gathered(self) -> int:
        """Return 0: what was submitted is here."""
        return 0

    def cancel(self, keep: int = 0) -> None:
        """Cancel every call that has not begun, but for so many of the first that are open."""
        for entry in list(self._entries.values())[keep:]:
            self._driver.end_future(entry.future, entry.future.cancel)
            if entry.future.cancelled():
                self._begin(entry)

    def let_go(self, futures: "list[Future[Any]]") -> None:
        """Say that nobody waits for these calls: those that run in processes are ended."""
        unwanted = set(map(id, futures))
        for index, entry in list(self._entries.items()):
            if id(entry.future) in unwanted:
                entry.is_unwanted = True
                self._driver.post(TaskUnwanted(time.monotonic(), self.work.batch, index))

    def ask(self, count: int) -> None:
        """Nothing: calls come when they come."""

    def size(self, start: int | None) -> None:
        """Look at the arguments of calls from `start` on, whatever comes; None: no more."""
        if self.sizer is not None and self.sizer.is_asked:
            return  # all are measured
        if start is None:
            self.sizer = None
            return
        if self.sizer is None:
            self.sizer = Sizer()
        entries = list(map(self._entries.get, range(start, self._next)))
        self._driver.apart(lane.PACK, partial(self._measure, self.sizer, start, entries))

    def _measure(self, sizer: Sizer, start: int, entries: "list[_Entry | None]") -> None:
        """Tell what the arguments of calls show of their size."""
        calls = [None if one is None else one.call for one in entries]
        measures = tuple(None if call is None else _measure_call(sizer, call) for call in calls)
        self._driver.post(TasksSized(time.monotonic(), self.work.batch, start, measures))

    def items(self, start: int, stop: int) -> Sequence[Any]:
        """Return the calls of tasks `start` to `stop` - 1.

        A cancelled one is replaced by nothing to do.
        """
        entries = map(self._entries.get, range(start, stop))
        return [_NOTHING if entry is None else self._begin(entry) for entry in entries]

    def given(self, index: int) -> object:
        """Return what a call is given, to be named in a report; None where it is gone."""
        entry = self._entries.get(index)
        return None if entry is None else (*entry.call[1], *entry.call[2].values())

    def find(self, future: "Future[Any]") -> int | None:
        """Return the number of the call that a Future is of, None where it is over."""
        entries = list(self._entries.items())
        return next((index for index, entry in entries if entry.future is future), None)

    def names(self, start: int, stop: int) -> bytes:
        """Return the calls' keys in the journal, one after the other; empty without one."""
        return b"" if self._records is None else self._records.names(start, stop)

    def deliver(self, start: int, results: Results, level: str, attempt: int) -> None:
        """Set the Futures, the first of which is task `start`'s."""
        indices = range(start, start + results.count)
        entries = [self._entries.pop(index, None) for index in indices]  # who takes it out ends it
        if self._records is not None:
            self._records.release(indices.start, indices.stop)
        step = partial(self._set, entries, start, results, level, attempt)
        if results.unpack_plain():
            step()
        else:
            self._driver.unpack_apart(step)

    def _set(
        self, entries: "list[_Entry | None]", start: int, results: Results, level: str, attempt: int
    ) -> None:
        """Set the Futures of calls that have ended."""
        for index, (entry, value) in enumerate(zip(entries, results.values, strict=True), start):
            if entry is None or entry.state == "cancelled":
                continue
            if value.__class__ is Unportable and self._local is not None:
                self._let_overflow(self._local, entry)
            elif isinstance(value, Failure):
                add_note(value.error, index, attempt, level)
                self._driver.note_failure_apart(value.error)
                self._settle(entry.future, error=value.error)
            else:
                self._settle(entry.future, value)

    def record(
        self, start: int, results: Results, level: str, attempt: int, *, worker: int
    ) -> None:
        """Have outcomes written into the journal, the first of which is task `start`'s."""
        if self._records is None:
            return
        for offset, value in enumerate(results.values):
            entry = self._entries.get(start + offset)
            if entry is None or entry.state == "cancelled":
                continue
            details = None if results.details is None else [results.details[offset]]
            block = Block(start + offset, Results([value], details), level, attempt)
            self._records.record(entry.call[0], block, worker)

    def record_failures(self, start: int, stop: int, reason: Reason) -> None:
        """Have it written that tasks end with one of our errors."""
        if self._records is not None:
            for index in range(start, stop):
                self._records.record_failure(self._entries[index].call[0], index, reason)

    def recall(self, start: int, stop: int) -> None:
        """Set the Futures of calls whose outcome came from the journal."""
        if self._records is None:
            return
        for block in self._records.take_found(start, stop):
            for index in range(block.start, block.start + block.results.count):
                self._begin(self._entries[index])
            self.deliver(block.start, block.results, block.level, block.attempt)

    def look_aside(self) -> bool:
        """Look what became of calls that another instance runs; return whether some still wait."""
        return self._records is not None and self._records.look_aside()

    def fail(self, start: int, stop: int, reason: Reason) -> None:
        """End tasks with one of our errors, or as cancelled where they never began."""
        is_cancelled = reason.code is Code.TASK_UNWANTED or (
            reason.code is Code.STOP_ASKED and reason.fact("executions") == 0
        )
        for index in range(start, stop):
            error = CancelledError() if is_cancelled else make_error(index, reason)
            self._end(self._entries.pop(index, None), error)

    def finish(self) -> None:
        """Every task has its outcome; what is left was cancelled."""
        with self._registering:  # a call that overflows from now on is too late
            self._is_over = True
        if self._overflow is not None:
            self._driver.post(InputExhausted(time.monotonic(), self._overflow.work.batch))
        self.cancel()
        self.abort(CancelledError())  # a call that overflowed has begun and cannot be cancelled

    def abort(self, error: BaseException) -> None:
        """End every open task with this error; from any thread, more than once."""
        for index in list(self._entries):
            self._end(self._entries.pop(index, None), error)

    def give_up(self, error: BaseException) -> None:
        """End what is open with an error; what comes later is as good as ever."""
        self.abort(error)

    def call_for_attention(self) -> None:
        """Something lies ready for a caller's thread."""
        self._driver.attention.ring()

    def serve(self) -> bool:
        """Run what lies ready in the calling thread; return False when nothing did."""
        did = False
        while self._driver.lacks_hands(self.work.batch) and self._driver.work_inline(
            self.work.batch
        ):
            did = True
        return did

    def _work_off(self, future: "Future[Any]") -> None:
        """Where no thread can be started, the caller runs its call at once."""
        self.serve()
        while self._driver.is_alone and not future.done():
            if not self.serve():
                self._driver.step(LISTEN_SECONDS)

    def _let_overflow(self, batch: int, entry: "_Entry") -> None:
        """Have a call run in this process; where nothing can be let in any more, end it."""
        try:
            self._open_overflow(batch).enter(entry)
        except RuntimeError as error:
            self._end(entry, error)

    def _open_overflow(self, batch: int) -> "SubmitCalls":
        if self._overflow is None:
            work = self.work._replace(batch=batch, detailed=False)
            overflow = SubmitCalls(self._driver, work, is_overflow=True)
            opened = BatchOpened(time.monotonic(), batch, None, single=True, portable=False)
            self._driver.admit(opened, overflow, is_inner=True)
            self._overflow = overflow
        return self._overflow

    def enter(self, entry: "_Entry") -> None:
        """Take a call in.

        Raises:
            RuntimeError: Nothing is let in any more.
        """
        if self._records is not None:
            self._enter_recorded(entry, self._records)
            return
        # Made before, since to make an object may run finalizers, which may submit something.
        arrived = TasksArrived(time.monotonic(), self.work.batch, 1)
        measure = entry.measure
        if measure is None and self.sizer is not None:
            measure = _measure_call(self.sizer, entry.call)
        with hold_interrupts(), self._door:
            index = self._register(entry)
            if measure is not None:
                is_told = measure.told_bytes is not None
                sized = TasksSized(arrived.at, self.work.batch, index, (measure,), is_told)
                self._driver.post(sized)
            self._driver.post(arrived)

    def _enter_recorded(self, entry: "_Entry", records: "Records") -> None:
        """Ask the journal for a call before it is let in: nobody waits at the door for a disk."""
        with self._claiming:
            admitted = records.look_up(entry.call[0], [entry.call])
        with hold_interrupts(), self._door:
            records.enter(admitted, self._register(entry), 1)

    def _register(self, entry: "_Entry") -> int:
        with self._registering:
            if self._is_over:
                raise RuntimeError(_OVER)
            index, self._next = self._next, self._next + 1
            self._entries[index] = entry
            return index

    def _begin(self, entry: "_Entry") -> Any:
        with hold_interrupts(), self._beginning:
            if entry.state == "waiting":
                event: CallEvent = "begun" if _start(entry.future) else "found cancelled"
                entry.state = after(CALL, entry.state, event)
        return entry.call if entry.state == "begun" and not entry.is_unwanted else _NOTHING

    def _end(self, entry: "_Entry | None", error: BaseException) -> None:
        if entry is None:
            return  # another thread has ended it
        self._begin(entry)
        if entry.state != "cancelled":
            self._settle(entry.future, error=error)

    def _settle(
        self, future: "Future[Any]", value: Any = None, *, error: BaseException | None = None
    ) -> None:
        """Give a Future its end; what its callbacks raise is theirs alone."""
        try:
            if error is None:
                self._driver.end_future(future, partial(future.set_result, value))
            else:
                self._driver.end_future(future, partial(future.set_exception, error))
        except InvalidStateError:
            LOGGER.warning("submit: somebody else has set a future of ours, got %r", future)
        except BaseException:  # noqa: BLE001  # `Exception`s of callbacks are caught by the Future itself
            LOGGER.exception("submit: a callback of a future ended by more than an Exception")


_OVER = "cannot schedule new futures after shutdown"


class _Entry:
    __slots__ = ("call", "context", "future", "is_unwanted", "measure", "settings", "state")

    def __init__(self, future: "Future[Any]", call: _Call, settings: Settings | None) -> None:
        self.measure: Measure | None = None
        self.is_unwanted = False
        self.context = caller_context() if settings is None else copy_context()
        self.settings = settings
        self.future = future
        self.call = call
        self.state: CallState = "waiting"


def _measure_call(sizer: Sizer, call: _Call) -> Measure | None:
    function, args, kwargs = call
    kind = number_plain(function)
    return sizer.measure(args, kwargs, kind=kind) if kind or sizer.is_told else None


def do_nothing() -> None:
    """Stand in for a call that was cancelled before it began."""


_NOTHING: _Call = (do_nothing, (), {})


def _start(future: "Future[Any]") -> bool:
    """Mark a Future as running; False where it was cancelled, or has an end of somebody else's."""
    try:
        return future.set_running_or_notify_cancel()
    except (InvalidStateError, RuntimeError):
        LOGGER.warning("submit: somebody else has set a future of ours, got %r", future)
    return False
