"""Memory's say in a run: what a reading of the host, a finished chunk or a death leads to.

How tight it is, how many chunks fit, which worker goes is judged in `governor`, `window`, `peaks`
and `recycle`; this file carries the answers into the state. In the order of harm: no more chunks,
a smaller window, idle workers go, garbage is collected; only at critical, after a second look, is
a worker killed, and memory settles before the next verdict on another.
"""

from typing import Final

from adaptive_exec.config import MIB, parse_size
from adaptive_exec.core.batch import Batch
from adaptive_exec.core.bounds import BYTES, COUNT, FOREVER, SECONDS, SIZE, bound
from adaptive_exec.core.events import HostSampled, TasksSized, Usage, WorkerLost
from adaptive_exec.core.instructions import ReadHost, RetireWorker, SizeTasks, TrimMemory
from adaptive_exec.core.memory.admission import (
    SIZED_BYTES,
    count_fitting,
    find_sizing,
    goes_by_bytes,
    reserve_late,
    room_bytes,
    taken_bytes,
)
from adaptive_exec.core.memory.governor import (
    CRAWL_SECONDS,
    HYSTERESIS,
    LOOK_MAX_SECONDS,
    LOOK_MIN_SECONDS,
    Candidate,
    Marks,
    Verdict,
    Victim,
    choose_victim,
    foresee,
    judge_memory,
    set_marks,
    watch_crawl,
)
from adaptive_exec.core.memory.peaks import (
    NOTHING_KNOWN,
    Peaks,
    counts_as_sum,
    learn_peak,
    reserve_bytes,
)
from adaptive_exec.core.memory.sizes import NUMBERS_MAX, Measure
from adaptive_exec.core.memory.walls import learn_of_reserve, move_walls
from adaptive_exec.core.memory.window import (
    CHUNKS_MAX,
    GUESS_LOOK_SECONDS,
    GUESS_SECONDS,
    OPEN,
    TOLD_SLACK,
    Room,
    Window,
    fit,
    guess_chunk_bytes,
    halve,
    shrink,
    widen,
)
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.roster import Flight, Roster
from adaptive_exec.core.state import State
from adaptive_exec.core.suspects import kill
from adaptive_exec.specs import ISOLATED, is_isolated

SETTLE_SECONDS: Final = 1.0
"""Seconds that memory gets to come back after a worker was killed. Source: an 8 GB worker takes 0.3
s to free."""
ROOM_SECONDS: Final = 5.0
"""Seconds to wait for room at critical pressure before one chunk is let out all the same. Source:
own choice, five times SETTLE_SECONDS."""
ROOM_AGAIN_SECONDS: Final = 60.0
"""Seconds after a wait for room that was in vain before the next one: it is not others who hold it.
Source: own choice, so that such waits take at most a twelfth of the time."""

UNMEASURED_MAX = 3
"""Chunks without a measurement after which none is expected any more; then pressure alone holds.
Source: own choice."""
TOLD_SHARE = 8
"""Part of the window by which it must change before people are told again. Source: own choice, an
eighth."""
CHANGE_SHARE = 7
"""One in so many running chunks beyond the 95th percentile is three times what chance makes.
Source: a seventh is three times the twentieth beyond a 95th percentile."""
SHARE_SLACK = 0.05
"""Share by which what others left us may be exceeded. It is dealt out in whole chunks, which must
not fail to fit for a page or for the little that idle workers keep. Source: own choice."""
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
SIZED_SECONDS = 0.0002
"""Seconds that a task must take for its arguments to be looked at, which takes 2 us. Source: own
choice, so that it costs 1 %."""
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
    _weigh(state, event)
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


def note_done(state: State, flight: Flight, batch: Batch, usage: Usage) -> None:
    """Learn what a finished chunk took; its worker's service is entered already."""
    if not is_weighed(state, flight.level):
        return
    if usage.span_bytes is None:
        batch.unmeasured += not batch.peaks.measured
        return
    if flight.measure is not None:
        _learn_size(state, flight, batch, usage.span_bytes)
    batch.peaks = learn_peak(batch.peaks, usage.span_bytes, state.now - flight.since)
    learn_of_reserve(state, flight, usage.span_bytes)
    if batch.is_asking or usage.span_bytes >= SIZED_BYTES:
        _ask_for_sizes(state, flight, batch, usage)
    if usage.kept_bytes is not None and usage.tasks:
        grown = (usage.kept_bytes - flight.kept_bytes) / usage.tasks
        batch.kept_each = bound((batch.kept_each + max(0.0, grown)) / 2, BYTES)
    if state.memory.verdict.pressure == "normal":
        state.memory.window = widen(state.memory.window)
    refit(state)


def remember(state: State, batch: Batch) -> None:
    """Keep what a batch that is over took, for the next one of the same function."""
    if batch.kind and batch.peaks.measured:
        state.memory.familiar = batch.kind, batch.peaks.p95_bytes


def note_death(state: State, event: WorkerLost, flight: Flight | None) -> None:
    """Learn from a death for memory: the window was too wide, and a chunk takes at least this."""
    victim = state.memory.victim
    if victim is not None and victim.worker == event.worker:
        state.memory.victim = victim._replace(lost_at=state.now)
    if not event.memory or flight is None:
        return
    state.memory.next_look = min(state.memory.next_look, state.now)
    if flight.is_alone:
        return  # no window is smaller, and what runs alone from now on is no measure for others
    state.memory.window = shrink(
        state.memory.window, state.out, sent_at=flight.since, now=state.now
    )
    if event.peak_bytes is not None:
        peak_bytes = event.peak_bytes - (flight.birth_bytes or 0)
        if event.walled:  # what it was refused it would have taken
            peak_bytes = max(peak_bytes, flight.wall_bytes or 0)
        _learn_from_the_dead(state, flight, peak_bytes)
    refit(state)


def _learn_from_the_dead(state: State, flight: Flight, peak_bytes: int) -> None:
    batch = state.batches.get(flight.batch)
    if batch is not None and peak_bytes > 0:
        _learn_size(state, flight, batch, peak_bytes)
        batch.peaks = learn_peak(batch.peaks, peak_bytes, state.now - flight.since)


# what sizes tell


def take_measures(state: State, event: TasksSized) -> None:
    """Take in what tasks' arguments show of their size."""
    batch = state.batches.get(event.batch)
    if batch is None or batch.dropped:
        return
    state.memory.has_measures = True
    batch.is_sizing, batch.is_told = True, batch.is_told or event.is_told
    for index, measure in enumerate(event.measures, event.start):
        if measure is not None:
            batch.measures[index] = _believe(measure)
    _learn_late(state, batch)
    stop = event.start + len(event.measures)
    for flight in state.flights.values():
        if flight.batch == batch.id and flight.start < stop and event.start < flight.stop:
            flight.measure = batch.measure(flight.start, flight.stop)
            batch.forget_measures(flight.start, flight.next)
            reserve_late(state, flight)
    refit(state)


def _learn_late(state: State, batch: Batch) -> None:
    """Learn the size of the chunk after which sizes were asked for."""
    if batch.unsized is None:
        return
    start, stop, took, seconds = batch.unsized
    measure = batch.measure(start, stop)
    batch.unsized = None
    batch.forget_measures(start, stop)
    if measure is not None and measure.kind:
        sizing = find_sizing(state, measure.kind)
        sizing.learn(measure, took, seconds, index=stop - 1, flat_bytes=float(took))


def _believe(measure: Measure) -> Measure:
    told = None if measure.told_bytes is None else bound(measure.told_bytes, BYTES)
    numbers = tuple(bound(float(size), SIZE) for size in measure.numbers[:NUMBERS_MAX])
    return Measure(bound(measure.kind, COUNT), numbers, told)


def _ask_for_sizes(state: State, flight: Flight, batch: Batch, usage: Usage) -> None:
    """Have tasks' arguments looked at once a task was heavy, and no more when they are tiny."""
    if state.config.task_memory is not None or batch.is_sized or not is_isolated(flight.level):
        return
    each_seconds = usage.wall_seconds / max(1, usage.tasks)
    if batch.is_asking:
        if each_seconds < SIZED_SECONDS / 2 and not batch.is_told:
            batch.is_asking = False
            state.orders.append(SizeTasks(batch.id, None))
        return
    is_heavy = (usage.span_bytes or 0) >= SIZED_BYTES
    if is_heavy and each_seconds >= SIZED_SECONDS:
        batch.is_asking = True
        out = (one.next for one in state.flights.values() if one.batch == batch.id)
        first = batch.first_pending if batch.pending else batch.arrived
        took, seconds = usage.span_bytes or 0, bound(state.now - flight.since, SECONDS)
        batch.unsized = (flight.start, flight.stop, took, seconds)
        first = min(flight.start, first, *out, batch.arrived)
        state.orders.append(SizeTasks(batch.id, first))


def _learn_size(state: State, flight: Flight, batch: Batch, need_bytes: int) -> None:
    """Learn what a chunk of a known size took, beside what would have been reserved without."""
    measure = flight.measure
    if measure is None or not measure.kind:
        return
    flat = float(batch.peaks.p95_bytes)
    if batch.peaks.measured:
        out = max(1, state.out)
        flat = reserve_bytes(batch.peaks, out) / out
    sizing = find_sizing(state, measure.kind)
    before = sizing.speaker
    seconds = state.now - flight.since
    sizing.learn(measure, max(0, need_bytes), seconds, index=flight.stop - 1, flat_bytes=flat)
    if sizing.speaker != before:
        code = Code.SIZE_TELLS if sizing.speaker else Code.SIZE_SILENT
        reason = because(
            code,
            by=sizing.name,
            measured=sizing.tasks,
            spared=round(sizing.spared, 3),
            batch=batch.id,
        )
        state.explain("sized", "info", "run", reason)


# how many chunks fit


def refit(state: State) -> None:
    """Fit the window anew to what is known now."""
    before = state.memory.window
    peaks, is_unknown = _speaking_peaks(state)
    told = _told_bytes(state)
    state.memory.is_guessing = is_unknown and told is None
    seen = 0
    if state.memory.is_guessing:
        seen = _guess_bytes(state)
    elif not is_unknown:
        seen = state.memory.seen_bytes
    elif not peaks.measured and told is None:
        state.memory.window = OPEN  # what cannot be weighed is held back by pressure alone
        state.memory.chunk_bytes = 0
        return
    state.memory.chunk_bytes = max(peaks.p95_bytes, told or 0, seen)
    if state.memory.has_measures and goes_by_bytes(state):
        _fit_by_bytes(state, before)
        return
    window = fit(before, peaks, _room(state, 0), told_bytes=told, seen_bytes=seen)
    kept = _kept_bytes(state, window.chunks)
    if kept:
        window = fit(before, peaks, _room(state, kept), told_bytes=told, seen_bytes=seen)
    state.memory.window = window
    _explain_window(state)


def _fit_by_bytes(state: State, before: Window) -> None:
    """Let the window be as wide as the smallest of those that wait would allow."""
    count = max(1, min(CHUNKS_MAX, count_fitting(state)))
    growth = before.growth if before.was_halved else float(CHUNKS_MAX)
    chunks = max(1, min(count, int(growth)))
    reason = because(
        Code.MEMORY_BY_BYTES,
        room=int(room_bytes(state)),
        taken=int(taken_bytes(state)),
        chunks=chunks,
    )
    state.memory.window = before._replace(chunks=chunks, reason=reason)
    _explain_window(state)


def _kept_bytes(state: State, chunks: int) -> int:
    """Return what those idle workers keep that get no chunk while so many are out.

    Of the others it is part of what their next chunk is expected to take.
    """
    roster = state.levels.isolated
    unused = max(0, len(roster.idle) - max(0, chunks - len(roster.busy)))
    return sum(roster.services[worker].kept_bytes for worker in roster.idle[:unused])


def is_weighed(state: State, level: str) -> bool:
    """Say whether it is known what the chunks at a level take, each by itself or a part of all."""
    services = state.levels.rosters[level].services.values()
    return is_isolated(level) or any(one.birth_bytes is not None for one in services)


def _speaking_peaks(state: State) -> tuple[Peaks, bool]:
    """Return the highest peaks of the batches in work, and whether any was not measured yet."""
    peaks, is_unknown = NOTHING_KNOWN, False
    for batch in state.batches.values():
        if batch.peaks.p95_bytes > peaks.p95_bytes:
            peaks = batch.peaks
        is_weighed_now = is_weighed(state, batch.level) or ISOLATED in batch.out
        is_known = batch.peaks.measured or batch.unmeasured >= UNMEASURED_MAX
        is_unknown |= is_weighed_now and not is_known
    return peaks, is_unknown


def _told_bytes(state: State) -> int | None:
    size = state.config.task_memory
    if size is None:
        return None
    return parse_size("task_memory", size, limit_bytes=state.host.limit_bytes)


def _seen_bytes(state: State, peaks: Peaks) -> int:
    """Return what every seventh running chunk exceeds, at least the second highest.

    Where that is beyond the 95th percentile measured, tasks have changed; one may be their tail.
    """
    if counts_as_sum(peaks, len(state.memory.live)):
        return 0  # their sum is compared with what is reserved for it
    live = sorted(state.memory.live.values(), reverse=True)
    return live[max(1, len(live) // CHANGE_SHARE)] if len(live) > 1 else 0


def _guess_bytes(state: State) -> int:
    """Guess what a chunk takes: as those of its function did, unless the running ones differ."""
    live, familiar = tuple(state.memory.live.values()), state.memory.familiar
    if familiar is None or any(one.kind != familiar[0] for one in state.batches.values()):
        return guess_chunk_bytes(live, state.live_seconds)
    if max(live, default=0) <= TOLD_SLACK * familiar[1]:
        return familiar[1]
    return guess_chunk_bytes(live, GUESS_SECONDS)


def _excess_bytes(state: State, peaks: Peaks, each_bytes: int) -> float:
    """Say by how much running chunks have outgrown what is reserved for them."""
    live = state.memory.live.values()
    if counts_as_sum(peaks, len(live)):
        return max(0.0, sum(live) - reserve_bytes(peaks, len(live)))
    return float(sum(max(0, grown - each_bytes) for grown in live))


def _room(state: State, kept: int) -> Room:
    marks = set_marks(state.host, state.config)
    taken = state.memory.base_bytes + state.memory.excess_bytes + kept
    target, most = marks.target_bytes - taken, marks.most_bytes - taken
    if state.sharing.share is not None and state.sharing.share.slot_bytes is not None:
        budget = (1.0 + SHARE_SLACK) * _usable_share(state, state.sharing.share.slot_bytes) - kept
        return Room(min(target, budget), min(most, budget))
    return Room(target, most)


def _usable_share(state: State, slot_bytes: int) -> int:
    """Until first chunks have shown their nature no more is used than others were told of."""
    if not state.memory.is_guessing or state.live_seconds >= GUESS_SECONDS:
        return slot_bytes
    return min(
        slot_bytes, max(state.sharing.offered.wanted_bytes, state.sharing.offered.held_bytes)
    )


def _explain_window(state: State) -> None:
    """Tell of the window where it bounds anything and has changed by more than an eighth."""
    goal = max(roster.goal for roster in state.levels.ranks)
    before, now = min(state.memory.told_window or goal, goal), min(state.memory.window.chunks, goal)
    if abs(now - before) > before // TOLD_SHARE:
        state.memory.told_window = now
        old, new = str(before), str(now)
        state.explain("windowed", "debug", "run", state.memory.window.reason, old=old, new=new)


def _weigh(state: State, event: HostSampled) -> None:
    """Tell apart what the tasks of this run take and what all else does."""
    own = 0
    state.memory.live = {}
    for worker, size in event.sizes or _assumed_sizes(state, state.levels.isolated):
        roster = next((one for one in state.levels.ranks if worker in one.services), None)
        if roster is None:
            continue
        service = roster.services[worker]
        size = bound(size, BYTES)  # noqa: PLW2901  # as read by us, of whatever it was
        birth = size if service.birth_bytes is None else service.birth_bytes
        grown = max(0, size - birth)
        own += grown
        flight = roster.busy.get(worker)
        if flight is not None:
            state.memory.live[flight.chunk] = grown
        elif event.sizes:
            roster.services[worker] = service._replace(kept_bytes=grown)
    # Sizes and the host are not read in one instant: what a task takes or frees between the two
    # looks like somebody else's. The smaller of two readings is right.
    base = max(0, state.host.used_bytes - own)
    state.memory.base_bytes, state.memory.last_base_bytes = (
        min(base, state.memory.last_base_bytes),
        base,
    )
    peaks, _ = _speaking_peaks(state)
    state.memory.seen_bytes = _seen_bytes(state, peaks)
    each = max(peaks.p95_bytes, _told_bytes(state) or 0, state.memory.seen_bytes)
    state.memory.excess_bytes = _excess_bytes(state, peaks, each)
    marks = set_marks(state.host, state.config)
    room = max(0, marks.target_bytes - state.memory.base_bytes)
    state.memory.fair_bytes = room / max(1, state.levels.isolated.goal)


def _assumed_sizes(state: State, roster: Roster) -> tuple[tuple[int, int], ...]:
    """Where sizes cannot be read, each chunk counts as grown to what others took."""
    peaks, _ = _speaking_peaks(state)
    each = max(peaks.p95_bytes, _told_bytes(state) or 0)
    return tuple(
        (worker, (roster.services[worker].birth_bytes or 0) + each) for worker in roster.busy
    )


# when it gets tight


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
    crawl = watch_crawl(state.memory.crawl, state.memory.verdict, state.host, state.now)
    state.memory.crawl = crawl
    if crawl is None or state.now - crawl.since < CRAWL_SECONDS:
        return
    state.memory.crawl = None
    flights = [one for one in state.flights.values() if is_isolated(one.level)]
    flights = [one for one in flights if not one.is_doomed]
    if not flights or (state.host.throttles or 0) <= crawl.throttles:
        return
    largest = max(flights, key=lambda one: state.memory.live.get(one.chunk, 0))
    largest.is_braked = True
    reason = because(
        Code.THROTTLED,
        seconds=round(state.now - crawl.since, 1),
        stall=state.host.stall_percent,
        size=state.memory.live.get(largest.chunk),
        limit=state.host.limit_bytes,
        chunk=largest.chunk,
    )
    kill(state, largest, reason)


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
    _learn_from_the_dead(state, flight, held_bytes)
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
