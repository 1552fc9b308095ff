"""Why something is as it is, in words with numbers: a task, the level, a worker, this moment.

`ask_task` looks at the state of a run that is under way; all else at a report, so that it can be
told from a journal as well. Decides nothing.
"""

from collections.abc import Iterator
from typing import Final

from adaptive_exec.core.account import USES, Use, waits_for
from adaptive_exec.core.batch import Batch
from adaptive_exec.core.meanings import MEANINGS
from adaptive_exec.core.reason import Code, Decision
from adaptive_exec.core.report import MIB, RunReport, describe, explain_account
from adaptive_exec.core.roster import Flight
from adaptive_exec.core.state import State
from adaptive_exec.core.timeline import Span

TOLD_MAX: Final = 12
"""Decisions that an answer tells of, the newest ones."""
OF_LEVELS: Final = frozenset({
    *("planned", "degraded", "restored", "trying", "moved", "reduced", "replaced", "unenforced")
})
"""Decisions that say where tasks run."""
OF_DEATHS: Final = frozenset({"killed", "lost", "quarantined", "suspected"})
"""Decisions that tell of violent ends."""


def ask_task(
    state: State, report: RunReport, batch: int, index: int, *, now: float
) -> tuple[str, ...]:
    """Say what becomes of a task, and why.

    Args:
        state: How things stand.
        report: What has been.
        batch: Its batch.
        index: Its number there.
        now: Monotonic seconds.

    Returns:
        Lines.
    """
    one = state.batches.get(batch)
    flight = _flight_of(state, batch, index)
    if flight is not None:
        return tuple(_of_flight(state, flight, index, now))
    if one is not None and index in one.line:
        return tuple(_of_suspect(one, index))
    if one is not None and _is_waiting(one, index):
        return tuple(_of_waiting(state, one, index))
    return tell_task(report, index, batch)


def _flight_of(state: State, batch: int, index: int) -> Flight | None:
    for flight in list(state.flights.values()):
        if flight.batch == batch and flight.next <= index < flight.stop:
            return flight
    return None


def _of_flight(state: State, flight: Flight, index: int, now: float) -> Iterator[str]:
    where = f"worker {flight.worker} at the {flight.level} level"
    ran = max(0.0, now - flight.since)
    others = flight.stop - flight.next - 1
    if index == flight.next:
        yield f"task {index} runs in {where}; its message was sent {ran:.3g} s ago"
    else:
        yield f"task {index} is with {where}, behind task {flight.next} of the same message"
    if others:
        yield f"{others} more tasks are in that message"
    if flight.attempt > 1:
        yield f"it is its execution number {flight.attempt}"
    if flight.is_suspect:
        yield "it runs alone, since it was running when a worker died"
    if flight.is_doomed:
        yield "the kill of that worker was ordered"
    grown = state.memory.live.get(flight.chunk)
    if grown is not None:
        yield f"its worker has grown by {grown / MIB:.0f} MiB"
    if flight.wall_bytes is not None:
        yield f"more than {flight.wall_bytes / MIB:.0f} MiB beyond what it had are refused to it"


def _of_suspect(batch: Batch, index: int) -> Iterator[str]:
    record = batch.records[index]
    place = list(batch.line).index(index)
    yield f"task {index} waits to run alone: it was running when a worker died ({record.cause})"
    yield f"it ran {record.executions} times, {record.deaths} deaths count against it"
    if place:
        yield f"{place} others that killed a worker are before it"
    if batch.pending:
        yield f"{batch.pending} tasks that killed nobody go first, for half a minute at most"
    yield from _meaning(Code.SUSPECT)


def _is_waiting(batch: Batch, index: int) -> bool:
    return index >= batch.arrived or index in batch.aside or _is_pending(batch, index)


def _is_pending(batch: Batch, index: int) -> bool:
    return any(start <= index < stop for start, stop in batch.pending_ranges())


def _of_waiting(state: State, batch: Batch, index: int) -> Iterator[str]:
    if index in batch.aside:
        yield f"task {index} is in the journal, or another instance runs it: its result is awaited"
        return
    if index >= batch.arrived:
        yield from _of_unpulled(batch, index)
        return
    before = sum(
        min(stop, index) - start for start, stop in batch.pending_ranges() if start < index
    )
    out = f"{state.out} message{'s' * (state.out != 1)} with workers"
    yield f"task {index} waits; {before} task{'s' * (before != 1)} before it, {out}"
    use = waits_for(state)
    if any(roster.idle for roster in state.levels.rosters.values()):
        yield f"workers are free, {USES[use]}"
    yield from _of_workers(state)
    yield from _numbers_behind(state, use)


def _count_before(batch: Batch, index: int) -> int:
    count = 0
    for start, stop in batch.pending_ranges():
        if start <= index < stop:
            return count + index - start
        count += stop - start
    return count


def _of_unpulled(batch: Batch, index: int) -> Iterator[str]:
    known = batch.arrived if batch.exhausted else batch.tasks
    if known is not None and index >= known:
        yield f"there is no task {index}: the input has {known}"
        return
    yield f"task {index} was not taken from the input yet, {batch.arrived} were"
    if batch.asked:
        yield f"{batch.asked} are asked for: the input is slow to give them"
    elif batch.held:
        yield f"{batch.held} results are finished and not taken; more follow as they are taken"


def _of_workers(state: State) -> Iterator[str]:
    for roster in state.levels.rosters.values():
        if not roster.size:
            continue
        parts = f"{len(roster.busy)} at work, {len(roster.idle)} free"
        parts += f", {len(roster.starting)} starting"
        bound = "" if roster.places is None else f", the share has room for {roster.places}"
        yield f"{roster.level}: {parts}, {roster.goal} planned{bound}"


def _numbers_behind(state: State, use: Use) -> Iterator[str]:
    memory, share = state.memory, state.sharing.share
    if use == "memory" or memory.verdict.pressure != "normal":
        left = state.host.available_bytes / MIB
        limit = f"{state.host.limit_bytes / MIB:.0f} MiB ({state.host.limit_source})"
        yield f"memory is {memory.verdict.pressure}: {left:.0f} MiB left of {limit}"
        reserve = memory.chunk_bytes / MIB
        yield f"the window is {memory.window.chunks} chunks, each reckoned at {reserve:.0f} MiB"
    if share is not None and share.instances > 1:
        yield f"{share.instances} instances share this host, this one has {share.slots} workers"
        if share.place:
            yield f"it is number {share.place} in the line for memory"
    if use == "suspect":
        yield "a task that killed its worker for memory runs alone, all others wait for it"


# from a report alone


def tell_task(report: RunReport, index: int, batch: int | None = None) -> tuple[str, ...]:
    """Say what became of a task, from a report."""
    return tuple(_of_past(report, index, batch)) or (
        f"nothing more is known of task {index}: of long runs not every task is kept",
    )


def _of_past(report: RunReport, index: int, batch: int | None) -> Iterator[str]:
    for span in report.deaths:
        if span.first == index and batch in (None, span.batch):
            ran = f"after {span.until - span.at:.3g} s, execution {span.attempt}"
            yield f"worker {span.worker} died while task {index} ran in it: {span.cause} ({ran})"
    spans = [one for one in report.spans if batch in (None, one.batch)]
    found = [one for one in spans if one.first <= index < one.first + one.tasks]
    if found:
        yield from _of_span(min(found, key=lambda one: one.tasks), index)
    said = [one for one in report.decisions if one.subject == f"task {index}"]
    said += [one for one in report.decisions if one.reason.fact("task") == index]
    yield from _told(report, list(dict.fromkeys(said)))


def _of_span(span: Span, index: int) -> Iterator[str]:
    where = f"worker {span.worker} at the {span.level} level"
    if span.tasks == 1:
        yield f"task {index} ended after {span.compute_seconds:.3g} s in {where}"
    else:
        mean = span.task_seconds
        yield f"task {index} ended in {where}, among {span.tasks} of {mean:.3g} s in the mean"
    if span.failed:
        whose = "it" if span.failed == span.tasks else f"{span.failed} of these"
        yield f"{whose} ended in an exception of the task's own"
    if span.wait_for:
        words = USES.get(span.wait_for, span.wait_for)  # type: ignore[call-overload]  # of a newer version, perhaps
        yield f"before it the worker was free for {span.wait_seconds:.3g} s: {words}"
    if span.peak_bytes is not None:
        yield f"a task there took {span.peak_bytes / MIB:.1f} MiB at most"
    if span.attempt > 1:
        yield f"it was execution number {span.attempt}"


def tell_level(report: RunReport) -> tuple[str, ...]:
    """Say why tasks run where they do."""
    levels = " -> ".join(report.levels) or "none so far"
    head = f"levels: {levels}; {report.degrades} degrades, {report.restores} restores"
    found = [one for one in report.decisions if one.event in OF_LEVELS]
    return (head, *_told(report, found))


def tell_worker(report: RunReport, worker: int) -> tuple[str, ...]:
    """Say what a worker did and what became of it."""
    spans = [one for one in (*report.spans, *report.deaths) if one.worker == worker]
    name = f"worker {worker}"
    found = [one for one in report.decisions if one.subject == name]
    if not (spans or found):
        return (f"nothing is known of worker {worker}; the run had {report.workers} at once",)
    lines = []
    if spans:
        tasks, ran = sum(one.tasks for one in spans), sum(one.compute_seconds for one in spans)
        begun = spans[0].at - report.began_at
        lines.append(f"{name}, {spans[0].level}: {tasks} tasks, {ran:.3g} s of work")
        lines.append(f"its first message came {begun:.3g} s after the begin")
    lines += [f"it died: {one.cause}, while task {one.first} ran" for one in spans if one.cause]
    return (*lines, *_told(report, found))


def tell_now(report: RunReport) -> tuple[str, ...]:
    """Say how things stand at the end of what is known."""
    lines = list(explain_account(report))
    if report.moments:
        last = report.moments[-1]
        workers = ", ".join(f"{count} at the {level} level" for level, count in last.workers)
        lines.append(f"workers: {workers or 'none'}; {last.out} messages out")
        window = f"{last.window} chunks" if last.window else "as wide as there are workers"
        lines.append(f"the window is {window}")
        used, limit = last.used_high_bytes / MIB, last.limit_bytes / MIB
        ours = last.ours_bytes / MIB
        lines.append(
            f"memory: {used:.0f} of {limit:.0f} MiB in use, {ours:.0f} of it by tasks here"
        )
        if last.instances > 1:
            lines.append(f"{last.instances} instances share this host")
    return (*lines, *_told(report, report.decisions[-3:]))


def tell_all(report: RunReport) -> tuple[str, ...]:
    """Say what was decided in a run, and why, each reason once."""
    lines = list(explain_account(report))
    for one in report.tallies:
        count = "once" if one.count == 1 else f"{one.count} times"
        lines.append(f"{one.event} {count}, reason {one.code}:")
        lines += [f"  {line}" for line in _meaning(one.code)]
    return tuple(lines)


def _told(report: RunReport, decisions: list[Decision] | tuple[Decision, ...]) -> Iterator[str]:
    """Tell of decisions with their numbers, and what each reason means, once."""
    newest, told = decisions[-TOLD_MAX:], set()
    if len(decisions) > len(newest):
        yield f"{len(decisions) - len(newest)} earlier decisions are left out"
    for one in newest:
        yield f"at {one.at - report.began_at:.3f} s {describe(one)}"
        if one.reason.code not in told:
            told.add(one.reason.code)
            yield from (f"  {line}" for line in _meaning(one.reason.code))


def _meaning(code: Code) -> Iterator[str]:
    meaning = MEANINGS[code]
    yield meaning.cause
    yield meaning.did
    if meaning.help:
        yield f"you can: {meaning.help}"
