"""The callers' side of a map: arguments go in, blocks of outcomes come out.

Pulls lazily, from its caller's thread where the input is the caller's own code. Decides nothing: it
pulls when asked and delivers when told.
"""

import binascii
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, Final

from adaptive_exec.core.chunks import INLINE_SECONDS
from adaptive_exec.core.events import (
    BatchDropped,
    InputExhausted,
    ResultsTaken,
    TasksArrived,
    TasksSized,
)
from adaptive_exec.core.lifecycle import INPUT, MAP, TAKER, Life, TakerState
from adaptive_exec.core.reason import Code, Reason
from adaptive_exec.engine import lanes as lane
from adaptive_exec.engine.lanes import LISTEN_SECONDS
from adaptive_exec.engine.loop import Driver
from adaptive_exec.errors import AdaptiveExecError, UnsendableError
from adaptive_exec.levels.base import Block, Failure, Results, Work
from adaptive_exec.levels.bell import Bell
from adaptive_exec.levels.functions import PackedFunction
from adaptive_exec.measures import Sizer
from adaptive_exec.outcomes import make_error
from adaptive_exec.program.captured import Captured
from adaptive_exec.sources import GONE, Pulled, Slices

TYPE_CHECKING = False
if TYPE_CHECKING:  # brings SQLite, which is loaded where a journal is asked for
    from adaptive_exec.records import Records

LOT_TASKS = 1024
"""Tasks of a sequence that are looked up in the journal at once: 6 ms."""
SLOW_PULL_SECONDS = 0.001
"""Seconds.

An input slower than this is told of item by item, so that tasks that are here need not wait for it.
"""
_UNDER_WAY: Final = ("running", "stopping")
_CUT_OFF: Final = ("cut short", "cancelled")
_HAS_COME: Final = ("here", "through", "gone")


def number_function(function: Callable[..., Any], packed: PackedFunction | None) -> int:
    """Return a number that a function has in every run of its program, 0 for none.

    What holds data of its own (a closure, a partial, a method, another object that can be called)
    is the same function only where that is the same.

    Args:
        function: What tasks call.
        packed: The same as it travels to processes, None where it cannot.
    """
    if packed is None:
        return 0
    return number_plain(function) or packed.number or 1


def number_plain(function: Callable[..., Any]) -> int:
    """Return the number of a function that holds no data of its own; 0 for any other."""
    code = getattr(function, "__code__", None)
    if code is None or function.__closure__ or hasattr(function, "__self__"):
        return 0
    name = f"{code.co_filename}:{code.co_firstlineno}:{function.__module__}.{function.__qualname__}"
    return binascii.crc32(name.encode(errors="replace")) or 1


class MapCalls:
    """One `map`: pulls its input, keeps what is finished until the caller takes it.

    Args:
        driver: Whom to tell.
        work: The function, and how to call it.
        source: Where arguments come from.
        is_easy: True when any thread may pull from the source at any time.
        in_order: True to hand results on in the order of the input.
        records: The journal's side of it, None where nothing is recorded.
        captured: Keeps what tasks say, None where nobody asks for it.
        kind: The number of the function.
        sizer: Measures every task; None where they are measured only once that is asked for.
    """

    def __init__(  # a line for each
        self,
        driver: Driver,
        work: Work,
        source: Slices | Pulled,
        *,
        is_easy: bool,
        in_order: bool,
        records: "Records | None" = None,
        captured: Captured | None = None,
        kind: int = 0,
        sizer: Sizer | None = None,
    ) -> None:
        self.captured = captured
        self._records = records
        self.work = work
        self.batch = work.batch
        self._driver = driver
        self._source = source
        self._is_easy = is_easy
        self._in_order = in_order
        self._bell = Bell()
        self._is_awaited = False
        self._pulling = threading.Lock()
        self._counting = threading.Lock()  # the driver's thread and the caller's both count
        self._asked = 0
        self._came = 0
        self._style = work.style
        self._kind = kind
        self._sizer = sizer
        self._ready: dict[int, Block] = {}
        self._loose: deque[Block] = deque()
        self._next = 0
        self._input_error: BaseException | None = None
        self._end: BaseException | None = None
        self._input = Life(INPUT)
        self._taker = Life(TAKER)
        self._life = Life(MAP)
        self._open_tasks = 0
        self._admitted = 0

    # what the driver says

    def ask(self, count: int) -> None:
        """Pull up to `count` more tasks, or have the caller's thread do it."""
        with self._counting:
            self._asked += count
        if self._is_easy or self._taker.state == "absent":
            self._pull()
        else:
            self.call_for_attention()

    def size(self, start: int | None) -> None:
        """Look at the arguments of tasks from `start` on, whatever comes; None: no more."""
        if self._sizer is not None and self._sizer.is_asked:
            return  # all are measured
        if start is None:
            self._sizer = None
            return
        if self._sizer is None:
            self._sizer = Sizer(self._kind)
        stop = self._came
        if start < stop:
            self._driver.apart(lane.PACK, partial(self._measure, self._sizer, start, stop))

    def _measure(self, sizer: Sizer, start: int, stop: int) -> None:
        """Tell what the arguments of tasks show of their size."""
        measures = sizer.measure_all(self._source.peek(start, stop), self._style)
        now = time.monotonic()
        self._driver.post(TasksSized(now, self.batch, start, measures, sizer.is_told))

    def items(self, start: int, stop: int) -> Sequence[Any]:
        """Return the arguments of tasks `start` to `stop` - 1."""
        return self._source.items(start, stop)

    def given(self, index: int) -> object:
        """Return what a task is given, to be named in a report; None where it is gone."""
        found = self._source.peek(index, index + 1)
        return found[0] if found and found[0] is not GONE else None

    def note_failure(self, error: BaseException) -> None:
        """Have a task's own exception counted; in the thread that takes the results."""
        self._driver.note_failure(error)

    def names(self, start: int, stop: int) -> bytes:
        """Return the tasks' keys in the journal, one after the other; empty without one."""
        return b"" if self._records is None else self._records.names(start, stop)

    def deliver(self, start: int, results: Results, level: str, attempt: int) -> None:
        """Keep outcomes for the caller, the first of which is task `start`'s."""
        self._release(start, start + results.count)
        self._keep(Block(start, results, level, attempt))

    def record(
        self, start: int, results: Results, level: str, attempt: int, *, worker: int
    ) -> None:
        """Have outcomes written into the journal, the first of which is task `start`'s."""
        if self._records is not None and self.work.function is not None:
            block = Block(start, results, level, attempt)
            self._records.record(self.work.function, block, worker)

    def record_failures(self, start: int, stop: int, reason: Reason) -> None:
        """Have it written that tasks end with one of our errors."""
        if self._records is not None and self.work.function is not None:
            for index in range(start, stop):
                self._records.record_failure(self.work.function, index, reason)

    def recall(self, start: int, stop: int) -> None:
        """Keep outcomes that came from the journal for the caller."""
        if self._records is None:
            return
        for block in self._records.take_found(start, stop):
            self._release(block.start, block.start + block.results.count)
            self._keep(block)

    def look_aside(self) -> bool:
        """Look what became of tasks that another instance runs; return whether some still wait."""
        return self._records is not None and self._records.look_aside()

    def fail(self, start: int, stop: int, reason: Reason) -> None:
        """End tasks with one of our errors."""
        self._release(start, stop)
        for index in range(start, stop):
            error = self._make_error(index, reason)
            executions = reason.fact("executions")
            attempts = executions if isinstance(executions, int) else 0
            self._keep(Block(index, Results([Failure(error)]), "", attempts))

    def _make_error(self, index: int, reason: Reason) -> AdaptiveExecError:
        refusal = self.work.refusal
        if refusal is None or reason.code is not Code.FUNCTION_NOT_PORTABLE:
            return make_error(index, reason)
        error = UnsendableError(refusal.path, refusal.type_name, refusal.text)  # one for each task
        error.__cause__ = refusal.__cause__
        return error

    def finish(self) -> None:
        """Every task that was begun has its outcome and no more will begin."""
        is_whole = self._input.state == "ended" and self._open_tasks == 0
        self._let_go()
        self._life.see("all ended" if is_whole else "some left")
        self._wake()

    def abort(self, error: BaseException) -> None:
        """End every open task with this error; from any thread, more than once."""
        if self._is_finished:
            return
        self._end = error
        self._life.see("failed")
        self._wake()

    @property
    def _is_finished(self) -> bool:
        return self._life.state not in _UNDER_WAY

    def _let_go(self) -> None:
        """Refer to function and input no more: who keeps the iterator keeps results alone."""
        self.work = self.work._replace(function=None, packed=None, refusal=None, caller=None)
        if self._is_easy:  # else it is the caller's code, and ends in the caller's thread
            self._source = Slices(())

    def give_up(self, error: BaseException) -> None:
        """End this map with an error while all others go on."""
        self.abort(error)
        self._driver.post(BatchDropped(time.monotonic(), self.batch))

    def end_input(self, *, at_exit: bool) -> None:
        """A map's input ends by itself.

        At exit one that may be endless and whose taker is gone ends here.
        """
        if at_exit and self._taker.state in _HAS_COME:
            self.cut_input()

    def cut_input(self) -> None:
        """Pull no more of an input that may be endless; what was pulled is finished."""
        if not self._is_easy:
            self._input.see("cut off")
            self._driver.post(InputExhausted(time.monotonic(), self.batch))

    def count_gathered(self) -> int:
        """Return how many tasks came from an input that goes on; 0 where it has ended or is cut."""
        goes_on = not self._is_easy and not self._is_finished and self._input.state == "open"
        return self._came if goes_on else 0

    def call_for_attention(self) -> None:
        """Something lies ready for the thread that takes the results."""
        self._driver.attention.ring()
        self._wake()

    # what the caller's thread does

    def serve(self) -> bool:
        """Pull what was asked for and run what lies ready, in the calling thread.

        False when there was nothing.
        """
        pulled = self._may_pull() and self._pull()
        return self._driver.work_inline(self.batch) or pulled

    def _may_pull(self) -> bool:
        return bool(self._asked) and not self._is_finished and self._input.state != "cut"

    def serve_pulls(self) -> None:
        """Pull what was asked for in the calling thread."""
        if self._asked:
            self._pull()

    @property
    def taker(self) -> TakerState:
        """Whether somebody takes the results."""
        return self._taker.state

    def begin_to_take(self) -> None:
        """The caller asks for the first result."""
        self._taker.see("takes")

    def take(self, deadline: float | None) -> Block | None:
        """Wait for the next block of outcomes.

        Args:
            deadline: Monotonic seconds, None to wait for ever.

        Returns:
            The block; None when no more will come.

        Raises:
            TimeoutError: The deadline has passed.
            RuntimeError: This process was forked from the one whose map it is.
        """
        while True:
            block = self._pop()
            if block is not None or self._is_over():
                return block
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError
            if self._driver.is_foreign:
                self._driver.gate.check()  # raises: who would bring results is not here
            if not self.serve():
                self._wait(deadline)

    def settle(self) -> None:
        """The caller has all; let what was said of this map be in the log by now."""
        self._taker.see("has all")
        self._driver.settle_words()

    def taken(self, count: int) -> None:
        """The caller took so many results out of our hands."""
        self._driver.post(ResultsTaken(time.monotonic(), self.batch, count))

    def drop(self) -> None:
        """The caller wants no more."""
        self._taker.see("lets go")
        self._ready.clear()
        self._loose.clear()
        if not self._is_finished:
            self._driver.post(BatchDropped(time.monotonic(), self.batch))
            self._driver.hand_back(self.batch)

    def detach(self) -> None:
        """Nobody will take the results, but the tasks are to run all the same."""
        self._taker.see("stays away")
        self._discard_kept()
        if self._asked:
            self._driver.attention.ring()

    def final_error(self) -> BaseException | None:
        """Return what ends the results early.

        The input's own error, a failed driver, or a cancellation.
        """
        error, self._end = self._end or self._input_error or self._cut_off(), None
        self._input_error = None
        self._source = Slices(())
        self._life.see("told")
        return error

    def cancel(self) -> None:
        """What has not begun by now never will."""
        self._life.see("cancelled")

    def _cut_off(self) -> BaseException | None:
        state = self._life.state
        if state not in _CUT_OFF or self._taker.state == "gone":
            return None
        if state == "cancelled":
            return CancelledError()
        return RuntimeError("cannot schedule new futures after shutdown")

    def _pull(self) -> bool:
        """Pull what was asked for, also what is asked for meanwhile; False when another does so."""
        did_pull, rest = False, 0
        while not rest and self._asked and self._pulling.acquire(blocking=False):
            try:
                with self._counting:
                    wanted, self._asked = self._asked, 0
                rest = self._pull_for_a_while(wanted)
                with self._counting:
                    self._asked += rest
            finally:
                self._pulling.release()
            did_pull = True
        return did_pull

    def _pull_for_a_while(self, wanted: int) -> int:
        """Pull until enough is here, or for so long; return how many are still wanted.

        Results may be there by then, or tasks to run, in this very thread.
        """
        # What lies in memory need not be waited for, and each lot costs the journal a transaction.
        is_lot = self._is_easy
        size = min(wanted, LOT_TASKS) if is_lot else 1
        end = time.monotonic() + INLINE_SECONDS
        while wanted > 0 and self._input.state != "ended":
            before = time.monotonic()
            if before > end:
                return wanted
            wanted -= self._pull_some(min(size, wanted))
            if not is_lot:
                size = 1 if time.monotonic() - before > SLOW_PULL_SECONDS else 2 * size
        return 0

    def _pull_some(self, count: int) -> int:
        """Pull a few tasks and tell of them at once: the next one may take long to come."""
        came, is_end, error = self._source.pull(count)
        start, self._came = self._came, self._came + came
        if came and self._sizer is not None:
            step = partial(self._measure, self._sizer, start, start + came)
            self._driver.apart(lane.PACK, step)
        with self._counting:
            self._open_tasks += came
        if is_end:
            self._input.see("ended")
        if error is not None:
            self._input_error = error
        now = time.monotonic()
        if came and self._records is None:
            self._driver.post(TasksArrived(now, self.batch, came, is_end))
        else:
            if came:
                self._admit(came)
            if is_end:
                self._driver.post(InputExhausted(now, self.batch))
        self._driver.pump_if_alone()
        if isinstance(error, KeyboardInterrupt) and _is_in_main_thread():
            raise error  # Ctrl-C while the input was asked, which is no mistake of the input's
        del error  # its traceback leads to this frame, which would hold it
        return came

    def _admit(self, count: int) -> None:
        """Have the journal tell of tasks that came."""
        assert self._records is not None, "asked only where there is a journal"
        function = self.work.function
        if function is None:
            return  # dropped meanwhile
        start, self._admitted = self._admitted, self._admitted + count
        items = self._source.items(start, start + count)
        self._records.admit(function, start, items)

    def _keep(self, block: Block) -> None:
        if self._taker.state == "gone":
            return
        if self._in_order:
            self._ready[block.start] = block
        else:
            self._loose.append(block)
        if self._taker.state == "absent":
            self._discard_kept()
        if self._is_awaited and self._is_something_ready():
            self._wake()

    def _discard_kept(self) -> None:
        """Make room for more tasks of a map whose results nobody takes."""
        for kept in (self._ready, self._loose):
            while kept:
                try:
                    block = kept.popitem()[1] if isinstance(kept, dict) else kept.popleft()
                except (KeyError, IndexError):  # the driver's thread did so just now
                    break
                self.taken(block.results.count)

    def _pop(self) -> Block | None:
        if not self._in_order:
            return self._loose.popleft() if self._loose else None
        block = self._ready.pop(self._next, None)
        if block is not None:
            self._next += block.results.count
        return block

    def _is_over(self) -> bool:
        return self._is_finished and not self._loose and self._next not in self._ready

    def _wait(self, deadline: float | None) -> None:
        seconds = (
            LISTEN_SECONDS if deadline is None else min(LISTEN_SECONDS, deadline - time.monotonic())
        )
        if not self._driver.is_threaded:
            self._driver.step(max(0.0, seconds))
            return
        self._is_awaited = True  # said before the last look, so that what comes after it rings
        try:
            if not self._is_something_ready():
                self._bell.wait(max(0.0, seconds))
        finally:
            self._is_awaited = False

    def _is_something_ready(self) -> bool:
        return bool(
            self._next in self._ready
            or self._loose
            or (self._may_pull() and not self._pulling.locked())  # else another thread is at it
            or self._is_finished
            or self._driver.has_inline_work(self.batch)
        )

    def _wake(self) -> None:
        self._bell.ring()

    def _release(self, start: int, stop: int) -> None:
        with self._counting:
            self._open_tasks -= stop - start
        self._source.release(start, stop)
        if self._records is not None:
            self._records.release(start, stop)


def _is_in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
