"""How many workers each level gets: who is ordered, what follows from a refusal, a death or an age.

A refused start is tried again with growing patience. When that is spent the level keeps those
that did start and grows by one at a time after calm; only a level that got none is left.
"""

from typing import Final

from adaptive_exec.core.batch import Batch
from adaptive_exec.core.bounds import BYTES, FOREVER, SECONDS, bound
from adaptive_exec.core.counts import land
from adaptive_exec.core.events import (
    HashesDiffer,
    ObjectsCopied,
    StarterChanged,
    StarterChosen,
    StartRefused,
    Usage,
    WorkerLost,
    WorkerReady,
    WorkerStalled,
)
from adaptive_exec.core.instructions import KillWorker, OpenLevel, RetireWorker, StartWorkers
from adaptive_exec.core.ladder import CALM_SECONDS, CALM_SECONDS_MAX, refuse
from adaptive_exec.core.memory.fitting import is_weighed, refit
from adaptive_exec.core.memory.learning import note_death
from adaptive_exec.core.memory.readings import ROOM_SECONDS
from adaptive_exec.core.memory.recycle import (
    LEAK_WORKERS,
    Service,
    growth_per_task,
    suggest_recycle,
)
from adaptive_exec.core.memory.revealed import note_kill
from adaptive_exec.core.moves import degrade
from adaptive_exec.core.plan import is_short_of_memory
from adaptive_exec.core.quarantine import STOPPED, explain_death
from adaptive_exec.core.reason import Code, Fact, Reason, because
from adaptive_exec.core.roster import Flight, Roster
from adaptive_exec.core.sharing.tenancy import has_share, shed
from adaptive_exec.core.state import State
from adaptive_exec.core.suspects import kill, rerun
from adaptive_exec.specs import is_inline, is_isolated

STRIKES_MAX: Final = 5
"""Workers in a row that may die before their first result; then the level makes no progress."""

BARE_WAY = "bare zygote"
"""The way that differs from the usual one only in who loads what tasks need."""


def staff(state: State) -> None:
    """Order the workers that are wanted and missing."""
    for roster in state.levels.ranks:
        if roster.seats is not None:
            shed(state, roster)
        if roster.goal and roster.size < roster.goal and _may_order(state, roster):
            missing = _missing(state, roster)
            if missing > 0 and not _is_starved(state, roster):
                _order(state, roster, missing)


def _is_starved(state: State, roster: Roster) -> bool:
    """Say whether not even one worker process fits; a level for which none ever does is left."""
    is_short = state.memory.verdict.pressure == "critical" and not roster.size
    is_short = is_short and is_short_of_memory(state.host)
    if not (is_short and is_isolated(roster.level) and _has_lower(state)):
        state.starved_at = None
        return False
    if state.starved_at is None:
        state.starved_at = state.now
        facts: dict[str, Fact] = {"available": state.host.available_bytes, "out": state.out}
        reason = because(Code.ROOM_AWAITED, **facts, wait=ROOM_SECONDS)
        state.explain("waiting", "info", roster.level, reason)
    if state.now - state.starved_at >= ROOM_SECONDS:
        state.starved_at = None
        error = f"{state.host.available_bytes} bytes of memory available"
        roster.breaker = roster.breaker._replace(error=error)
        degrade(state, roster, Code.MEMORY_SHORT)
    return True


def _has_lower(state: State) -> bool:
    """Say whether tasks may go elsewhere: none is a suspect, and the settings allow it."""
    is_suspected = any(batch.records for batch in state.batches.values())
    return not is_suspected and not state.config.keeps_out and len(state.config.ladder) > 1


def _may_order(state: State, roster: Roster) -> bool:
    if roster.is_shut or roster.is_spent or state.levels.broken or state.is_changing_level:
        return False
    return state.now >= roster.start_after or not (roster.size or roster.breaker.tries)


def _missing(state: State, roster: Roster) -> int:
    wanted = min(_wanted(state, roster), roster.goal)
    if is_isolated(roster.level):
        wanted = min(wanted, max(len(roster.busy), state.memory.window.chunks))
    if (
        wanted > roster.cap
        and not (roster.starting or roster.on_trial)
        and _may_grow(state, roster)
    ):
        roster.cap = max(roster.cap, roster.size) + 1
    missing = min(wanted, roster.cap) - roster.size
    if missing > 0 and roster.idle:  # they take what waits first: the input may be slow
        waiting = sum(batch.pending + len(batch.line) for batch in _users(state, roster.level))
        missing = min(missing, waiting - len(roster.idle))
    if roster.seats is not None:
        missing = min(missing, roster.seats + roster.waiting - roster.size)
    if state.memory.verdict.pressure != "normal":
        missing = min(missing, 1 - roster.size)
    return min(missing, 1 - len(roster.starting)) if roster.breaker.tries else missing


def _may_grow(state: State, roster: Roster) -> bool:
    return roster.size >= roster.cap and state.memory.verdict.pressure == "normal"


def _order(state: State, roster: Roster, missing: int) -> None:
    if not has_share(state, roster):
        return
    workers = tuple(state.new_worker_id() for _ in range(missing))
    roster.order(workers)
    roster.start_after = 0.0
    if roster.state == "closed":
        roster.see("opened")
        state.orders.append(OpenLevel(roster.level, workers))
    else:
        state.orders.append(StartWorkers(roster.level, workers))


def _wanted(state: State, roster: Roster) -> int:
    level = roster.level
    users = _users(state, level)
    if is_inline(level):
        return sum(1 for batch in users if batch.out or _demand(batch, roster))
    suspects = state.suspects if is_isolated(level) else 0
    return len(roster.busy) + suspects + sum(_demand(batch, roster) for batch in users)


def _users(state: State, level: str) -> list[Batch]:
    return [batch for batch in state.batches.values() if level in (batch.level, batch.trial)]


def wants_more(state: State, roster: Roster) -> bool:
    """Say whether there is work for more workers than there are, and the plan allows them."""
    return roster.size < min(_wanted(state, roster), roster.goal)


def _demand(batch: Batch, roster: Roster) -> int:
    if batch.single or batch.buffer_tasks is not None:
        return batch.pending
    return roster.goal if batch.left is None else batch.left


def next_start_at(state: State) -> float:
    """Say when a level that has to wait may order workers; never when none has to."""
    at = FOREVER if state.starved_at is None else state.starved_at + ROOM_SECONDS
    for roster in state.levels.ranks:
        if state.now < roster.start_after < at and _wanted(state, roster) > roster.size:
            at = roster.start_after
    return at


# what becomes of them


def take_in(state: State, event: WorkerReady) -> None:
    """A worker that was ordered has reported for work."""
    roster = state.levels.rosters[event.level]
    if event.worker not in roster.starting:
        return
    roster.start_seconds = bound(event.start_seconds, SECONDS)
    roster.ready(event.worker, Service(state.now, birth_bytes=_known(event.size_bytes)))
    calm = roster.breaker.calm_seconds if roster.on_trial else CALM_SECONDS
    roster.breaker = roster.breaker._replace(tries=0, calm_seconds=calm)
    _judge_starts(state, roster)
    if not is_isolated(event.level) and is_weighed(state, event.level):
        refit(state)  # before anything is sent: from now on it is known what chunks there take


def _known(size_bytes: int | None) -> int | None:
    return None if size_bytes is None else bound(size_bytes, BYTES)


def do_without(state: State, event: StartRefused) -> None:
    """A worker that was ordered cannot be had."""
    roster = state.levels.rosters[event.level]
    if event.worker not in roster.starting:
        return
    roster.remove(event.worker)
    _count_refusal(state, roster, event.error, lasting=event.lasting)


def note_starter(state: State, event: StarterChanged) -> None:
    """Workers are started another way from now on; that they are no zygote's is news."""
    reason = because(Code.STARTER_UNFIT, error=event.error)
    severity = "info" if event.new == BARE_WAY else "warning"
    subject = f"{event.level} starter"
    state.explain("replaced", severity, subject, reason, old=event.old, new=event.new)


def note_way(state: State, event: StarterChosen) -> None:
    """Say how workers are going to be started."""
    reason = because(Code.STARTER_CHOSEN, why=event.why or None)
    state.explain("chosen", "debug", f"{event.level} starter", reason, new=event.way)


def note_copied(state: State, event: ObjectsCopied) -> None:
    """Say that tasks count, lock and wait beside the program, not with it."""
    instead = "start='snapshot', or a multiprocessing.Manager's object as an argument"
    reason = because(Code.OBJECTS_COPIED, way=event.way, instead=instead)
    state.explain("copied", "warning", event.names, reason)


def note_hashes(state: State, event: HashesDiffer) -> None:
    """Say that a text has two hashes in this program; within a batch results may show it."""
    severity = "warning" if event.is_midway else "info"
    reason = because(Code.HASHES_DIFFER, instead="PYTHONHASHSEED, set before Python starts")
    subject = f"{event.level} workers"
    state.explain("rehashed", severity, subject, reason, old=event.old, new=event.new)


def _count_refusal(state: State, roster: Roster, error: str, *, lasting: bool) -> None:
    roster.breaker = roster.breaker._replace(error=error)
    if roster.is_leaving:
        return
    if roster.on_trial:
        degrade(state, roster, Code.TRIAL_FAILED)
        return
    if lasting:
        roster.is_spent = True
    elif state.now >= roster.start_after and not roster.is_spent:
        _be_patient(state, roster, error)
    _judge_starts(state, roster)


def _be_patient(state: State, roster: Roster, error: str) -> None:
    roster.breaker, wait = refuse(roster.breaker, error)
    if wait is None:
        roster.is_spent = True
        return
    roster.start_after = state.now + wait
    reason = because(Code.START_RETRIED, error=error, wait=wait, tries=roster.breaker.tries)
    state.explain("waiting", "info", roster.level, reason)


def _judge_starts(state: State, roster: Roster) -> None:
    """Once patience is spent and every start has its answer: keep those there are, or leave."""
    if not roster.is_spent or roster.starting or roster.is_leaving:
        return
    roster.is_spent = False
    if roster.size:
        _keep_those_that_started(state, roster)
    else:
        degrade(state, roster, Code.START_REFUSED)


def _keep_those_that_started(state: State, roster: Roster) -> None:
    before = roster.breaker
    facts: dict[str, Fact] = {"error": before.error, "wanted": roster.goal, "workers": roster.size}
    reason = because(Code.WORKERS_MISSING, **facts, wait=before.calm_seconds)
    state.explain("reduced", "warning", roster.level, reason)
    roster.cap = roster.size
    roster.start_after = state.now + before.calm_seconds
    longer = min(CALM_SECONDS_MAX, 2 * before.calm_seconds)
    roster.breaker = before._replace(tries=0, calm_seconds=longer)


def lose(state: State, event: WorkerLost) -> None:
    """A worker has ended: its tasks go where they belong, and the level is judged."""
    roster = state.levels.rosters[event.level]
    if not roster.knows(event.worker):
        return
    event = _explain_death(state, event)
    is_new = event.worker in roster.starting
    service = roster.services.get(event.worker)
    has_served = service is not None and service.tasks > 0
    flight = roster.remove(event.worker)
    if flight is not None and flight.is_braked and event.blameless:
        event = event._replace(blameless=False, memory=True, cause=STOPPED)
    if flight is None or not flight.is_doomed:  # a killing was explained when it was ordered
        _explain_loss(state, event, flight)
    began = False
    note_death(state, event, flight)
    if flight is not None:
        began = event.running is not None or not event.known
        has_served |= flight.next > flight.start
        land(state, flight)
        rerun(state, flight, event)
    if not (began or has_served or roster.is_leaving):
        _judge_loss(state, roster, event, is_new=is_new)
    _judge_starts(state, roster)


def _explain_death(state: State, event: WorkerLost) -> WorkerLost:
    """Match a death by an unknown hand with one of the kernel's kills for memory."""
    event = event._replace(peak_bytes=_known(event.peak_bytes))
    if not event.unexplained:
        return event
    has_killed = event.oom_kills is not None and event.oom_kills > state.oom_kills
    state.oom_kills += has_killed
    if has_killed:
        note_kill(state, event)
    return explain_death(event, has_killed=has_killed, limit_bytes=state.host.limit_bytes)


def _judge_loss(state: State, roster: Roster, event: WorkerLost, *, is_new: bool) -> None:
    """A worker that ended before its first result speaks against its level."""
    if roster.on_trial or (event.blameless and is_new):
        _count_refusal(state, roster, event.cause, lasting=False)
    elif not event.blameless:
        _strike(state, roster, event.cause)


def _strike(state: State, roster: Roster, cause: str) -> None:
    roster.strikes += 1
    if roster.strikes < STRIKES_MAX:
        return
    error = f"{STRIKES_MAX} workers died at their start, the last by {cause}"
    roster.strikes = 0
    roster.breaker = roster.breaker._replace(error=error)
    if roster.busy:
        _keep_those_that_started(state, roster)
    else:
        degrade(state, roster, Code.NO_PROGRESS)


def replace_stalled(state: State, event: WorkerStalled) -> None:
    """Kill a worker that stands still; it gets no more work."""
    roster = state.levels.rosters[event.level]
    if not roster.knows(event.worker):
        return
    reason = because(Code.WORKER_STALLED, cause=event.cause)
    flight = roster.busy.get(event.worker)
    if flight is None:
        roster.remove(event.worker)
        state.orders.append(KillWorker(event.level, event.worker, reason))
        state.explain("killed", "warning", f"worker {event.worker}", reason)
        _judge_starts(state, roster)
    elif not flight.is_doomed:
        kill(state, flight, reason)


def release(state: State, flight: Flight, batch: Batch, usage: Usage) -> Roster:
    """A worker is through with its chunk: it is idle, or goes for its age or as it is killed."""
    roster = state.levels.rosters[flight.level]
    worker = flight.worker
    roster.release(worker, usage)
    if flight.is_doomed:
        roster.remove(worker)
    elif is_isolated(roster.level):
        _recycle(state, roster, worker, batch)
    return roster


def note_price(state: State, flight: Flight, batch: Batch, usage: Usage) -> None:
    """Learn what a worker needs before its first result of a batch: it imports what tasks need."""
    service = state.levels.rosters[flight.level].services.get(flight.worker)
    if not is_isolated(flight.level) or service is None:
        return
    if batch.load_seconds is None or not service.tasks:
        spent = state.now - flight.since - usage.wall_seconds
        known = spent if batch.load_seconds is None else min(spent, batch.load_seconds)
        batch.load_seconds = bound(known, SECONDS)


def _recycle(state: State, roster: Roster, worker: int, batch: Batch) -> None:
    """Let a worker go that has served long enough."""
    reason = suggest_recycle(
        roster.services[worker],
        state.config,
        now=state.now,
        limit_bytes=state.host.limit_bytes,
        fair_bytes=state.memory.fair_bytes,
    )
    if reason is None:
        return
    if reason.code is Code.WORKER_LARGE:
        reason = _name_leak(batch, roster.services[worker], reason)
    roster.remove(worker)
    state.orders.append(RetireWorker(roster.level, worker))
    is_news = reason.code is Code.TASKS_LEAK and not batch.is_leaking
    batch.is_leaking |= is_news
    state.explain("recycled", "warning" if is_news else "debug", f"worker {worker}", reason)


def _name_leak(batch: Batch, service: Service, reason: Reason) -> Reason:
    """Say of a worker that is too large that its function leaks, if the one before grew as well."""
    growth = growth_per_task(service)
    batch.grown_workers = 0 if growth is None else batch.grown_workers + 1
    if batch.grown_workers < LEAK_WORKERS:
        return reason
    return because(Code.TASKS_LEAK, kept=service.kept_bytes, tasks=service.tasks, leak=growth)


def _runs_again(state: State, flight: Flight) -> bool:
    """Say whether a lost chunk does for sure; of a suspect the next line tells."""
    batch = state.batches.get(flight.batch)
    is_dropped = batch is None or batch.dropped
    return state.config.retries > 0 and not flight.is_suspect and not is_dropped


def _explain_loss(state: State, event: WorkerLost, flight: Flight | None) -> None:
    if flight is not None and flight.is_doomed:
        return  # it was killed by us, and the kill was explained
    code = Code.STARTER_LOST if event.blameless else Code.WORKER_DIED
    unfinished = 0 if flight is None else flight.stop - flight.next
    facts: dict[str, Fact] = {"cause": event.cause, "task": event.running}
    if flight is not None and unfinished and _runs_again(state, flight):
        many = "task runs" if unfinished == 1 else f"{unfinished} tasks run"
        facts["next"] = f"its {many} again"
    reason = because(code, **facts, unfinished=unfinished)
    state.explain("lost", "warning", f"worker {event.worker}", reason)
