"""What finished chunks and deaths teach of what tasks take, and how it is asked for.

The sums are those of `peaks` and `sizes`; this file carries them into the state. Decides nothing.
"""

from adaptive_exec.core.batch import Batch
from adaptive_exec.core.bounds import BYTES, COUNT, SECONDS, SIZE, bound
from adaptive_exec.core.events import TasksSized, Usage, WorkerLost
from adaptive_exec.core.instructions import SizeTasks
from adaptive_exec.core.largest import LargestFirst
from adaptive_exec.core.memory.admission import SIZED_BYTES, find_sizing, reserve_late
from adaptive_exec.core.memory.fitting import is_weighed, refit
from adaptive_exec.core.memory.peaks import learn_peak, reserve_bytes
from adaptive_exec.core.memory.sizes import NUMBERS_MAX, Measure
from adaptive_exec.core.memory.walls import learn_of_reserve
from adaptive_exec.core.memory.window import shrink, widen
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.roster import Flight
from adaptive_exec.core.state import State
from adaptive_exec.specs import is_isolated

SIZED_SECONDS = 0.0002
"""Seconds that a task must take for its arguments to be looked at, which takes 2 us. Source: own
choice, so that it costs 1 %."""


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
        learn_from_the_dead(state, flight, peak_bytes)
    refit(state)


def learn_from_the_dead(state: State, flight: Flight, peak_bytes: int) -> None:
    """Learn that a chunk took at least so much, of whose worker nothing else will be told."""
    batch = state.batches.get(flight.batch)
    if batch is not None and peak_bytes > 0:
        _learn_size(state, flight, batch, peak_bytes)
        batch.peaks = learn_peak(batch.peaks, peak_bytes, state.now - flight.since)


def take_measures(state: State, event: TasksSized) -> None:
    """Take in what tasks' arguments show of their size."""
    batch = state.batches.get(event.batch)
    if batch is None or batch.dropped:
        return
    state.memory.has_measures = True
    batch.is_sizing, batch.is_told = True, batch.is_told or event.is_told
    for index, measure in enumerate(event.measures, event.start):
        batch.measure_came(index, None if measure is None else _believe(measure))
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
        if isinstance(batch, LargestFirst) and sizing.speaker:
            batch.go_by(sizing.speaker[0])
