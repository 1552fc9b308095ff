"""The loop: take an event, ask the Run, perform the instructions in order.

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
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol, assert_never

from adaptive_exec import lanes as lane
from adaptive_exec.config import (
    CLOSE_SECONDS,
    HANDED_OVER_MAX,
    IDLE_WAIT_SECONDS,
    LISTEN_SECONDS,
    OBSERVED_STEPS_MAX,
    STACKS_MAX,
    TICK_SECONDS,
    Config,
)
from adaptive_exec.core.events import (
    BatchOpened,
    ChunkDone,
    Event,
    FunctionRefused,
    HandoverChanged,
    HostSampled,
    LevelClosed,
    ShareChanged,
    StartRefused,
    StopRequested,
    TasksArrived,
    TasksSetAside,
    TimerFired,
    Usage,
    WorkerLost,
    WorkerReady,
    WorkersTimed,
)
from adaptive_exec.core.instructions import (
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
    StartWorkers,
    TimeWorkers,
    TradeShare,
    TrimMemory,
)
from adaptive_exec.core.lifecycle import ExecutorEvent
from adaptive_exec.core.reason import Decision, Reason
from adaptive_exec.core.run import Run
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.core.trace import Trace
from adaptive_exec.errors import DriverError
from adaptive_exec.gate import Gate
from adaptive_exec.lanes import Lanes, Step
from adaptive_exec.ledger.facts import Facts, Traded
from adaptive_exec.levels.base import (
    Block,
    CannotStartError,
    ChunkOrder,
    Failure,
    Results,
    Runner,
    Work,
)
from adaptive_exec.levels.bell import Bell
from adaptive_exec.levels.current import Place
from adaptive_exec.levels.folders import TaskFolders
from adaptive_exec.levels.functions import PackedFunction
from adaptive_exec.levels.interrupts import hold_interrupts
from adaptive_exec.levels.meter import collect_and_trim
from adaptive_exec.levels.sequential import SequentialRunner
from adaptive_exec.levels.threads import start_thread
from adaptive_exec.levels.waiter import Waiter
from adaptive_exec.lifetime import enter, leave
from adaptive_exec.log import LOGGER, DecisionLog, as_event
from adaptive_exec.program.captured import Captured
from adaptive_exec.recorder import RecordBook, Recorder
from adaptive_exec.specs import INLINE, is_inline

_names = itertools.count(1)
FOREVER = float("inf")


class Calls(Protocol):
    """The callers' side of a batch: its arguments, and where its outcomes go."""

    work: Work
    captured: Captured | None

    def ask(self, count: int) -> None:
        """Pull up to `count` more tasks, or have the caller's thread do it."""

    def items(self, start: int, stop: int) -> Sequence[Any]:
        """Return the arguments of tasks `start` to `stop` - 1."""

    def names(self, start: int, stop: int) -> bytes:
        """Return the tasks' keys in the journal, one after the other; empty without one."""

    def deliver(self, start: int, results: Results, level: str, attempt: int) -> None:
        """Take outcomes, the first of which is task `start`'s."""

    def record(
        self, start: int, results: Results, level: str, attempt: int, *, worker: int
    ) -> None:
        """Have outcomes written into the journal, the first of which is task `start`'s."""

    def record_failures(self, start: int, stop: int, reason: Reason) -> None:
        """Have it written that tasks end with one of our errors."""

    def recall(self, start: int, stop: int) -> None:
        """Take outcomes that came from the journal."""

    def look_aside(self) -> bool:
        """Look what became of tasks that another instance runs; return whether some still wait."""

    def fail(self, start: int, stop: int, reason: Reason) -> None:
        """End tasks with one of our errors."""

    def finish(self) -> None:
        """Every task has its outcome."""

    def cancel(self) -> None:
        """What has not begun by now never will."""

    def abort(self, error: BaseException) -> None:
        """End every open task with this error; from any thread, more than once."""

    def give_up(self, error: BaseException) -> None:
        """End this batch with an error while all others go on."""

    def end_input(self, *, at_exit: bool) -> None:
        """No more calls will come from outside.

        The executor is shut down or was let go, or the interpreter ends.
        """

    def call_for_attention(self) -> None:
        """Something lies ready for the thread that takes the results."""

    def serve(self) -> bool:
        """Do in the calling thread what lies ready for it; return False when nothing did."""


Runners = dict[str, Callable[["Driver"], Runner]]
"""How to make the runner of each level, by its name."""


class Book(Protocol):
    """This instance's side of the ledger."""

    def trade(self, order: TradeShare, host: HostSnapshot, facts: Facts) -> Traded:
        """Enter a claim, and say what the others leave."""

    def close(self) -> None:
        """End the lease."""

    def let_go(self) -> None:
        """In a forked child: close the descriptors."""


class Driver:
    """Feeds events to a Run and performs its instructions.

    Args:
        config: The settings.
        read_host: Takes a snapshot of the host.
        runners: How to make each level's runner.
        open_book: How to get at the ledger; asked when there is something to write in it.
        journal: The journal, None for none.
    """

    def __init__(  # noqa: PLR0915  # a line for each part
        self,
        config: Config,
        read_host: Callable[[], HostSnapshot],
        runners: Runners,
        open_book: Callable[[], Book],
        journal: RecordBook | None = None,
    ) -> None:
        self.config = config
        self.name = f"{os.getpid()}-{next(_names)}"
        self.waiter = Waiter()
        self.finished = threading.Event()
        self.attention = Bell()
        self.gate = Gate()
        self.trace = Trace()
        self._read_host = read_host
        self._make = runners
        self._runners: dict[str, Runner] = {}
        self._open_book = open_book
        self._book_error = ""
        self._last_words = DriverError("the executor's loop failed for want of memory")
        self._book: Book | None = None
        self._run = Run(config, read_host())
        self._log = DecisionLog(self.name)
        self._inbox: deque[Event] = deque()
        self._batches: dict[int, Calls] = {}
        self._results: dict[int, deque[Results]] = {}
        self._stacks: dict[tuple[int, int], str] = {}
        self._said: set[int] = set()
        self._orders: dict[int, tuple[str, int, int]] = {}
        self.folders = (
            TaskFolders.temporary()
            if config.journal is None
            else TaskFolders.beside(os.fspath(getattr(config.journal, "path", "")))
        )
        self._has_journal = journal is not None
        self._recorder = Recorder(journal, self.post)
        self.lanes = Lanes(self.name, _log_error)
        self._is_caller_alone = config.ladder == (INLINE,)
        self._recorded: set[int] = set()
        self._foldered: set[int] = set()
        self._has_traded = False
        self._unsaid = 0
        self._full_handovers = (False, False)
        self._hands_over = False
        self._is_tending = False
        self._is_trimming = False
        self._deferred: deque[Step] = deque()
        self._lock = threading.Lock()
        self._driving, self._is_told_to_end, self._has_ended = 0, False, False
        self._timer_at: float | None = None
        self._tick_at = FOREVER
        self._tend_at = FOREVER
        self._thread: threading.Thread | None = None
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
            self._batches[opened.batch] = calls
            if opened.recorded:
                self._recorded.add(opened.batch)
                self._recorder.enter(opened.batch)
            self.post(opened)

    def post(self, event: Event) -> None:
        """Report an event; safe from any thread, never waits."""
        if self._has_ended:
            return
        self._inbox.append(event)
        self.waiter.wake()

    def put_results(self, chunk: int, results: Results) -> None:
        """Hand in results of a chunk, before the event that counts them."""
        self._results.setdefault(chunk, deque()).append(results)

    def note_stack(self, batch: int, index: int, stack: str) -> None:
        """Keep where in its code a task was whose worker crashed, for the error that may follow."""
        self._stacks[batch, index] = stack
        if len(self._stacks) > STACKS_MAX:
            self._stacks.pop(next(iter(self._stacks)))

    def say(self, event: Event) -> None:
        """Report an event, and drive where no thread does."""
        self.post(event)
        self.pump_if_alone()

    def pump_if_alone(self) -> None:
        """Drive from the calling thread where no thread of our own does."""
        if self._thread is None:
            self.pump()

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

    def hear(self, batch: int | None, step: Step) -> None:
        """Have a step run that says what a task has said; the batch's results come behind it."""
        if batch is not None:
            self._said.add(batch)
        self.apart(lane.SAY, step)

    def captured(self, batch: int | None) -> Captured | None:
        """Return where what tasks of a batch say is kept, None where it is not."""
        calls = None if batch is None else self._batches.get(batch)
        return None if calls is None else calls.captured

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

    def has_inline_work(self, batch: int) -> bool:
        """Say whether a chunk of a batch lies ready for the thread that takes its results."""
        runner = self._runners.get(INLINE)
        return isinstance(runner, SequentialRunner) and runner.has_work(batch)

    def lacks_hands(self, batch: int) -> bool:
        """Say whether no thread could be started to run a batch's submitted calls."""
        runner = self._runners.get(INLINE)
        return isinstance(runner, SequentialRunner) and runner.unhelped == batch

    def work_inline(self, batch: int) -> bool:
        """Run one chunk of a batch in the calling thread; return False when none lay ready."""
        runner = self._runners.get(INLINE)
        return isinstance(runner, SequentialRunner) and runner.work(batch)

    def hand_back(self, batch: int) -> None:
        """Take back what lies ready for a thread that will not come for it; from any thread."""
        runner = self._runners.get(INLINE)
        if isinstance(runner, SequentialRunner):
            runner.hand_back(batch)

    def wait_finished(self) -> None:
        """Drive or wait until everything is done, serving what nobody else takes care of."""
        if self.is_driving or self.is_own_thread():
            return  # a callback shuts the executor down: the loop ends by itself
        while not self.finished.is_set():
            served = [calls.serve() for calls in list(self._batches.values())]
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
        for calls in list(self._batches.values()):
            calls.cancel()

    def _end_inputs(self, *, at_exit: bool) -> None:
        for calls in list(self._batches.values()):
            calls.end_input(at_exit=at_exit)

    # driving

    def pump(self) -> None:
        """Handle everything in the inbox, unless somebody else does so now."""
        while self._has_to_do() and self._may_drive():
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
        if not self._may_drive():
            return
        with hold_interrupts():  # also round the lock: who is interrupted would keep it
            if not self._take_wheel():
                return
            try:
                if self._may_drive():  # another caller may have started our thread meanwhile
                    self._do_deferred()
                    self._fire_timer()
                    self._tick_at = FOREVER  # without a thread no runner has much to look after
                    self._tend()
            finally:
                self._give_wheel()

    def _tend(self) -> None:
        """Have the journal looked after, unless that is under way."""
        self._tend_at = FOREVER
        if self._has_journal and not self._is_tending:
            self._is_tending = True
            self.apart(lane.RECORD, partial(self._tend_journal, list(self._batches.values())))

    def _tend_journal(self, calls: Sequence[Calls]) -> None:
        try:
            at = self._recorder.tend(calls, may_wait=self._thread is not None)
        finally:
            self._is_tending = False
        self._tend_again_at(at)

    def _tend_again_at(self, at: float) -> None:
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
        if now < self._tick_at and not self._has_unhelped():
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

    def _has_unhelped(self) -> bool:
        sequential = self._runners.get(INLINE)
        return isinstance(sequential, SequentialRunner) and sequential.unhelped is not None

    def _until_tick(self) -> float:
        if self._has_unhelped():
            return 0.0
        at = min(self._tick_at, self._tend_at)
        return max(0.0, min(self._until_timer(), at - time.monotonic()))

    def _until_timer(self) -> float:
        at = self._timer_at  # another thread may set it meanwhile
        if at is None:
            return IDLE_WAIT_SECONDS
        return min(IDLE_WAIT_SECONDS, max(0.0, at - time.monotonic()))

    def _fire_timer(self) -> None:
        if self._timer_at is not None and time.monotonic() >= self._timer_at:
            self._timer_at = None
            self._inbox.append(TimerFired(time.monotonic()))

    def _drain(self) -> None:
        try:
            while self._inbox and self._may_drive() and not self._end_if_told():
                event = self._add_kills(self._next_event())
                self._handle(event)
                self._forget(event)
            self._end_if_told()
        except BaseException as error:  # noqa: BLE001  # a bug of ours or no memory: nobody may wait for ever
            self._crash(error)

    def _handle(self, event: Event) -> None:
        instructions = self._run.handle(event)
        self.trace.see(event, instructions, len(self._run.flights), self._workers(event))
        for instruction in instructions:
            if self._is_told_to_end:
                break
            self._perform(instruction)

    def _may_drive(self) -> bool:
        """Once there is a thread, it alone drives.

        What it starts must not end with a caller's thread.
        """
        return self._thread is None or self._thread is threading.current_thread()

    def _next_event(self) -> Event:
        """Take the next event; calls submitted one after the other arrive as one group."""
        event = self._inbox.popleft()
        if not isinstance(event, TasksArrived):
            return event
        count = event.count
        while self._inbox:
            more = self._inbox[0]
            if not isinstance(more, TasksArrived) or more.batch != event.batch:
                break
            count += more.count
            self._inbox.popleft()
        return event._replace(count=count)

    def _add_kills(self, event: Event) -> Event:
        """Read, when somebody else killed a worker, how often the kernel has done so for memory."""
        if not isinstance(event, WorkerLost) or not event.unexplained:
            return event
        return event._replace(oom_kills=self._read_host().oom_kills)

    def _forget(self, event: Event) -> None:
        """Let go of what belongs to chunks that are over."""
        if isinstance(event, TasksSetAside):
            self._tend_at = 0.0  # it may be that another instance runs them
        elif isinstance(event, (ChunkDone, FunctionRefused)):
            self._orders.pop(event.chunk, None)
            self._results.pop(event.chunk, None)
        elif isinstance(event, WorkerLost):
            for chunk in self._orders.keys() - self._run.flights.keys():
                self._orders.pop(chunk)
                self._results.pop(chunk, None)

    def _workers(self, event: Event) -> int:
        """Count workers, where an event can have changed their number upward."""
        return self.count_workers() if isinstance(event, WorkerReady) else 0

    # performing

    def _perform(self, instruction: Instruction) -> None:  # noqa: C901, PLR0912, PLR0915  # one arm for each instruction
        match instruction:
            case SendChunk():
                self._send(instruction)
            case MoveWalls():
                self._runners[instruction.level].move_walls(instruction.walls)
            case Record():
                self._record(instruction)
            case Deliver():
                self._deliver(instruction)
            case Recall():
                self._recall(instruction)
            case Pull():
                self._pull(instruction)
            case SetTimer():
                self._timer_at = instruction.at
            case Explain():
                self._explain(instruction)
            case OpenLevel() | StartWorkers():
                self._start(instruction.level, instruction.workers)
            case CloseLevel():
                self._close(instruction.level)
            case RetireWorker():
                self._runners[instruction.level].retire(instruction.worker)
            case KillWorker():
                self._runners[instruction.level].kill(instruction.worker)
            case FailTasks():
                self._fail(instruction)
            case FinishBatch():
                self._finish_batch(instruction.batch)
            case ReadHost():
                self._read()
            case TimeWorkers():
                self._time_workers()
            case TradeShare():
                self._trade(instruction)
            case TrimMemory():
                self._trim()
            case Finish():
                self._finish("driver finished")
            case _:
                assert_never(instruction)

    def _finish_batch(self, batch: int) -> None:
        calls = self._batches.pop(batch)
        for one in [one for one in self._stacks if one[0] == batch]:
            del self._stacks[one]
        is_beside = batch in self._recorded or batch in self._foldered
        finish: Step = calls.finish
        if batch in self._said:
            finish = partial(self.apart, lane.SAY, finish)
        self._said.discard(batch)
        if batch in self._recorded:
            self._record_apart(calls, partial(self._recorder.finish, batch))
        self._recorded.discard(batch)
        self._foldered.discard(batch)
        if is_beside:
            self._record_apart(calls, finish)
        else:
            finish()
        for runner in self._runners.values():
            runner.forget(batch)

    def _recall(self, order: Recall) -> None:
        calls = self._batches[order.batch]
        self._record_apart(calls, partial(calls.recall, order.start, order.stop))

    def _pull(self, order: Pull) -> None:
        """Ask for more; where the journal is looked into for each, apart from this thread."""
        calls = self._batches[order.batch]
        if order.batch in self._recorded:
            self._record_apart(calls, partial(calls.ask, order.count))
        else:
            self._contain(calls, partial(calls.ask, order.count))

    def _record_apart(self, calls: Calls, step: Step) -> None:
        """Have a step run that waits for a disk; what it raises ends its batch alone."""
        self.apart(lane.RECORD, partial(self._record_step, calls, step))

    def _record_step(self, calls: Calls, step: Step) -> None:
        try:
            step()
            self._tend_again_at(self._recorder.flush_if_due(may_wait=self._thread is not None))
        except Exception as error:  # noqa: BLE001  # a bug of ours, or no memory: nobody may wait for ever
            give_up(calls, error)

    def _contain(self, calls: Calls, step: Step) -> None:
        """Do what concerns one batch; an error in it ends that batch and touches no other."""
        try:
            step()
        except Exception as error:  # noqa: BLE001  # as above
            give_up(calls, error)

    def _trade(self, order: TradeShare) -> None:
        """Trade with the ledger; while chunks are out, apart, since its disk may be slow."""
        self._has_traded = True
        trade = partial(self._trade_or_go_alone, order, self._run.host, self._facts())
        if self._run.flights:
            self.apart(lane.TRADE, lambda: self.post(trade()))
        else:
            self._inbox.append(trade())

    def _trade_or_go_alone(
        self, order: TradeShare, host: HostSnapshot, facts: Facts
    ) -> ShareChanged:
        """Trade, or go on alone where it fails in any way; that is said once."""
        try:
            if self._book is None:
                self._book = self._open_book()
            share, trouble = self._book.trade(order, host, facts)
        except Exception as error:  # noqa: BLE001  # by origin: no memory for it, for one
            said, self._book_error = self._book_error, f"{type(error).__name__}: {error}"
            return ShareChanged(time.monotonic(), None, "" if said else self._book_error)
        return ShareChanged(time.monotonic(), share, trouble)

    def _facts(self) -> Facts:
        limit = self._run.host.limit_bytes
        marks = dict(self._run.verdict.reason.facts)
        return Facts(
            peak_bytes=self.trace.peak_task_bytes or 0,
            warn_bytes=limit - int(marks.get("warn") or limit),
            critical_bytes=limit - int(marks.get("critical") or limit),
            decisions=self.trace.last_lines(),
        )

    def _send(self, order: SendChunk) -> None:
        calls = self._batches[order.batch]
        self._tick_at = min(self._tick_at, time.monotonic() + TICK_SECONDS)
        self._orders[order.chunk] = (order.level, order.attempt, order.worker)
        try:
            items = calls.items(order.start, order.stop)
            names = calls.names(order.start, order.stop)
        except Exception as error:  # noqa: BLE001  # as in `_contain`: it is this batch's alone
            self._fail_unsent(order, calls, error)
            return
        where = (order.chunk, order.worker, order.start, order.attempt)
        chunk = ChunkOrder(*where, items, calls.work, names, order.wall_bytes)
        self._runners[order.level].send(chunk)
        if is_inline(order.level):
            calls.call_for_attention()

    def _fail_unsent(self, order: SendChunk, calls: Calls, error: Exception) -> None:
        """End a batch whose arguments cannot be had; the worker was sent nothing and is free."""
        count = order.stop - order.start
        failure = give_up(calls, error)
        self.put_results(order.chunk, Results([Failure(failure)] * count))
        self._inbox.append(ChunkDone(time.monotonic(), order.chunk, count, Usage(count, 0.0)))

    def _record(self, order: Record) -> None:
        """Have results written that may have come in many pieces; together they cost less."""
        level, attempt, worker = self._orders[order.chunk]
        held, parts, count = self._results[order.chunk], [], 0
        for place in itertools.count():  # not an iterator: a worker's thread may add meanwhile
            if count == order.stop - order.start:
                break
            parts.append(held[place])
            count += held[place].count
        calls = self._batches[order.batch]
        record = partial(calls.record, order.start, level=level, attempt=attempt, worker=worker)
        self._record_apart(calls, lambda: record(results=_join(parts)))

    def _read(self) -> None:
        sizes = [size for runner in self._runners.values() for size in runner.sizes()]
        self._inbox.append(HostSampled(time.monotonic(), self._read_host(), tuple(sizes)))

    def _time_workers(self) -> None:
        times = [one for runner in self._runners.values() for one in runner.times()]
        self._inbox.append(WorkersTimed(time.monotonic(), tuple(times)))

    def _trim(self) -> None:
        for runner in self._runners.values():
            runner.trim()
        if not self._is_trimming:
            self._is_trimming = True
            self.apart(lane.TIDY, self._collect)

    def _collect(self) -> None:
        self._is_trimming = False
        collect_and_trim()

    def _deliver(self, order: Deliver) -> None:
        calls = self._batches[order.batch]
        level, attempt, _ = self._orders[order.chunk]
        held, start = self._results[order.chunk], order.start
        if self.folders.is_used:  # one look for all: whose results are here has made its folder
            self._foldered.add(order.batch)
        hand_over = self._clear_first if order.batch in self._foldered else self._hand_over
        while start < order.stop:
            results = held.popleft()
            stop = start + results.count  # counted before: the taker empties the list
            block = Block(start, results, level, attempt)
            self._pass_on(calls, order.batch, partial(hand_over, calls, block))
            start = stop

    def _pass_on(self, calls: Calls, batch: int, step: Step) -> None:
        """Deliver at once, or after what was recorded is written and folders are removed.

        And after all that tasks of the batch have said until now.
        """
        if batch in self._said:
            step = partial(self.apart, lane.SAY, partial(self._contain, calls, step))
        if batch in self._recorded:
            self._record_apart(calls, partial(self._recorder.deliver, batch, step))
        elif batch in self._foldered:
            self._record_apart(calls, step)
        else:
            self._contain(calls, step)

    def _clear_first(self, calls: Calls, block: Block) -> None:
        self._clear(calls, block)
        self._hand_over(calls, block)

    @staticmethod
    def _hand_over(calls: Calls, block: Block) -> None:
        calls.deliver(block.start, block.results, block.level, block.attempt)

    def _clear(self, calls: Calls, block: Block) -> None:
        """Remove the state of tasks that are done; one that failed may be tried again later."""
        start, values = block.start, block.results.values
        names = calls.names(start, start + len(values))
        place = Place(self.folders.base, names, calls.work.batch, start, block.attempt)
        self.folders.clear(
            place,
            [
                index
                for index, value in enumerate(values, start)
                if not (self.folders.is_lasting and isinstance(value, Failure))
            ],
        )

    def _fail(self, order: FailTasks) -> None:
        """End tasks with an error; each of those that crashed with its own stack."""
        tasks = range(order.start, order.stop)
        if len(tasks) > STACKS_MAX or not any((order.batch, at) in self._stacks for at in tasks):
            self._fail_alike(order)
            return
        for at in tasks:
            stack = self._stacks.pop((order.batch, at), "")
            facts = (*order.reason.facts, ("stack", stack))
            reason = order.reason._replace(facts=facts)
            self._fail_alike(order._replace(start=at, stop=at + 1, reason=reason))

    def _fail_alike(self, order: FailTasks) -> None:
        calls = self._batches[order.batch]
        facts = order.start, order.stop, order.reason
        if order.batch in self._recorded:
            self._record_apart(calls, partial(calls.record_failures, *facts))
        self._pass_on(calls, order.batch, partial(calls.fail, *facts))

    def _explain(self, order: Explain) -> None:
        if self.config.on_event is None and not self._log.is_wanted(order.decision):
            return
        if self.lanes.waiting(lane.OBSERVE) >= OBSERVED_STEPS_MAX:
            self._unsaid += 1
            return
        say = partial(self._say, order.decision)
        if self._is_caller_alone:
            say()
        else:
            self.lanes.put(lane.OBSERVE, say)

    def _say(self, decision: Decision) -> None:
        """Write a decision into the log and tell `on_event` of it."""
        unsaid, self._unsaid = self._unsaid, 0
        if unsaid:
            LOGGER.warning("log: decisions were passed over count=%d run=%s", unsaid, self.name)
        with contextlib.suppress(Exception):  # a handler of the user's, a stream that was closed
            self._log.write(decision)
        if self.config.on_event is None:
            return
        try:
            self.config.on_event(as_event(decision))
        except Exception:  # noqa: BLE001  # the user's callback may raise anything; the run goes on
            LOGGER.exception("on_event: the callback failed and is asked no more run=%s", self.name)
            self.config = self.config._replace(on_event=None)

    def _start(self, level: str, workers: Sequence[int]) -> None:
        try:
            if level not in self._runners:
                self._runners[level] = self._make[level](self)
            if not is_inline(level):
                self._ensure_thread(level)
            if not self._may_drive():
                self.in_turn(partial(self._start, level, workers))
                return
            self._tick_at = 0.0  # a start has bounds to be looked after
            self._runners[level].start(workers)
        except Exception as error:  # noqa: BLE001  # by origin: all that a start raises is a refused start
            origin = error.__cause__ or error
            text = f"{type(origin).__name__}: {origin}"
            lasting = isinstance(error, (ImportError, CannotStartError))
            for worker in workers:
                self._inbox.append(StartRefused(time.monotonic(), level, worker, text, lasting))

    def _close(self, level: str) -> None:
        self._tick_at = 0.0
        if level in self._runners:
            self._runners[level].close()
        else:
            self._inbox.append(LevelClosed(time.monotonic(), level))

    def _ensure_thread(self, level: str) -> None:
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

    def _finish(self, event: ExecutorEvent, error: DriverError | None = None) -> None:
        """Close the gate for good, free everything, and end what has come in and has no end yet."""
        if self._has_ended:
            return
        self.gate.see(event)
        self._has_ended = True
        self._runners.clear()
        if self._has_traded:
            self.apart(lane.TRADE, self._close_book)
        if self._has_journal or self.folders.is_used:
            self.apart(lane.RECORD, self._close_files)
        self._end_calls(error or DriverError("the executor ended before this call was begun"))
        self._batches.clear()
        self._inbox.clear()
        self.finished.set()
        self.attention.ring()
        self.lanes.when_done(self._leave)
        if self._thread is None:
            self.waiter.close()
        self.waiter.wake()

    def _flush_journal(self) -> None:
        with contextlib.suppress(Exception):  # a crash may have left anything behind
            self._recorder.flush()

    def _close_book(self) -> None:
        if self._book is not None:
            self._book.close()

    def _close_files(self) -> None:
        with contextlib.suppress(Exception):  # a crash may have left anything behind
            self._recorder.close()
        self.folders.close()

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
        if self._has_journal:  # what is finished is kept if it can be
            self.apart(lane.RECORD, self._flush_journal)
        for runner in self._runners.values():
            with contextlib.suppress(Exception):  # a half-started level may raise anything
                runner.abandon()
        self._finish(event, error)

    def _end_calls(self, error: DriverError) -> None:
        for calls in list(self._batches.values()):
            calls.abort(error)

    def let_go(self) -> None:
        """In a forked child: close the descriptors, touch nothing else."""
        self.gate.let_go()
        for runner in self._runners.values():
            runner.let_go()
        if self._book is not None:
            self._book.let_go()
        self.waiter.let_go()

    def snapshot_host(self) -> HostSnapshot:
        """Return the last snapshot that the run judged."""
        return self._run.host

    def count_in_flight(self) -> int:
        """Return how many chunks are with workers now."""
        return len(self._run.flights)

    def count_workers(self) -> int:
        """Return how many workers there are now."""
        return sum(roster.size for roster in self._run.rosters.values())

    def newest_function(self) -> tuple[int, PackedFunction] | None:
        """Return the newest open batch that processes can run, with its function."""
        for batch, calls in reversed(list(self._batches.items())):
            if calls.work.packed is not None:
                return batch, calls.work.packed
        return None

    def runner(self, level: str) -> Runner | None:
        """Return the runner of a level, None while it was never opened."""
        return self._runners.get(level)


def _join(parts: Sequence[Results]) -> Results:
    """Put results together that came in pieces; a lot costs the journal less."""
    values = [value for part in parts for value in part.values]
    details = [part.details for part in parts]
    if None in details:
        return Results(values)
    return Results(values, [one for some in details if some is not None for one in some])


def _log_error(error: BaseException) -> None:
    LOGGER.error("lane: a step failed", exc_info=error)


def give_up(calls: Calls, error: Exception) -> DriverError:
    """End a batch whose own side has failed with an error that chains the cause; return that."""
    failure = DriverError(f"a batch could not be served ({type(error).__name__}: {error})")
    failure.__cause__ = error
    calls.give_up(failure)
    return failure
