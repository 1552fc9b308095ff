"""The loop: take an event, ask the Run, have the instructions performed in order.

One inbox feeds it; runners, callers and timers only put events in. A thread of its own drives while
a level with workers is open; where none is needed or none can be started, the caller drives.
Decides nothing.
"""

import contextlib
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from adaptive_exec.config import Config
from adaptive_exec.core.events import (
    BatchOpened,
    ChunkDone,
    Event,
    FunctionRefused,
    HandoverChanged,
    StopRequested,
    TasksArrived,
    TasksSetAside,
    TimerFired,
    WorkerLost,
)
from adaptive_exec.core.lifecycle import ExecutorEvent
from adaptive_exec.core.report import RunReport
from adaptive_exec.core.run import Run
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.core.timeline import Span
from adaptive_exec.core.trace import Trace
from adaptive_exec.core.why import ask_task
from adaptive_exec.engine import lanes as lane
from adaptive_exec.engine.delivery import Delivery
from adaptive_exec.engine.gate import Gate
from adaptive_exec.engine.inline import Inline
from adaptive_exec.engine.lanes import LISTEN_SECONDS, Lanes
from adaptive_exec.engine.lifetime import enter, leave
from adaptive_exec.engine.perform import Performer
from adaptive_exec.engine.ports import Calls, LedgerBook, Step
from adaptive_exec.engine.recorder import RecordBook
from adaptive_exec.engine.short import failure_line, short_text, story_of
from adaptive_exec.engine.telling import Telling
from adaptive_exec.engine.trades import Sharing
from adaptive_exec.errors import DriverError
from adaptive_exec.host.reading import OpenFiles
from adaptive_exec.levels.base import (
    CLOSE_SECONDS,
    IDLE_WAIT_SECONDS,
    TICK_SECONDS,
    CannotStartError,
    Runner,
)
from adaptive_exec.levels.bell import Bell
from adaptive_exec.levels.functions import PackedFunction
from adaptive_exec.levels.interrupts import hold_interrupts
from adaptive_exec.levels.task_folders import TaskFolders
from adaptive_exec.levels.threads import start_thread
from adaptive_exec.levels.waiter import Waiter
from adaptive_exec.log import LOGGER
from adaptive_exec.specs import INLINE

HANDED_OVER_MAX: Final = 1_000
"""Groups of finished results that may wait for the journal, or for users' code that unpacks them,
before no more tasks are sent; as many go in 0.1 s where nothing hangs."""

GATHERING_SECONDS: Final = 30.0
"""Seconds that a shutdown waits for an input before it says so, since its end may never come."""
ASK_SECONDS: Final = 1.0
"""Seconds that whoever asks why waits for who drives; he comes within milliseconds."""

_names = itertools.count(1)
FOREVER = float("inf")
_LETTING_GO = (TasksSetAside, ChunkDone, FunctionRefused, WorkerLost)
"""Events after which something is let go of."""


Runners = dict[str, Callable[["Driver"], Runner]]
"""How to make the runner of each level, by its name."""


class Driver:
    """Feeds events to a Run and performs its instructions.

    Args:
        config: The settings.
        read_host: Takes a snapshot of the host.
        runners: How to make each level's runner.
        open_book: How to get at the ledger; asked when there is something to write in it.
        journal: The journal, None for none.
        believe_limit: Takes a limit that cannot be seen for what is; returns what keeps it.
    """

    def __init__(  # noqa: PLR0915  # a line for each part
        self,
        config: Config,
        read_host: Callable[[], HostSnapshot],
        runners: Runners,
        open_book: Callable[[], LedgerBook],
        journal: RecordBook | None = None,
        *,
        believe_limit: Callable[[int], Step] | None = None,
    ) -> None:
        self.config = config
        self.name = f"{os.getpid()}-{next(_names)}"
        self.waiter = Waiter()
        self.finished = threading.Event()
        self.attention = Bell()
        self.gate = Gate()
        self.trace = Trace()
        self.batches: dict[int, Calls] = {}
        self.lanes = Lanes(self.name, _log_error)
        self.folders = _make_folders(config)
        self._inbox: deque[Event] = deque()
        self.put = self._inbox.append
        self._has_ended = False
        self._thread: threading.Thread | None = None
        self._read_host = read_host
        self._host_files = OpenFiles()
        self._last_words = DriverError("the executor's loop failed for want of memory")
        with hold_interrupts():  # who is interrupted would leave a file open
            host = read_host()
        self._run = Run(config, host)
        is_here = config.ladder == (INLINE,) and config.cluster is None
        telling = Telling(self.name, config.on_event, self.lanes, is_here=is_here)
        self.delivery = Delivery(self, journal, self.folders)
        self._sharing = Sharing(self, open_book)
        self._performer = Performer(
            self,
            {level: partial(make, self) for level, make in runners.items()},
            self.read_host,
            run=self._run,
            trace=self.trace,
            delivery=self.delivery,
            sharing=self._sharing,
            telling=telling,
            believe_limit=believe_limit,
        )
        self._runners = self._performer.runners
        self._perform = self._performer.perform
        self._inline = Inline(self._runners)
        self.put_results = self.delivery.put_results
        self.note_stack = self.delivery.note_stack
        self.hear = self.delivery.hear
        self.captured = self.delivery.captured
        self.has_inline_work = self._inline.has_work
        self.lacks_hands = self._inline.lacks_hands
        self.work_inline = self._inline.work
        self.hand_back = self._inline.hand_back
        self._full_handovers = (False, False)
        self._hands_over = False
        self._deferred: deque[Step] = deque()
        self._lock = threading.Lock()
        self._driving, self._is_told_to_end = 0, False
        self.timer_at: float | None = None
        self._tick_at = FOREVER
        self._tend_at = FOREVER
        self._alone_since: str | None = None
        enter(self)

    # what callers and runners say

    @property
    def is_threaded(self) -> bool:
        """True while a thread of its own drives."""
        return self._thread is not None

    @property
    def is_alone(self) -> bool:
        """True when no thread can be started: whoever calls must drive until the work is done."""
        return self._alone_since is not None

    @property
    def is_foreign(self) -> bool:
        """True in a process that was forked from the one that made this driver."""
        return self.gate.is_foreign

    @property
    def is_driving(self) -> bool:
        """True in a thread that drives just now: a callback, say, which nobody may wait for."""
        return self._driving == threading.get_ident()

    def admit(self, opened: BatchOpened, calls: Calls, *, is_inner: bool = False) -> None:
        """Let a batch in, and tell of it.

        Args:
            opened: What is told.
            calls: Its callers' side, which has an end from here on.
            is_inner: True for one that holds calls which were let in before.

        Raises:
            RuntimeError: Nothing is let in any more.
        """
        with hold_interrupts(), self.gate.inner if is_inner else self.gate.outer:
            self.batches[opened.batch] = calls
            if opened.recorded:
                self.delivery.enter(opened.batch)
            self.post(opened)

    def post(self, event: Event) -> None:
        """Report an event; safe from any thread, never waits."""
        if self._has_ended:
            return
        self._inbox.append(event)
        self.waiter.wake()

    def say(self, event: Event) -> None:
        """Report an event, and drive where no thread does."""
        self.post(event)
        self.pump_if_alone()

    def pump_if_alone(self) -> None:
        """Drive from the calling thread where no thread of our own does."""
        if self._thread is None:
            self.pump()

    def drive_on(self, batch: int) -> None:
        """Have a thread of ours drive a batch that waits for its turn, or for another instance.

        Who submits a call goes away, and may never come back to drive. Where no thread is to be
        had, this process is alone, and the caller works.
        """
        while self._waits_by_itself(batch):
            with hold_interrupts():  # also round the lock: who is interrupted would keep it
                if self._start_thread_for(batch):
                    return

    def _start_thread_for(self, batch: int) -> bool:
        """Start our thread if a batch still needs it; return False where another thread drives."""
        is_ours = self.is_driving
        if not is_ours and not self._take_wheel(TICK_SECONDS):
            return False
        try:
            with contextlib.suppress(RuntimeError, MemoryError):
                if self._waits_by_itself(batch):
                    self.ensure_thread(self._run.batches[batch].level)
        finally:
            if not is_ours:
                self._give_wheel()
        return True

    def _waits_by_itself(self, batch: int) -> bool:
        """Say whether nothing of a batch runs, and nobody of ours is there to go on with it."""
        one = None if self._thread is not None or self._has_ended else self._run.batches.get(batch)
        return one is not None and not one.out and bool(one.pending or one.line or one.aside)

    def is_own_thread(self) -> bool:
        """Say whether the calling thread is one that nothing of the user's may hold up."""
        ours = self._thread is threading.current_thread()
        return ours or self.lanes.is_own_thread()

    def apart(self, name: str, step: Step) -> None:
        """Have a step run in a lane; here and now where no thread of our own drives."""
        if self._thread is None:
            step()
        else:
            self.lanes.put(name, step)
            self._hands_over = True

    def prepare(self, level: str, step: Callable[[Any], None]) -> None:
        """Have something done with a level's runner before anything runs, in the calling thread.

        Only while no thread of ours drives, nor anybody else does.
        """
        with hold_interrupts():
            if self._thread is None and self._take_wheel():
                try:
                    self._performer.prepare(level, step)
                finally:
                    self._give_wheel()

    def look_by(self, at: float) -> None:
        """Have runners look after what comes by itself at the latest then."""
        self._tick_at = min(self._tick_at, at)

    def pack_apart(self, step: Step) -> None:
        """Have a step run that runs code of the user's to pack arguments."""
        self.apart(lane.PACK, step)

    def unpack_apart(self, step: Step) -> None:
        """Have a step run that runs code of the user's to unpack results."""
        if self.lanes.is_own_thread():
            step()
        else:
            self.apart(lane.UNPACK, step)

    def end_future(self, future: "Future[Any]", step: Step) -> None:
        """End a future; where that is done by a thread of ours, its callbacks run in their lane."""
        if self.is_own_thread():
            self.lanes.end(future, step)
        else:
            step()

    def in_turn(self, step: Step) -> None:
        """Have a step run by whoever drives; from any thread."""
        self._deferred.append(step)
        self.waiter.wake()

    def settle_words(self) -> None:
        """Let what was said until now reach the log, unless that is held up."""
        self.lanes.settle(LISTEN_SECONDS, lane.OBSERVE)

    def wait_finished(self) -> None:
        """Drive or wait until everything is done, serving what nobody else takes care of."""
        if self.is_driving or self.is_own_thread():
            return  # a callback shuts the executor down: the loop ends by itself
        tell_at = time.monotonic() + GATHERING_SECONDS
        while not self.finished.is_set():
            if time.monotonic() >= tell_at:
                tell_at = FOREVER
                self._tell_gathered()
            served = [calls.serve() for calls in list(self.batches.values())]
            if any(served):
                continue
            if self._thread is None:
                self.step(LISTEN_SECONDS)
            else:
                self.attention.wait(LISTEN_SECONDS)
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
        # The user's callbacks and the journal's disk take as long as they take, unless all was to
        # end at once.
        while not self.lanes.settle(LISTEN_SECONDS) and not self._is_told_to_end:
            pass

    def _tell_gathered(self) -> None:
        """Say what we wait for where an input goes on and on."""
        for calls in list(self.batches.values()):
            tasks = calls.count_gathered()
            if tasks:
                LOGGER.warning(
                    "shutdown: waits for an input that goes on, and keeps its results; close the "
                    "iterator of its map, or cancel seconds=%g tasks=%d run=%s",
                    GATHERING_SECONDS, tasks, self.name,
                )  # fmt: skip

    def stop(self, *, cancel: bool, at_exit: bool = False) -> None:
        """Let nothing in any more and ask for the end; `finished` is set when it has come."""
        self.gate.see("shut down")
        if cancel:
            self._cancel_calls()
        self._end_inputs(at_exit=at_exit)
        self.say(StopRequested(time.monotonic(), cancel))

    def terminate(self) -> None:
        """End everything now.

        What has not begun is cancelled, what runs is killed where it can be. Whoever drives does
        it; should he be stuck (in a callback, in a file system), the calls are ended without him,
        and his part follows when he comes back.
        """
        self.gate.see("told to end at once")
        self._cancel_calls()
        self._is_told_to_end = True
        self.waiter.wake()
        if self.is_driving:
            return  # a callback: the loop sees it when the callback is through
        end = time.monotonic() + CLOSE_SECONDS
        self._end_or_wait(CLOSE_SECONDS)
        if not self.finished.is_set():
            self._end_without_driver()
        elif self._thread is not None:
            self._thread.join(max(0.0, end - time.monotonic()))

    def _end_or_wait(self, seconds: float) -> None:
        """End here where no thread of ours drives, else wait until that has done so."""
        end = time.monotonic() + seconds
        while self._thread is None and not self.finished.is_set():
            if not self._take_wheel(max(0.0, end - time.monotonic())):
                return
            try:
                if self._thread is None:
                    self._end_if_told()
            finally:
                self._give_wheel()
        self.finished.wait(max(0.0, end - time.monotonic()))

    def _end_without_driver(self) -> None:
        """End the calls and kill the processes beside who drives, and touch nothing of his."""
        self._end_calls(self._make_last_error())
        for runner in list(self._runners.values()):
            runner.strike()
        self.finished.set()
        self.attention.ring()
        leave(self)

    def post_stop(self) -> None:
        """Ask for the end once all is done.

        From a place that may not wait, drive or take a lock (a finalizer, which may run at any
        line of any thread). The gate is left alone: who could come to it is gone.
        """
        self._end_inputs(at_exit=False)
        self.post(StopRequested(time.monotonic()))

    def _cancel_calls(self) -> None:
        for calls in list(self.batches.values()):
            calls.cancel()

    def _end_inputs(self, *, at_exit: bool) -> None:
        for calls in list(self.batches.values()):
            calls.end_input(at_exit=at_exit)

    # driving

    def pump(self) -> None:
        """Handle everything in the inbox, unless somebody else does so now."""
        while self._has_to_do() and self.may_drive():
            with hold_interrupts():  # also round the lock: who is interrupted would keep it
                if not self._take_wheel():
                    return
                try:
                    self._drain()
                finally:
                    self._give_wheel()

    def _has_to_do(self) -> bool:
        return bool(self._inbox or self._is_told_to_end) and not self._has_ended

    def _take_wheel(self, seconds: float = 0.0) -> bool:
        """Become the one who drives, within so long; all that touches runners happens so."""
        if not self._lock.acquire(timeout=seconds):
            return False
        self._driving = threading.get_ident()
        return True

    def _give_wheel(self) -> None:
        self._driving = 0
        self._lock.release()

    def step(self, seconds: float) -> None:
        """Drive once from a caller's thread, for where no thread does.

        Wait at most so long, then handle.
        """
        if self._lock.locked():  # another thread does it all: it may be in a long callback
            self.waiter.wait(min(seconds, TICK_SECONDS))
        elif not self._inbox:
            self.waiter.wait(min(seconds, self._until_tick()))
        self._tend_alone()
        self.pump()

    def _tend_alone(self) -> None:
        """Look after the timer and the journal from a caller's thread, unless another one does."""
        if not self.may_drive():
            return
        with hold_interrupts():  # also round the lock: who is interrupted would keep it
            if not self._take_wheel():
                return
            try:
                if self.may_drive():  # another caller may have started our thread meanwhile
                    self._do_deferred()
                    self._fire_timer()
                    self._tick_at = FOREVER  # without a thread no runner has much to look after
                    self._tend()
            finally:
                self._give_wheel()

    def _tend(self) -> None:
        """Have the journal looked after, unless that is under way."""
        self._tend_at = FOREVER
        self.delivery.tend()

    def tend_by(self, at: float) -> None:
        """Have the journal looked after at the latest then; from any thread."""
        if at < self._tend_at:
            self._tend_at = at
            self.waiter.wake()

    def _drive(self) -> None:
        """The thread's loop."""
        while not self._has_ended:
            try:
                self._drive_once()
            except Exception:  # noqa: BLE001  # no memory even to fail: some may be free a moment later
                time.sleep(TICK_SECONDS)
        self.waiter.close()

    def _drive_once(self) -> None:
        due = self.waiter.wait(0.0 if self._inbox else self._until_tick())
        self._take_wheel(-1)
        try:
            if not self._end_if_told():
                self._look_around(due)
        except BaseException as error:  # noqa: BLE001  # a bug of ours or no memory: nobody may wait for ever
            self._crash(error)
        finally:
            self._give_wheel()
        self.pump()

    def _look_around(self, due: list[tuple[Callable[[int], None], int]]) -> None:
        self._do_deferred()
        for handler, bits in due:
            handler(bits)
        self._tick()
        self._look_at_handover()
        self._fire_timer()

    def _do_deferred(self) -> None:
        for _ in range(len(self._deferred)):  # what is put off again comes next time
            self._deferred.popleft()()

    def _tick(self) -> None:
        """Let the runners look after what comes by itself, when it is time."""
        now = time.monotonic()
        if now >= self._tend_at:
            self._tend()
        if now < self._tick_at and not self._inline.has_unhelped():
            return
        ticks = [runner.tick(now) for runner in list(self._runners.values())]
        self._tick_at = min((at for at in ticks if at is not None), default=FOREVER)
        again = self.lanes.tend()
        if again is not None:
            self._tick_at = min(self._tick_at, now + again)

    def _look_at_handover(self) -> None:
        """Say when so much waits to be handed over that no more is to be sent, or no longer."""
        if not self._hands_over:
            return  # asked after each wait, and mostly nothing was ever handed over
        said = self.lanes.waiting(lane.SAY)
        counts = self.lanes.waiting(lane.RECORD) + said, self.lanes.waiting(lane.UNPACK)
        before = self._full_handovers
        bounds = [HANDED_OVER_MAX // 2 if was_full else HANDED_OVER_MAX for was_full in before]
        full = counts[0] > bounds[0], counts[1] > bounds[1]
        if full != before:
            self._full_handovers = full
            self._inbox.append(HandoverChanged(time.monotonic(), *full, sum(counts)))
        self._hands_over = any(full) or any(counts)
        if any(full):
            self._tick_at = min(self._tick_at, time.monotonic() + TICK_SECONDS)

    def _until_tick(self) -> float:
        if self._inline.has_unhelped():
            return 0.0
        at = min(self._tick_at, self._tend_at)
        return max(0.0, min(self._until_timer(), at - time.monotonic()))

    def _until_timer(self) -> float:
        at = self.timer_at  # another thread may set it meanwhile
        if at is None:
            return IDLE_WAIT_SECONDS
        return min(IDLE_WAIT_SECONDS, max(0.0, at - time.monotonic()))

    def _fire_timer(self) -> None:
        if self.timer_at is not None and time.monotonic() >= self.timer_at:
            self.timer_at = None
            self._inbox.append(TimerFired(time.monotonic()))

    def _drain(self) -> None:
        try:
            while self._inbox and self.may_drive() and not self._end_if_told():
                event = self._inbox.popleft()
                if isinstance(event, TasksArrived):
                    event = self._gather(event)
                elif isinstance(event, WorkerLost) and event.unexplained:
                    event = self._add_kills(event)
                self._handle(event)
                if isinstance(event, _LETTING_GO):
                    self._forget(event)
            self._end_if_told()
        except BaseException as error:  # noqa: BLE001  # a bug of ours or no memory: nobody may wait for ever
            self._crash(error)

    def _handle(self, event: Event) -> None:
        instructions = self._run.handle(event)
        self.trace.see(event, instructions, self._run.state)
        if self.trace.chart.unnamed is not None:
            self._name_notable(self.trace.chart.unnamed)
        for instruction in instructions:
            if self._is_told_to_end:
                break
            self._perform(instruction)

    def _name_notable(self, span: Span) -> None:
        """Note what a task was given that stands out, while that is still to be had."""
        text = ""
        calls = self.batches.get(span.batch)
        if calls is not None:
            with contextlib.suppress(Exception):  # another thread may change what is looked at
                text = short_text(calls.given(span.first))
        self.trace.chart.name(span, text)

    def note_failure(self, error: BaseException) -> None:
        """Count a task's own exception, the first of its kind with its traceback.

        In a thread that may run code of the user's.
        """
        kind = type(error).__qualname__
        if kind in self.trace.failures:
            self.trace.note_failure(kind, "", "")
        else:
            self.trace.note_failure(kind, failure_line(error), story_of(error))

    def note_failure_apart(self, error: BaseException) -> None:
        """Count a call's own exception; what runs code of the user's goes into a lane."""
        if type(error).__qualname__ in self.trace.failures or not self.is_own_thread():
            self.note_failure(error)
        else:
            self.apart(lane.OBSERVE, partial(self.note_failure, error))

    def may_drive(self) -> bool:
        """Once there is a thread, it alone drives.

        What it starts must not end with a caller's thread.
        """
        return self._thread is None or self._thread is threading.current_thread()

    def _gather(self, event: TasksArrived) -> TasksArrived:
        """Take calls that were submitted one after the other as one group."""
        count, is_last = event.count, event.is_last
        while self._inbox and not is_last:
            more = self._inbox[0]
            if not isinstance(more, TasksArrived) or more.batch != event.batch:
                break
            count, is_last = count + more.count, more.is_last
            self._inbox.popleft()
        return TasksArrived(event.at, event.batch, count, is_last)

    def _add_kills(self, event: WorkerLost) -> WorkerLost:
        """Read, when somebody else killed a worker, how often the kernel has done so for memory."""
        host = self.read_host()
        left, most = host.available_bytes, host.most_bytes
        return event._replace(oom_kills=host.oom_kills, left_bytes=left, most_bytes=most)

    def read_host(self) -> HostSnapshot:
        """Take a snapshot of the host; with files that stay open while a thread of ours drives."""
        if self._thread is None:
            return self._read_host()
        with self._host_files:
            return self._read_host()

    def _forget(self, event: Event) -> None:
        """Let go of what belongs to chunks that are over."""
        if isinstance(event, TasksSetAside):
            self._tend_at = 0.0  # it may be that another instance runs them
        elif isinstance(event, (ChunkDone, FunctionRefused)):
            self.delivery.forget(event.chunk)
        elif isinstance(event, WorkerLost):
            for chunk in self.delivery.orders.keys() - self._run.flights.keys():
                self.delivery.forget(chunk)

    def ensure_thread(self, level: str) -> None:
        """Have a thread of our own drive, which a level needs."""
        if self._thread is not None:
            return
        try:
            self._thread = start_thread(self._drive, f"adaptive-exec-driver-{self.name}")
        except (RuntimeError, MemoryError) as error:
            first, self._alone_since = self._alone_since, self._alone_since or level
            if first not in (None, level):
                raise CannotStartError(str(error)) from error  # a better level has waited for it
            raise
        self._alone_since = None
        self.read_host()  # opens what is read again, while there is memory for it

    def finish(self, event: ExecutorEvent, error: DriverError | None = None) -> None:
        """Close the gate for good, free everything, and end what has come in and has no end yet."""
        if self._has_ended:
            return
        self.gate.see(event)
        self._has_ended = True
        self._performer.drop_prepared()
        self._runners.clear()
        self._host_files.close()
        if self._sharing.has_traded:
            self.apart(lane.TRADE, self._sharing.close)
        self.delivery.close()
        self._end_calls(error or DriverError("the executor ended before this call was begun"))
        self.batches.clear()
        self._inbox.clear()
        self.finished.set()
        self.attention.ring()
        self.lanes.when_done(self._leave_behind_chains if self.delivery.has_chains else self._leave)
        if self._thread is None:
            self.waiter.close()
        self.waiter.wake()

    def _leave_behind_chains(self) -> None:
        """What was said is behind us: what was recorded after it follows, and its delivery."""
        self.lanes.when_done(partial(self.lanes.when_done, self._leave))

    def _leave(self) -> None:
        """Nothing is left to be done, by the driver or beside it."""
        self.lanes.close()
        leave(self)

    def _crash(self, error: BaseException) -> None:
        """End everything with the cause chained, so that nobody waits for ever."""
        failure = self._last_words
        with contextlib.suppress(MemoryError):
            failure = DriverError(
                f"the executor's loop failed ({type(error).__name__}: {error}); please report this"
            )
        failure.__cause__ = error
        self.gate.failure = failure
        self._end_now(failure, "driver failed")

    def _end_if_told(self) -> bool:
        """End at once where that was asked for; return whether there is nothing to drive any more.

        Asked between two instructions: what runners are doing is never cut in two.
        """
        if self._is_told_to_end and not self._has_ended:
            self._end_now(self._make_last_error(), "driver finished")
        return self._has_ended

    @staticmethod
    def _make_last_error() -> DriverError:
        return DriverError("the executor was told to end at once; this call was not finished")

    def _end_now(self, error: DriverError, event: ExecutorEvent) -> None:
        if self._has_ended:
            return
        self.delivery.flush()  # what is finished is kept if it can be
        for runner in self._runners.values():
            with contextlib.suppress(Exception):  # a half-started level may raise anything
                runner.abandon()
        self.finish(event, error)

    def _end_calls(self, error: DriverError) -> None:
        for calls in list(self.batches.values()):
            calls.abort(error)

    def let_go(self) -> None:
        """In a forked child: close the descriptors, touch nothing else."""
        self.gate.let_go()
        for runner in self._runners.values():
            runner.let_go()
        self._host_files.close()
        self._sharing.let_go()
        self.waiter.let_go()

    def snapshot_host(self) -> HostSnapshot:
        """Return the last snapshot that the run judged."""
        return self._run.host

    def ask_task(self, report: RunReport, batch: int, index: int) -> tuple[str, ...]:
        """Say what becomes of a task and why, as things stand now.

        Who drives looks, between two events; where he does not come for a second, the caller does.
        """
        look = partial(ask_task, self._run.state, report, batch, index, now=time.monotonic())
        if self._thread is None or self.is_driving or self._has_ended:
            return look()
        answers: list[tuple[str, ...]] = []
        has_looked = threading.Event()
        self.in_turn(partial(_look, look, answers, has_looked))
        has_looked.wait(ASK_SECONDS)
        return answers[0] if answers else look()

    def count_in_flight(self) -> int:
        """Return how many chunks are with workers now."""
        return len(self._run.flights)

    def count_workers(self) -> int:
        """Return how many workers there are now."""
        return sum(roster.size for roster in self._run.rosters.values())

    def newest_function(self) -> tuple[int, PackedFunction] | None:
        """Return the newest open batch that processes can run, with its function."""
        for batch, calls in reversed(list(self.batches.items())):
            if calls.work.packed is not None:
                return batch, calls.work.packed
        return None

    def runner(self, level: str) -> Runner | None:
        """Return the runner of a level, None while it was never opened."""
        return self._runners.get(level)


def _make_folders(config: Config) -> TaskFolders:
    if config.journal is None:
        return TaskFolders.temporary()
    return TaskFolders.beside(os.fspath(getattr(config.journal, "path", "")))


def _log_error(error: BaseException) -> None:
    LOGGER.error("lane: a step failed", exc_info=error)


def _look(
    look: Callable[[], tuple[str, ...]], answers: list[tuple[str, ...]], has_looked: threading.Event
) -> None:
    """Look in the place of who asks; what goes wrong with that is his, and he looks again."""
    with contextlib.suppress(Exception):
        answers.append(look())
    has_looked.set()
