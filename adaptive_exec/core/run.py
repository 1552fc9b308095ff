"""One executor's work on its way through: events go in, instructions come out, each with a reason.

The law of this file: it says what each event changes at once and in which order the consequences
are drawn; what follows is decided elsewhere. `moves` chooses levels, `staffing` workers,
`dispatch` chunks, `suspects` who runs alone, `counts` keeps the counts. Kept here: results are
delivered before their room is filled again, a level closes before the one that replaces it
opens, silence (no Pull) is the only back-pressure, and after Finish nothing is ordered.
"""

from collections.abc import Iterator
from typing import assert_never

from adaptive_exec.config import Config
from adaptive_exec.core.acquainted import keep_costs
from adaptive_exec.core.batch import Batch
from adaptive_exec.core.beside import look_beside, next_look_at, take_in_beside
from adaptive_exec.core.bounds import FOREVER
from adaptive_exec.core.costs import believe, learn
from adaptive_exec.core.counts import deliver, drop, fail, give_back, land, recall
from adaptive_exec.core.dispatch import dispatch, pull
from adaptive_exec.core.events import (
    BatchDropped,
    BatchOpened,
    ChunkDone,
    ChunkProgressed,
    Event,
    FunctionRefused,
    GroupsMade,
    HandoverChanged,
    HashesDiffer,
    HostSampled,
    InitializerFailed,
    InputExhausted,
    JournalFailed,
    JournalOpened,
    JournalSkipped,
    LevelClosed,
    LevelLost,
    ObjectsCopied,
    PlacesCounted,
    ResultsTaken,
    ShareChanged,
    StarterChanged,
    StarterChosen,
    StartRefused,
    StopRequested,
    TaskOverdue,
    TasksAccused,
    TasksArrived,
    TasksFreed,
    TasksRecalled,
    TasksSetAside,
    TasksSized,
    TasksUnbegun,
    TaskUnwanted,
    TimerFired,
    Usage,
    WorkerLost,
    WorkerReady,
    WorkerStalled,
    WorkersTimed,
    WorkLeft,
)
from adaptive_exec.core.instructions import Finish, FinishBatch, Instruction, ReadHost, SetTimer
from adaptive_exec.core.memory.fitting import refit
from adaptive_exec.core.memory.governor import Verdict
from adaptive_exec.core.memory.learning import note_done, remember, take_measures
from adaptive_exec.core.memory.readings import judge_host, look_at_first_chunks, look_if_long_ago
from adaptive_exec.core.memory.walls import move_walls, note_groups, tell_of_wide_kill
from adaptive_exec.core.moves import (
    close_drained,
    consider_move,
    fail_stranded,
    give_up,
    leave_processes,
    next_trial_at,
    pass_trial,
    reopen,
    settle_in,
)
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.roster import Flight, Roster
from adaptive_exec.core.rules import broken_rules
from adaptive_exec.core.sharing.share import Share
from adaptive_exec.core.sharing.tenancy import next_trade_at, take_share, trade
from adaptive_exec.core.sharing.waiting import look_at_cores, take_times
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.core.staffing import (
    do_without,
    lose,
    next_start_at,
    note_copied,
    note_hashes,
    note_price,
    note_starter,
    note_way,
    release,
    replace_stalled,
    staff,
    take_in,
)
from adaptive_exec.core.state import State
from adaptive_exec.core.suspects import (
    end_unwanted,
    kill,
    let_go,
    next_turn_at,
    put_back,
    take_accused,
)
from adaptive_exec.specs import is_isolated

GraveEvent = (
    BatchDropped
    | BatchOpened
    | ChunkDone
    | FunctionRefused
    | HandoverChanged
    | HostSampled
    | InitializerFailed
    | InputExhausted
    | JournalFailed
    | JournalOpened
    | JournalSkipped
    | LevelClosed
    | LevelLost
    | PlacesCounted
    | ShareChanged
    | StarterChanged
    | StarterChosen
    | ObjectsCopied
    | HashesDiffer
    | GroupsMade
    | StartRefused
    | StopRequested
    | TaskOverdue
    | TaskUnwanted
    | TasksArrived
    | TasksSized
    | TasksAccused
    | TasksFreed
    | TasksRecalled
    | TasksSetAside
    | TasksUnbegun
    | TimerFired
    | WorkerLost
    | WorkerReady
    | WorkersTimed
    | WorkerStalled
    | WorkLeft
)
"""Events from which anything may follow."""


class Run:
    """The state machine of one executor. Pure, owned by one driver, needs no lock.

    Args:
        config: The settings.
        host: What the host affords at the start.

    Attributes:
        state: All that is known; to be read only.
        finished: True once nothing is ordered any more.
    """

    def __init__(self, config: Config, host: HostSnapshot) -> None:
        self.state = State(config, host)
        self.finished = False

    @property
    def host(self) -> HostSnapshot:
        """The last snapshot that was judged."""
        return self.state.host

    @property
    def verdict(self) -> Verdict:
        """How tight memory was judged to be last."""
        return self.state.memory.verdict

    @property
    def batches(self) -> dict[int, Batch]:
        """Batches that are not finished, by id."""
        return self.state.batches

    @property
    def rosters(self) -> dict[str, Roster]:
        """The workers, by level."""
        return self.state.levels.rosters

    @property
    def flights(self) -> dict[int, Flight]:
        """Chunks that were sent and are not over, by id."""
        return self.state.flights

    def handle(self, event: Event) -> list[Instruction]:
        """Take an event in.

        Args:
            event: What happened; its time is not before that of the last one.

        Returns:
            What the driver must do now, in this order.
        """
        state = self.state
        state.now = event.at
        orders: list[Instruction] = []
        state.orders = orders
        if self.finished:
            return orders
        if isinstance(event, ResultsTaken):
            if _take_room(state, event):
                self._draw_consequences()
        elif isinstance(event, ChunkProgressed):
            _progress(state, event)
        else:
            if state.beside is None or not take_in_beside(state, event):
                _take_in(state, event)
            self._draw_consequences()
        return orders

    @property
    def share(self) -> Share | None:
        """What the run may have beside others, None before it was told."""
        return self.state.sharing.share

    def check(self) -> Iterator[str]:
        """Name every rule that does not hold now; tests and the simulator ask after each event."""
        return broken_rules(self.state)

    def _draw_consequences(self) -> None:  # noqa: C901  # one after the other
        state = self.state
        if state.levels.ailing:
            _finish_done(state)
            reopen(state)
        if state.levels.ailing or state.is_stopping:
            close_drained(state)
        staff(state)
        newest = state.last_chunk_id
        dispatch(state)
        if state.last_chunk_id != newest and state.out > 1:
            move_walls(state)
        if state.beside is not None:
            look_beside(state)
        trade(state)
        look_at_cores(state)
        look_at_first_chunks(state)
        if state.is_watching and state.now >= state.memory.next_look:
            state.memory.await_reading()
            state.orders.append(ReadHost())
        is_one_done = False
        for batch in state.batches.values():
            _look_after(state, batch)
            is_one_done |= batch.exhausted and batch.is_finished
        if is_one_done:
            _finish_done(state)
        if state.is_stopping and not state.batches:
            self._close_all()
        _set_timer(state)

    def _close_all(self) -> None:
        state = self.state
        for roster in state.levels.rosters.values():
            if roster.state == "open":
                roster.see("stopped")
        close_drained(state)
        if all(roster.state == "closed" for roster in state.levels.rosters.values()):
            self.finished = True
            state.orders.append(Finish())


def _look_after(state: State, batch: Batch) -> None:
    """Fail what cannot be run, and ask for more."""
    if (batch.pending or batch.line) and (
        state.levels.ailing or state.levels.broken or not batch.portable
    ):
        fail_stranded(state, batch)
    if not batch.exhausted:
        pull(state, batch)


def _finish_done(state: State) -> None:
    """End the batches that are done."""
    for batch in tuple(state.batches.values()):
        if batch.is_finished:
            batch.see("done")
            del state.batches[batch.id]
            remember(state, batch)
            keep_costs(state, batch)
            state.orders.append(FinishBatch(batch.id))


def _set_timer(state: State) -> None:
    """Ask to be woken when next something changes by itself; never for a moment in the past."""
    at = state.memory.next_look if state.is_watching else FOREVER
    if state.memory.room_until > state.now and state.is_short_of_room:
        at = min(at, state.memory.room_until)
    at = min(at, next_start_at(state))
    if state.sharing.next_timing > state.now:
        at = min(at, state.sharing.next_timing)
    if state.levels.ailing:
        at = min(at, next_trial_at(state))
    if state.beside is not None:
        at = min(at, next_look_at(state))
    if state.suspects:
        at = min(at, next_turn_at(state))
    if state.sharing.is_sharing:
        at = min(at, next_trade_at(state))
    wanted = None if at == FOREVER else at
    if wanted != state.timer_at:
        state.timer_at = wanted
        state.orders.append(SetTimer(wanted))


def _take_in(state: State, event: GraveEvent) -> None:  # noqa: C901, PLR0912, PLR0915  # one arm per event
    match event:
        case ChunkDone():
            _end_chunk(state, event)
        case TasksUnbegun():
            _take_back(state, event)
        case TasksArrived():
            _admit(state, event)
        case TasksSized():
            take_measures(state, event)
        case TasksSetAside() | TasksRecalled() | TasksFreed() | TasksAccused():
            _heed_journal(state, event)
        case JournalOpened() | JournalFailed() | JournalSkipped():
            _tell_of_journal(state, event)
        case BatchOpened():
            tell_of_wide_kill(state)
            settle_in(state, event)
            look_if_long_ago(state)
        case InputExhausted():
            if batch := state.batches.get(event.batch):
                batch.see("input ended")
        case BatchDropped():
            if batch := state.batches.get(event.batch):
                drop(state, batch)
        case WorkerReady():
            take_in(state, event)
        case StartRefused():
            do_without(state, event)
        case StarterChanged():
            note_starter(state, event)
        case StarterChosen():
            note_way(state, event)
        case ObjectsCopied():
            note_copied(state, event)
        case HashesDiffer():
            note_hashes(state, event)
        case GroupsMade():
            note_groups(state, event)
        case InitializerFailed():
            give_up(state, event)
        case FunctionRefused():
            _refuse_function(state, event)
        case TaskOverdue():
            _end_overdue(state, event)
        case TaskUnwanted():
            let_go(state, event)
        case WorkerStalled():
            replace_stalled(state, event)
        case WorkLeft():
            _tell_of_left_work(state, event)
        case WorkerLost():
            lose(state, event)
        case LevelClosed():
            _note_closed(state.levels.rosters[event.level])
        case HostSampled():
            judge_host(state, event)
        case ShareChanged():
            take_share(state, event)
            refit(state)
        case HandoverChanged():
            _heed_handover(state, event)
        case PlacesCounted() | LevelLost():
            pass  # of the level beside, which has taken them in
        case WorkersTimed():
            take_times(state, event)
        case TimerFired():
            state.timer_at = None
        case StopRequested():
            _stop(state, event)
        case _:
            assert_never(event)


def _tell_of_left_work(state: State, event: WorkLeft) -> None:
    reason = because(Code.WORK_LEFT, seconds=event.seconds, threads=event.threads or "none")
    state.explain("cut off", "warning", f"worker {event.worker}", reason)


def _admit(state: State, event: TasksArrived) -> None:
    batch = state.batches.get(event.batch)
    if batch is None:
        return
    batch.arrive(event.count)
    if batch.dropped:
        drop(state, batch)
    if event.is_last:
        batch.see("input ended")


def _heed_journal(
    state: State, event: TasksSetAside | TasksRecalled | TasksFreed | TasksAccused
) -> None:
    """Take in what need not be run here, or not yet; a dropped batch wants none of it."""
    batch = state.batches.get(event.batch)
    if batch is None:
        return
    match event:
        case TasksSetAside():
            batch.set_aside(event.count)
            if batch.dropped:
                drop(state, batch)
        case _ if batch.dropped:
            pass
        case TasksRecalled():
            recall(state, batch, event.start, event.stop, result_bytes=event.result_bytes)
        case TasksAccused():
            take_accused(state, batch, event)
        case TasksFreed():
            batch.free(event.start, event.stop)


def _tell_of_journal(state: State, event: JournalOpened | JournalFailed | JournalSkipped) -> None:
    match event:
        case JournalOpened():
            code = Code.JOURNAL_OPENED if event.has_log else Code.NETWORK_FILE_SYSTEM
            kind = "write-ahead log" if event.has_log else "rollback journal"
            facts = because(code, known=event.tasks, file_system=event.file_system, kind=kind)
            state.explain("opened", "info", "journal", facts)
        case JournalFailed():
            for batch in state.batches.values():
                batch.recorded = False
            reason = because(Code.JOURNAL_FAILED, error=event.error)
            state.explain("stopped", "warning", "journal", reason)
        case JournalSkipped():
            reason = because(Code.NO_KEY, batch=event.batch, error=event.error)
            state.explain("skipped", "warning", "journal", reason)


def _heed_handover(state: State, event: HandoverChanged) -> None:
    """Send no more of what cannot be handed over for now; other batches go on."""
    was_full = state.is_recording_full or state.is_setting_full
    state.is_recording_full, state.is_setting_full = event.recorded, event.single
    is_full = event.recorded or event.single
    if is_full != was_full:
        reason = because(Code.HANDOVER_FULL, waiting=event.waiting)
        state.explain("held" if is_full else "resumed", "info", "results", reason)


def _take_room(state: State, event: ResultsTaken) -> bool:
    """Make room for more when results are taken; return whether tasks waited for it."""
    batch = state.batches.get(event.batch)
    if batch is None:
        return False
    batch.taken += event.count
    pull(state, batch)
    return batch.is_glutted


def _progress(state: State, event: ChunkProgressed) -> None:
    flight = state.flights.get(event.chunk)
    if flight is None or not event.count:
        return
    deliver(state, flight, event.count)
    end_unwanted(state, flight)
    state.levels.rosters[flight.level].strikes = 0


def _end_chunk(state: State, event: ChunkDone) -> None:
    flight = state.flights.get(event.chunk)
    if flight is None:
        return
    deliver(state, flight, event.count)
    batch = land(state, flight)
    usage = believe(event.usage)
    note_price(state, flight, batch, usage)
    roster = release(state, flight, batch, usage)
    if flight.next < flight.stop:
        put_back(state, batch, flight)
    batch.costs = learn(batch.costs, usage, isolated=is_isolated(flight.level))
    note_done(state, flight, batch, usage)
    if flight.next > flight.start:
        roster.strikes = 0
        if roster.on_trial:
            pass_trial(state, roster, batch)
            return
    if not flight.is_suspect:
        consider_move(state, batch)


def _take_back(state: State, event: TasksUnbegun) -> None:
    """Let tasks go elsewhere that stand behind one which runs for long."""
    flight = state.flights.get(event.chunk)
    if flight is None or not flight.next < event.stop < flight.stop:
        return
    batch = state.batches[flight.batch]
    give_back(state, batch, event.stop, flight.stop, executions=flight.attempt - 1)
    flight.stop = event.stop


def _refuse_function(state: State, event: FunctionRefused) -> None:
    """Take a chunk back that found its worker without its function; a suspect has nowhere to go."""
    flight = state.flights.get(event.chunk)
    if flight is None:
        return
    batch = land(state, flight)
    release(state, flight, batch, Usage(0, 0.0))
    if flight.is_suspect:
        reason = because(Code.NO_ISOLATION, error=event.error, executions=flight.attempt - 1)
        fail(state, batch, flight.start, flight.stop, reason)
    else:
        give_back(state, batch, flight.next, flight.stop, executions=flight.attempt - 1)
    leave_processes(state, batch, event.error)


def _end_overdue(state: State, event: TaskOverdue) -> None:
    """Kill the worker of a task that ran out of time, where that can be done."""
    flight = state.flights.get(event.chunk)
    if flight is None or flight.is_doomed or not is_isolated(flight.level):
        return
    flight.overdue = event.index
    ran, limit = round(event.ran_seconds, 3), state.config.task_timeout
    kill(state, flight, because(Code.TASK_OVERDUE, task=event.index, ran=ran, limit=limit))


def _note_closed(roster: Roster) -> None:
    if roster.state == "closing":
        roster.clear()
        roster.see("gone")


def _stop(state: State, event: StopRequested) -> None:
    state.is_stopping = True
    for batch in state.batches.values():
        if event.cancel:
            drop(state, batch)
        elif batch.buffer_tasks is not None:
            batch.see("input ended")
