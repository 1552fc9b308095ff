"""Memory's say in a run: what a reading of the host leads to.

How tight it is, how many chunks fit, which worker goes is judged in `governor`, `window`, `peaks`
and `recycle`; this file carries the answers into the state. In the order of harm: no more chunks,
a smaller window, idle workers go, garbage is collected; only at critical, after a second look, is
a worker killed, and memory settles before the next verdict on another.
"""

from typing import Final

from adaptive_exec.config import MIB
from adaptive_exec.core.bounds import FOREVER
from adaptive_exec.core.events import HostSampled
from adaptive_exec.core.instructions import ReadHost, RetireWorker, TrimMemory
from adaptive_exec.core.memory.fitting import refit, weigh
from adaptive_exec.core.memory.governor import (
    CRAWL_SECONDS,
    HYSTERESIS,
    LOOK_MAX_SECONDS,
    LOOK_MIN_SECONDS,
    Candidate,
    Crawl,
    Marks,
    Verdict,
    Victim,
    choose_victim,
    foresee,
    is_crawl,
    judge_memory,
    set_marks,
    watch_crawl,
)
from adaptive_exec.core.memory.learning import learn_from_the_dead
from adaptive_exec.core.memory.walls import move_walls
from adaptive_exec.core.memory.window import GUESS_LOOK_SECONDS, GUESS_SECONDS, halve
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.roster import Flight
from adaptive_exec.core.state import State
from adaptive_exec.core.suspects import kill
from adaptive_exec.specs import is_isolated

SETTLE_SECONDS: Final = 1.0
"""Seconds that memory gets to come back after a worker was killed. Source: an 8 GB worker takes 0.3
s to free."""
ROOM_SECONDS: Final = 5.0
"""Seconds to wait for room at critical pressure before one chunk is let out all the same. Source:
own choice, five times SETTLE_SECONDS."""
ROOM_AGAIN_SECONDS: Final = 60.0
"""Seconds after a wait for room that was in vain before the next one: it is not others who hold it.
Source: own choice, so that such waits take at most a twelfth of the time."""
CALM_LOOKS = 3
"""Looks in a row at which nothing had changed before the next ones are further apart. Source: own
choice."""
CALM_LOOK_SECONDS = 0.25
"""Seconds between them. Source: at 0.08 s they took 1 % of a core, which is twice what is asked."""
STILL_SHARE = 0.01
"""Share of the limit by which memory may have changed and still be called unchanged. Source: own
choice."""
WORTH_A_START_BYTES = 8 * MIB
"""Bytes that an idle worker must hold beyond what it was born with so that it goes where no memory
is left. Source: own choice, about what a fresh worker takes."""
TRIM_SECONDS = 10.0
"""Seconds between two collections of garbage for want of memory; one of a large heap takes 1 s.
Source: own choice, so that it costs a tenth at most."""


def judge_host(state: State, event: HostSampled) -> None:
    """Take a reading of the host in, and do what memory asks for."""
    before = state.memory.verdict
    state.host = event.snapshot.with_swap() if state.config.count_swap else event.snapshot
    verdict = foresee(before, judge_memory(before, state.host, state.config))
    state.memory.verdict = verdict
    state.memory.next_look = state.now + _look_seconds(state, before)
    weigh(state, event)
    if verdict.pressure != before.pressure:
        _change_pressure(state, before.pressure)
    refit(state)
    if verdict.pressure != "normal":
        _retire_idle(state)
    move_walls(state)
    _brake(state)
    _end_crawl(state)


def _look_seconds(state: State, before: Verdict) -> float:
    """Say when to look again: less often while the same chunks run and nothing changes."""
    verdict, newest = state.memory.verdict, max(state.flights, default=0)
    moved = abs(verdict.available_bytes - before.available_bytes)
    is_calm = verdict.pressure == "normal" and moved < STILL_SHARE * state.host.limit_bytes
    is_calm = is_calm and newest == state.memory.newest_seen
    state.memory.newest_seen = newest
    state.memory.calm_looks = state.memory.calm_looks + 1 if is_calm else 0
    if state.memory.calm_looks < CALM_LOOKS:
        return verdict.look_again_seconds
    return max(verdict.look_again_seconds, CALM_LOOK_SECONDS)


def look_if_long_ago(state: State) -> None:
    """Read the host before a batch is let out, unless it was read just now."""
    if not state.is_watching and state.now - state.host.taken_at > LOOK_MAX_SECONDS:
        state.orders.append(ReadHost())
    refit(state)


def look_at_first_chunks(state: State) -> None:
    """Look often at chunks of whose kind none was measured, until they have shown their nature."""
    if not state.memory.is_guessing or not state.flights or state.memory.next_look == FOREVER:
        return
    if state.live_seconds < GUESS_SECONDS:
        state.memory.next_look = min(
            state.memory.next_look, state.host.taken_at + GUESS_LOOK_SECONDS
        )


def _change_pressure(state: State, old: str) -> None:
    verdict = state.memory.verdict
    new = verdict.pressure
    severity = "info" if new == "normal" else "warning"
    state.explain("pressure", severity, "memory", verdict.reason, old=old, new=new)
    if old == "critical" and 0.0 < state.memory.room_until <= state.now:
        state.memory.room_after = state.now + ROOM_AGAIN_SECONDS
        state.memory.room_until = 0.0
    if new == "critical" and state.now >= state.memory.room_after:
        state.memory.room_until = state.now + ROOM_SECONDS
        _tell_of_wait(state)
    if old == "normal":
        state.memory.window = halve(state.memory.window, state.out)
        if state.now >= state.memory.trim_after:
            state.memory.trim_after = state.now + TRIM_SECONDS
            state.orders.append(TrimMemory())


def _tell_of_wait(state: State) -> None:
    """Say that nothing is sent for want of memory, and for how long at most."""
    if not (state.batches and any(batch.pending for batch in state.batches.values())):
        return
    facts = {"available": state.host.available_bytes, "out": state.out}
    reason = because(Code.ROOM_AWAITED, **facts, wait=ROOM_SECONDS)
    state.explain("waiting", "info", "memory", reason)


def _retire_idle(state: State) -> None:
    """Let idle workers go.

    One is kept, so that the run goes on without a start; at critical with nothing out none is that
    holds what a fresh one would not.
    """
    roster = state.levels.isolated
    kept = max(0, 1 - len(roster.busy) - len(roster.starting))
    if state.memory.verdict.pressure == "critical" and not state.out and kept and roster.idle:
        held_bytes = roster.services[roster.idle[-1]].kept_bytes
        kept = 0 if held_bytes >= WORTH_A_START_BYTES else kept
    while len(roster.idle) > kept:
        worker = roster.idle[0]
        roster.remove(worker)
        state.orders.append(RetireWorker(roster.level, worker))
        state.explain("recycled", "debug", f"worker {worker}", state.memory.verdict.reason)


def _brake(state: State) -> None:
    """Kill the youngest chunk's worker, where a second look is as bad as the first."""
    if state.memory.verdict.pressure != "critical":
        state.memory.is_alarmed = False
        _settle(state)
        return
    if not _settle(state):
        state.memory.next_look = min(state.memory.next_look, state.now + LOOK_MIN_SECONDS)
        return
    if not state.memory.is_alarmed:
        state.memory.is_alarmed = True
        state.memory.next_look = state.now
        return
    state.memory.is_alarmed = False
    marks = set_marks(state.host, state.config)
    victim = choose_victim(_candidates(state), _wanted_bytes(state, marks))
    if victim is not None:
        _stop_worker(state, state.flights[victim.chunk], victim.bytes, marks)


def _end_crawl(state: State) -> None:
    """Stop the chunk that holds most, where a group's `memory.high` has held all up for long."""
    flights = [one for one in state.flights.values() if is_isolated(one.level)]
    flights = [one for one in flights if not one.is_doomed]
    live = state.memory.live
    largest = max(flights, key=lambda one: live.get(one.chunk, 0), default=None)
    size = 0 if largest is None else live.get(largest.chunk, 0)
    crawl = watch_crawl(
        state.memory.crawl, state.memory.verdict, state.host, state.now, largest_bytes=size
    )
    state.memory.crawl = crawl
    if crawl is None or state.now - crawl.since < CRAWL_SECONDS:
        return
    state.memory.crawl = None
    if largest is not None and is_crawl(crawl, state.host, largest_bytes=size):
        _stop_crawling(state, largest, crawl)


def _stop_crawling(state: State, flight: Flight, crawl: Crawl) -> None:
    flight.is_braked = True
    reason = because(
        Code.THROTTLED,
        seconds=round(state.now - crawl.since, 1),
        stall=state.host.stall_percent,
        size=state.memory.live.get(flight.chunk),
        limit=state.host.limit_bytes,
        chunk=flight.chunk,
    )
    kill(state, flight, reason)


def _wanted_bytes(state: State, marks: Marks) -> int:
    return max(1, int(HYSTERESIS * marks.critical_bytes) - state.host.available_bytes)


def _candidates(state: State) -> list[Candidate]:
    """All but the oldest chunk, which nothing may stop for ever; youngest first.

    Where a kill of the kernel's would end the caller as well, the last one may be stopped too.
    """
    flights = [one for one in state.flights.values() if is_isolated(one.level)]
    flights = [one for one in flights if not one.is_doomed]
    ranked = sorted(flights, key=lambda flight: flight.chunk, reverse=True)
    services = state.levels.isolated.services.values()
    can_weigh = any(service.birth_bytes is not None for service in services)
    unseen = 0 if can_weigh else None  # where sizes are read, one without has only just begun
    if len(ranked) != 1 or not (state.host.wide_kill or _is_accused(state, ranked[0])):
        ranked = ranked[:-1]
    return [Candidate(one.chunk, state.memory.live.get(one.chunk, unseen)) for one in ranked]


def _is_accused(state: State, flight: Flight) -> bool:
    """Say whether a chunk is a task that ran when the program was killed before."""
    record = state.batches[flight.batch].records.get(flight.start) if flight.is_suspect else None
    return record is not None and record.is_accused


def _stop_worker(state: State, flight: Flight, held_bytes: int, marks: Marks) -> None:
    available = state.host.available_bytes
    reason = because(
        Code.BRAKE,
        available=available,
        critical=marks.critical_bytes,
        size=held_bytes,
        chunk=flight.chunk,
    )
    flight.is_braked = state.out == 1
    kill(state, flight, reason)
    state.memory.victim = Victim(flight.worker, held_bytes, available, state.now)
    state.memory.window = halve(state.memory.window, state.out)
    learn_from_the_dead(state, flight, held_bytes)
    refit(state)


def _settle(state: State) -> bool:
    """Say whether the memory of the last one killed is back, or has had its time."""
    victim = state.memory.victim
    if victim is None:
        return True
    if victim.lost_at is None:
        is_over = state.now - victim.killed_at >= 2 * SETTLE_SECONDS
    else:
        came_back = state.host.available_bytes >= victim.available_bytes + victim.bytes // 2
        is_over = came_back or state.now - victim.lost_at >= SETTLE_SECONDS
    if is_over:
        state.memory.victim = None
    return is_over
