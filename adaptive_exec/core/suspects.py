"""What becomes of a dead worker's tasks: who runs again, who is suspected, and who runs alone.

Who is to blame and who is poison is judged in `quarantine`. A suspect waits at the end of its
batch's line, goes out by itself, and only to a level that isolates.
"""

from adaptive_exec.core.batch import Batch
from adaptive_exec.core.bounds import FOREVER
from adaptive_exec.core.counts import fail, give_back, launch
from adaptive_exec.core.events import TasksAccused, TaskUnwanted, WorkerLost
from adaptive_exec.core.instructions import KillWorker
from adaptive_exec.core.moves import call_home
from adaptive_exec.core.quarantine import KILLED_WITH_ALL, STOPPED, Suspect, accuse, is_poison
from adaptive_exec.core.reason import Code, Fact, Reason, because
from adaptive_exec.core.roster import Flight
from adaptive_exec.core.state import State
from adaptive_exec.specs import ISOLATED, is_isolated

ACCUSED_WAIT_SECONDS = 600.0
"""Seconds after which one that ran when its program was killed gets its turn although its batch
still has other work to send. Source: own choice."""
SUSPECT_WAIT_SECONDS = 10.0
"""Seconds after which a suspect gets its turn although its batch still has other work to send."""


def kill(state: State, flight: Flight, reason: Reason, *, severity: str = "warning") -> None:
    """Order the killing of a chunk's worker; it gets no more work, whatever it still reports."""
    flight.is_doomed = True
    state.orders.append(KillWorker(flight.level, flight.worker, reason))
    state.explain("killed", severity, f"worker {flight.worker}", reason)


def let_go(state: State, event: TaskUnwanted) -> None:
    """End a task that nobody waits for where that can be done, but nothing that runs before it."""
    for flight in state.flights.values():
        if flight.batch == event.batch and flight.next <= event.index < flight.stop:
            known = event.index if flight.unwanted is None else flight.unwanted
            flight.unwanted = min(known, event.index)
            end_unwanted(state, flight)
            return


def end_unwanted(state: State, flight: Flight) -> None:
    """Kill the worker of a task that nobody waits for, once all before it have ended."""
    if flight.unwanted is None or flight.is_doomed or not is_isolated(flight.level):
        return
    if flight.unwanted < flight.next:
        flight.unwanted = None
    elif flight.unwanted == flight.next:
        flight.overdue = flight.unwanted
        reason = because(Code.TASK_UNWANTED, task=flight.unwanted)
        kill(state, flight, reason, severity="info")


def rerun(state: State, flight: Flight, lost: WorkerLost) -> None:
    """Put the unfinished tasks of a dead worker where they belong."""
    if flight.next == flight.stop:
        return
    batch = state.batches[flight.batch]
    running = lost.running
    if flight.overdue is not None and flight.next <= flight.overdue < flight.stop:
        _end_overdue(state, batch, flight, lost)
    elif not lost.known:
        _rerun_unknown(state, batch, flight, lost)
    elif running is None or not flight.next <= running < flight.stop:
        put_back(state, batch, flight)
    else:
        _rerun_known(state, batch, flight, lost, running)


def _end_overdue(state: State, batch: Batch, flight: Flight, lost: WorkerLost) -> None:
    """End the task that ran out of time; its worker may have been at a later one when it died."""
    index = last = flight.overdue or 0
    if lost.known and lost.running is not None and index < lost.running < flight.stop:
        last = lost.running
    give_back(state, batch, last + 1, flight.stop, executions=flight.attempt - 1)
    _give_back_begun(state, batch, flight, index + 1, last + 1)
    _give_back_begun(state, batch, flight, flight.next, index)
    facts: dict[str, Fact] = {"task": index, "limit": state.config.task_timeout}
    code = Code.TASK_UNWANTED if flight.unwanted == index else Code.TASK_OVERDUE
    reason = because(code, **facts, executions=flight.attempt)
    fail(state, batch, index, index + 1, reason)


def _rerun_unknown(state: State, batch: Batch, flight: Flight, lost: WorkerLost) -> None:
    if _is_excused(flight, lost) and state.config.retries:
        put_back(state, batch, flight)
        return
    accuse_all(state, batch, flight, lost)


def _rerun_known(
    state: State, batch: Batch, flight: Flight, lost: WorkerLost, running: int
) -> None:
    """Before the running task may lie some whose results died with the worker."""
    if _is_excused(flight, lost) and state.config.retries:
        put_back(state, batch, flight, ran=running)
    else:
        give_back(state, batch, running + 1, flight.stop, executions=flight.attempt - 1)
        first = flight.next if lost.foul else running
        _give_back_begun(state, batch, flight, flight.next, first)
        for index in range(first, running + 1):
            _accuse(state, batch, flight, lost, index)


def _is_excused(flight: Flight, lost: WorkerLost) -> bool:
    """Say whether nothing is held against what ran; the loss of a starter is excused once."""
    return lost.blameless and not (lost.starter and flight.attempt > 1)


def put_back(state: State, batch: Batch, flight: Flight, *, ran: int | None = None) -> None:
    """Put a chunk back without suspicion; `ran` is the task that ran, None when none had begun."""
    if flight.is_suspect:
        record = batch.records[flight.start]
        executions = flight.attempt - (ran is None)
        batch.records[flight.start] = record.again(executions=executions)
        _line_up(state, batch, flight.start)
    elif ran is not None:
        give_back(state, batch, ran + 1, flight.stop, executions=flight.attempt - 1)
        give_back(state, batch, flight.next, ran + 1, executions=flight.attempt)
    else:
        give_back(state, batch, flight.next, flight.stop, executions=flight.attempt - 1)


def _give_back_begun(state: State, batch: Batch, flight: Flight, start: int, stop: int) -> None:
    """Give back tasks that began, which retries=0 allows only once."""
    if state.config.retries:
        give_back(state, batch, start, stop, executions=flight.attempt)
    else:
        reason = because(Code.RETRIES_SPENT, executions=flight.attempt)
        fail(state, batch, start, stop, reason)


def accuse_all(state: State, batch: Batch, flight: Flight, lost: WorkerLost) -> None:
    """Suspect each unfinished task of a chunk, since nobody knows which of them ran."""
    for index in range(flight.next, flight.stop):
        _accuse(state, batch, flight, lost, index)


def _accuse(state: State, batch: Batch, flight: Flight, lost: WorkerLost, index: int) -> None:
    before = batch.records.get(index)
    is_accused = before is not None and before.is_accused
    record = accuse(
        before,
        lost,
        executions=flight.attempt,
        is_alone=flight.is_alone,
        is_fatal=bool(state.host.wide_kill) or lost.cause == STOPPED or is_accused,
        wall_bytes=flight.wall_bytes or 0,
    )
    batch.records[index] = record
    reason = _line_up(state, batch, index)
    if reason.code is Code.SUSPECT and lost.known:
        state.explain("suspected", "info", f"task {index}", reason)


def take_accused(state: State, batch: Batch, event: TasksAccused) -> None:
    """Take in tasks that ran when their program was killed: they run last, and alone."""
    for index in range(event.start, event.stop):
        batch.aside.discard(index)
        since = state.now + ACCUSED_WAIT_SECONDS - SUSPECT_WAIT_SECONDS
        batch.records[index] = Suspect(
            event.deaths, event.deaths, 0, since, KILLED_WITH_ALL, for_memory=True, is_accused=True
        )
        reason = _line_up(state, batch, index)
        if reason.code is Code.SUSPECT:
            state.explain("suspected", "info", f"task {index}", reason)


def _line_up(state: State, batch: Batch, index: int) -> Reason:
    """Let a suspect wait for its turn, or end it where it shall have none."""
    reason = _judge(state, batch, batch.records[index], index)
    if reason.code is Code.POISON:
        state.explain("quarantined", "warning", f"task {index}", reason)
    if reason.code is Code.SUSPECT:
        batch.line.append(index)
        state.suspects += 1
        call_home(state, batch, reason)
    else:
        fail(state, batch, index, index + 1, reason)
    return reason


def _judge(state: State, batch: Batch, record: Suspect, index: int) -> Reason:
    facts: dict[str, Fact] = {"task": index, "cause": record.cause}
    facts |= {"executions": record.executions, "peak": record.peak_bytes}
    facts["limit"] = state.host.limit_bytes
    retries = state.config.retries
    if retries == 0:
        return because(Code.RETRIES_SPENT, **facts)
    if is_poison(record, retries):
        return because(Code.POISON, **facts)
    if batch.dropped:
        return because(Code.STOP_ASKED, **facts)
    if not _is_isolation_to_be_had(state, batch):
        return because(Code.NO_ISOLATION, **facts)
    return because(Code.SUSPECT, **facts)


def _is_isolation_to_be_had(state: State, batch: Batch) -> bool:
    roster = state.levels.isolated
    is_gone = roster.is_leaving or roster.is_shut or state.levels.broken is not None
    return batch.portable and ISOLATED in state.config.ladder and not is_gone


def due_suspect(state: State) -> tuple[Batch, int] | None:
    """Name the suspect whose turn it is, None when there is none or no isolated worker is idle."""
    roster = state.levels.isolated
    if roster.state != "open" or not roster.idle:
        return None
    for batch in state.batches.values():
        if batch.line and _is_due(state, batch):
            return batch, batch.line[0]
    return None


def _is_due(state: State, batch: Batch) -> bool:
    """Say whether a batch has nothing else to send: all is out, or its caller waits for this."""
    return not batch.pending or batch.is_glutted or state.now >= _turn_at(batch)


def _turn_at(batch: Batch) -> float:
    return batch.records[batch.line[0]].since + SUSPECT_WAIT_SECONDS


def next_turn_at(state: State) -> float:
    """Say when the next suspect has waited for long enough; never when none has to wait."""
    turns = [_turn_at(batch) for batch in state.batches.values() if batch.line and batch.pending]
    return min((turn for turn in turns if turn > state.now), default=FOREVER)


def send_suspect(state: State, batch: Batch, index: int) -> bool:
    """Send a suspect by itself; one that died for memory waits until nothing else is out.

    Returns:
        False when it has to wait, and all others with it.
    """
    record = batch.records[index]
    if record.for_memory and state.out:
        return False
    batch.line.popleft()
    state.suspects -= 1
    roster = state.levels.isolated
    tasks = (index, index + 1)
    flight = launch(state, roster, batch, tasks, attempt=record.executions + 1, is_suspect=True)
    if record.for_memory:
        state.solo = flight.chunk
    return True
