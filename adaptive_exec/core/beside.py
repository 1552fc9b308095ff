"""The level beside the ladder: an engine's workers elsewhere, which take a share of each batch.

Its share is how many chunks may be out there; to fall back means that this becomes 0. It is lost as
a whole or worker by worker, what was out goes elsewhere by number, and it is tried again after calm
with one task. Tasks that were with a worker that died are sent there one by one, so that the next
death has a name; those that see two run alone in a process here, as any suspect.
"""

from typing import Final

from adaptive_exec.core.batch import Batch
from adaptive_exec.core.bounds import FOREVER, SECONDS, WORKERS, bound
from adaptive_exec.core.chunks import chunk_tasks, single_tasks, was_short
from adaptive_exec.core.costs import CHUNK_SECONDS, Costs, believe, has_sample, learn
from adaptive_exec.core.counts import deliver, fail, give_back, land, launch
from adaptive_exec.core.dispatch import has_room_in_flight, may_send_of, put_behind
from adaptive_exec.core.events import (
    ChunkDone,
    Event,
    FunctionRefused,
    InitializerFailed,
    LevelClosed,
    LevelLost,
    PlacesCounted,
    StartRefused,
    Usage,
    WorkerLost,
    WorkerReady,
)
from adaptive_exec.core.instructions import CloseLevel, OpenLevel, RetireWorker, StartWorkers
from adaptive_exec.core.ladder import CALM_SECONDS, shut
from adaptive_exec.core.largest import LargestFirst
from adaptive_exec.core.memory.recycle import Service
from adaptive_exec.core.reason import Code, Fact, because
from adaptive_exec.core.roster import Flight
from adaptive_exec.core.state import BesideState, State
from adaptive_exec.core.suspects import accuse_all, kill
from adaptive_exec.specs import BESIDE, is_beside, is_isolated

TRIPS_PER_CHUNK: Final = 20
"""Times the way there and back that a chunk's work takes at least, so that 5 % is spent on it."""
BESIDE_CHUNK_SECONDS_MAX: Final = 2.0
"""Seconds of work in a chunk at most, however far it is: what a dead worker had is run again."""
OVERDUE_SECONDS_MIN: Final = 30.0
"""Seconds that a chunk may be out at least. Source: own choice; workers may have much to import."""
OVERDUE_FACTOR: Final = 4
"""Times as long as 99 % of those before it that a chunk may be out; four times that at each try."""
OVERDUE_TRIES_MAX: Final = 5
"""Tries for which that grows."""
QUEUE_CHUNKS: Final = 2
"""Chunks that stand one behind the other at each of an engine's slots."""
LATE_MAX: Final = 3
"""Chunks in a row past their time after which the level is left."""
DEATHS_MAX: Final = 5
"""Chunks in a row lost with their workers after which it is left."""
GROWTH: Final = 2
"""Factor by which its share grows with each chunk that comes back, after a trial."""


def take_in_beside(state: State, event: Event) -> bool:
    """Take in what happened at the level beside; return False where it is another's affair."""
    match event:
        case ChunkDone() | FunctionRefused():
            flight = state.flights.get(event.chunk)
            if flight is None or not is_beside(flight.level):
                return False
            _end_chunk(state, flight, event)
        case (
            WorkerReady()
            | StartRefused()
            | WorkerLost()
            | LevelClosed()
            | PlacesCounted()
            | LevelLost()
            | InitializerFailed()
        ):
            if not is_beside(event.level):
                return False
            _change(state, event)
        case _:
            return False
    return True


def _change(
    state: State,
    event: WorkerReady
    | StartRefused
    | WorkerLost
    | LevelClosed
    | PlacesCounted
    | LevelLost
    | InitializerFailed,
) -> None:
    match event:
        case WorkerReady():
            _take_in(_beside(state), event)
        case StartRefused() | InitializerFailed():
            _do_without(state, event.worker, event.error)
        case WorkerLost():
            _lose(state, event)
        case LevelClosed():
            _note_closed(_beside(state))
        case PlacesCounted():
            _count(state, event)
        case LevelLost():
            _leave(state, Code.HELP_LOST, event.error)


def look_beside(state: State) -> None:
    """Draw the consequences at the level beside: leave it, try it again, have it work."""
    beside = _beside(state)
    if state.now >= beside.soonest_at:
        _end_overdue(state)
    _close_drained(state)
    _try_again(state)
    _staff(state)
    while _may_send(state) and _send_next(state):
        pass
    if beside.unbound:
        _set_bounds(state)


def next_look_at(state: State) -> float:
    """Say when something changes there by itself; never where nothing does."""
    beside = _beside(state)
    at = beside.soonest_at if beside.due_at else FOREVER
    until = beside.roster.breaker.shut_until
    if until is not None and _is_wanted(state):
        at = min(at, until)
    return at if at > state.now else FOREVER


def _beside(state: State) -> BesideState:
    assert state.beside is not None, "asked only where there is one"
    return state.beside


# who is there


def _is_wanted(state: State) -> bool:
    """Say whether a batch has tasks that may go there."""
    return any(
        batch.left != 0 and _beside(state).may_help(batch) for batch in state.batches.values()
    )


def _staff(state: State) -> None:
    """Take the places that there are; the first opens the level, and asks what it has."""
    beside = _beside(state)
    roster = beside.roster
    if roster.is_shut or roster.is_leaving or state.levels.broken or state.is_stopping:
        return
    if roster.state == "closed":
        if _is_wanted(state):
            roster.goal = roster.cap = 1
            _order(state, 1)
        return
    roster.goal = max(beside.places, roster.size, 1)
    _order(state, min(beside.places, roster.cap) - roster.size)
    while roster.idle and roster.size > max(1, beside.places):
        worker = roster.idle[0]
        roster.remove(worker)
        state.orders.append(RetireWorker(BESIDE, worker))


def _order(state: State, count: int) -> None:
    if count <= 0:
        return
    roster = _beside(state).roster
    workers = tuple(state.new_worker_id() for _ in range(count))
    roster.order(workers)
    if roster.state == "closed":
        roster.see("opened")
        state.orders.append(OpenLevel(BESIDE, workers))
    else:
        state.orders.append(StartWorkers(BESIDE, workers))


def _take_in(beside: BesideState, event: WorkerReady) -> None:
    if event.worker in beside.roster.starting:
        beside.roster.ready(event.worker, Service(event.at))


def _do_without(state: State, worker: int, error: str) -> None:
    """A place cannot be had; without any the level is left."""
    roster = _beside(state).roster
    if worker not in roster.starting:
        return
    roster.remove(worker)
    if not roster.size:
        _leave(state, Code.START_REFUSED, error)


def _count(state: State, event: PlacesCounted) -> None:
    """The engine was asked what it has; after a failure its share grows from one chunk."""
    beside = _beside(state)
    roster, before = beside.roster, beside.places
    if roster.state != "open":
        return
    beside.places = bound(event.places, WORKERS)
    beside.trip_seconds = bound(event.trip_seconds, SECONDS)
    roster.goal = max(beside.places, roster.size, 1)
    if not (roster.on_trial or 1 < roster.cap < before):
        roster.cap = max(1, beside.places)
    if before != beside.places:
        reason = because(Code.HELP_FOUND, places=beside.places, trip=round(event.trip_seconds, 6))
        state.explain("counted", "info", BESIDE, reason)


def _note_closed(beside: BesideState) -> None:
    if beside.roster.state == "closing":
        beside.roster.clear()
        beside.roster.see("gone")


# down and up


def _leave(state: State, code: Code, error: str) -> None:
    """Send nothing there any more until calm has passed; what is out may still come back."""
    beside = _beside(state)
    roster = beside.roster
    if roster.is_shut or roster.is_leaving:
        return
    was_trial, roster.on_trial = roster.on_trial, False
    if was_trial:
        code = Code.TRIAL_FAILED
    wait = roster.breaker.calm_seconds
    roster.breaker = shut(roster.breaker._replace(error=error), state.now)
    if roster.state in {"open", "closed"}:
        roster.see("failed")
    beside.places = beside.late = roster.strikes = 0
    reason = because(code, error=error, out=len(roster.busy), wait=wait)
    here = next((batch.level for batch in state.batches.values()), state.config.ladder[0])
    severity = "info" if was_trial else "warning"
    state.explain("degraded", severity, "run", reason, old=BESIDE, new=here)


def _close_drained(state: State) -> None:
    roster = _beside(state).roster
    if roster.state == "draining" and not roster.busy:
        roster.see("drained")
        state.orders.append(CloseLevel(BESIDE))


def _try_again(state: State) -> None:
    """Try it with one task once its calm time has passed."""
    roster = _beside(state).roster
    until = roster.breaker.shut_until
    if until is None or state.now < until or roster.state != "closed" or not _is_wanted(state):
        return
    roster.breaker = roster.breaker._replace(shut_until=None)
    roster.on_trial = True
    state.explain("trying", "info", "run", because(Code.CALM), new=BESIDE)


def _pass_trial(state: State) -> None:
    roster = _beside(state).roster
    roster.on_trial = False
    roster.breaker = roster.breaker._replace(calm_seconds=CALM_SECONDS)
    state.explain("restored", "info", "run", because(Code.TRIAL_PASSED), new=BESIDE)


# chunks go out


def _may_send(state: State) -> bool:
    roster = _beside(state).roster
    if not roster.idle or roster.state != "open" or (roster.on_trial and roster.busy):
        return False
    return state.memory.verdict.pressure != "critical" and has_room_in_flight(state)


def _send_next(state: State) -> bool:
    """Send a chunk of the first batch that has one for there, and put it behind the others."""
    beside = _beside(state)
    for batch in state.batches.values():
        if not (beside.may_help(batch) and may_send_of(state, batch)):
            continue
        put_behind(state, batch)
        if state.config.task_timeout is not None and batch.id not in beside.told:
            beside.told.add(batch.id)
            reason = because(Code.NOT_ENFORCED, limit=state.config.task_timeout, level=BESIDE)
            state.explain("unenforced", "warning", f"batch {batch.id}", reason)
        beside.chunk_tasks = _chunk_size(beside, batch)
        start, stop, executions = batch.take(beside.chunk_tasks)
        flight = launch(state, beside.roster, batch, (start, stop), attempt=executions + 1)
        if state.config.retries:  # without, a slow one is no lost one
            beside.unbound.add(flight.chunk)
        return True
    return False


def _chunk_size(beside: BesideState, batch: Batch) -> int:
    """Say how many tasks go together; such as were lost before go one by one."""
    roster = beside.roster
    if roster.on_trial or batch.next_executions or isinstance(batch, LargestFirst):
        return 1
    if batch.chunk_tasks is not None:
        return batch.chunk_tasks
    costs, workers = _known(batch), max(1, roster.size)
    if batch.single:
        return single_tasks(costs, batch.pending, workers)
    seconds = max(CHUNK_SECONDS, TRIPS_PER_CHUNK * beside.trip_seconds)
    seconds = min(seconds, BESIDE_CHUNK_SECONDS_MAX)
    return chunk_tasks(costs, batch.left, workers, seconds=seconds, may_jump=was_short(costs))


def _known(batch: Batch) -> Costs:
    """Return what tasks take there; before it is known, what they take here."""
    return batch.costs_beside if batch.costs_beside.tasks else batch.costs


def _set_bounds(state: State) -> None:
    """Say of chunks until when they are to be back, once it is known what such ones take."""
    beside = _beside(state)
    known = sorted(beside.elapsed_seconds)
    for chunk in list(beside.unbound):
        flight = state.flights[chunk]
        batch = state.batches[flight.batch]
        if batch.finished and has_sample(_known(batch)):  # what earlier batches took is a guess
            beside.unbound.discard(chunk)
            _set_bound(state, batch, flight, known)


def _set_bound(state: State, batch: Batch, flight: Flight, known: list[float]) -> None:
    """Say until when a chunk is to be back."""
    beside, costs = _beside(state), _known(batch)
    like = QUEUE_CHUNKS * costs.wall_seconds * (flight.stop - flight.start)
    if known:
        like = max(like, known[(99 * len(known)) // 100])
    tries = OVERDUE_FACTOR ** min(flight.attempt - 1, OVERDUE_TRIES_MAX)
    at = state.now + bound(tries * max(OVERDUE_SECONDS_MIN, OVERDUE_FACTOR * like), SECONDS)
    beside.due_at[flight.chunk] = at
    beside.soonest_at = min(beside.soonest_at, at)


# and come back


def _land(state: State, flight: Flight) -> Batch:
    beside = _beside(state)
    beside.due_at.pop(flight.chunk, None)
    beside.unbound.discard(flight.chunk)
    return land(state, flight)


def _end_chunk(state: State, flight: Flight, event: ChunkDone | FunctionRefused) -> None:
    roster = _beside(state).roster
    if isinstance(event, FunctionRefused):
        _refuse(state, flight, event.error)
        return
    deliver(state, flight, event.count)
    batch = _land(state, flight)
    usage = believe(event.usage)
    roster.release(flight.worker, usage)
    if flight.is_doomed:
        roster.remove(flight.worker)
    give_back(state, batch, flight.next, flight.stop, executions=flight.attempt - 1)
    if flight.next > flight.start:
        _learn(state, batch, flight, usage)


def _learn(state: State, batch: Batch, flight: Flight, usage: Usage) -> None:
    """It works: its share grows to what it has."""
    beside = _beside(state)
    roster = beside.roster
    batch.costs_beside = learn(batch.costs_beside, usage, isolated=True)
    beside.elapsed_seconds.append(bound(state.now - flight.since, SECONDS))
    beside.late = roster.strikes = 0
    if roster.on_trial:
        _pass_trial(state)
    if roster.cap < beside.places:
        roster.cap = min(beside.places, GROWTH * roster.cap)


def _refuse(state: State, flight: Flight, error: str) -> None:
    """A function cannot go there: its batch stays here, and nothing of it is lost."""
    beside = _beside(state)
    batch = _land(state, flight)
    beside.roster.release(flight.worker, Usage(0, 0.0))
    give_back(state, batch, flight.next, flight.stop, executions=flight.attempt - 1)
    if batch.id not in beside.refused:
        beside.refused.intersection_update(state.batches)
        beside.refused.add(batch.id)
        reason = because(Code.FUNCTION_NOT_PORTABLE, level=BESIDE, error=error)
        state.explain("refused", "warning", f"batch {batch.id}", reason)


def _end_overdue(state: State) -> None:
    """Take back what is past its time; when nothing comes back any more, leave."""
    beside = _beside(state)
    for chunk in [chunk for chunk, at in beside.due_at.items() if at <= state.now]:
        del beside.due_at[chunk]
        flight = state.flights[chunk]
        beside.late += 1
        beside.elapsed_seconds.append(bound(state.now - flight.since, SECONDS))
        out = round(state.now - flight.since, 3)
        kill(state, flight, because(Code.CHUNK_OVERDUE, chunk=chunk, out=out, late=beside.late))
    beside.soonest_at = min(beside.due_at.values(), default=FOREVER)
    if beside.late >= LATE_MAX:
        _leave(state, Code.CHUNK_OVERDUE, f"{beside.late} chunks in a row did not come back")


def _lose(state: State, event: WorkerLost) -> None:
    """A place is gone, with the chunk that was there."""
    roster = _beside(state).roster
    if not roster.knows(event.worker):
        return
    flight = roster.remove(event.worker)
    if flight is None:
        return
    batch = _land(state, flight)
    if not (flight.is_doomed or roster.is_leaving):
        facts: dict[str, Fact] = {"cause": event.cause, "unfinished": flight.stop - flight.next}
        reason = because(Code.WORKER_DIED, level=BESIDE, **facts)
        state.explain("lost", "warning", f"worker {event.worker}", reason)
    _rerun(state, batch, flight, event)
    if event.blameless or roster.is_leaving:
        return
    roster.strikes += 1
    if roster.on_trial or roster.strikes >= DEATHS_MAX:
        _leave(state, Code.NO_PROGRESS, event.cause)


def _rerun(state: State, batch: Batch, flight: Flight, event: WorkerLost) -> None:
    """Put a lost chunk's tasks where they belong; who may have killed never runs in the caller."""
    has_begun = event.running is not None or not event.known
    if not has_begun:
        give_back(state, batch, flight.next, flight.stop, executions=flight.attempt - 1)
    elif not state.config.retries:
        reason = because(Code.RETRIES_SPENT, cause=event.cause, executions=flight.attempt)
        fail(state, batch, flight.next, flight.stop, reason)
    elif event.blameless or (flight.attempt == 1 and is_isolated(batch.level)):
        give_back(state, batch, flight.next, flight.stop, executions=flight.attempt)
    else:
        accuse_all(state, batch, flight, event)
