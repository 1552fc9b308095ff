"""What a run looked like over time, in bounded memory: readings, chunks, and what stood out.

However long the run, no more is kept than fits a picture. What is too much is thinned by putting
neighbours together: the highest and lowest readings stay, and so do the slowest chunks, the largest
and those whose worker died. Decides nothing.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from adaptive_exec.core.bounds import FOREVER
from adaptive_exec.core.events import ChunkDone, Usage, WorkerLost
from adaptive_exec.core.instructions import SendChunk
from adaptive_exec.core.memory.governor import Marks, set_marks
from adaptive_exec.core.memory.sizes import Measure
from adaptive_exec.core.memory.window import CHUNKS_MAX
from adaptive_exec.core.roster import Flight
from adaptive_exec.core.state import State

MOMENTS_MAX: Final = 300
"""Readings that are kept. Source: own choice, a picture is about 1,000 dots wide."""
MOMENT_SECONDS: Final = 0.05
"""Seconds of one of them while the run is young; doubled each time when there are too many."""
SPANS_MAX: Final = 1_000
"""Chunks that are kept, neighbours put together. Source: own choice, half a megabyte."""
NOTABLE_MAX: Final = 10
"""Chunks that are kept of the slowest, and as many of the largest."""
DEATHS_MAX: Final = 100
"""Chunks whose worker died that are kept apart; of more the first and the last half."""
CAUSE_LETTERS: Final = 200
"""Letters of a cause that are kept."""


class Moment(NamedTuple):
    """How things stood over a short time.

    Attributes:
        at: Its begin, monotonic seconds.
        used_low_bytes: The least memory in use under the limit, by whomever.
        used_high_bytes: The most.
        ours_bytes: By how much the workers of running chunks had grown, the most.
        reserved_bytes: What running chunks were expected to take, the most.
        limit_bytes: The memory limit in force.
        target_bytes: Use up to which chunks were let out.
        warn_bytes: Use from which no more were.
        critical_bytes: Use from which workers were stopped.
        window: Most chunks that memory let out, 0 where it set no bound.
        out: Most chunks that were out.
        workers: Most workers there were at each level, with its name.
        done: Tasks finished by its end.
        instances: Most instances that shared the host, this one included.
    """

    at: float
    used_low_bytes: int
    used_high_bytes: int
    ours_bytes: int
    reserved_bytes: int
    limit_bytes: int
    target_bytes: int
    warn_bytes: int
    critical_bytes: int
    window: int
    out: int
    workers: tuple[tuple[str, int], ...]
    done: int
    instances: int


class Span(NamedTuple):
    """A chunk, or several in a row of one worker that were put together.

    Attributes:
        at: When it was sent, monotonic seconds.
        until: When it was over.
        level: Where it ran.
        worker: Which worker there.
        batch: Its batch.
        first: Its first task.
        tasks: How many of its tasks ended.
        chunks: How many chunks these are.
        compute_seconds: Sum of the tasks' durations.
        wait_seconds: How long its worker was free before.
        wait_for: What it was free for, as `core/account` names it; `""` where it did not wait.
        peak_bytes: Highest growth of memory in a task; None where unknown.
        size: What was known beforehand of the size of its tasks; None where nothing was.
        attempt: The how-manieth execution it was.
        cause: Of what its worker died, `""` where it did not.
        failed: How many of its tasks ended in an exception of their own.
        arguments: What its first task was given, in short; `""` where that was not noted.
    """

    at: float
    until: float
    level: str
    worker: int
    batch: int
    first: int
    tasks: int
    chunks: int
    compute_seconds: float
    wait_seconds: float
    wait_for: str
    peak_bytes: int | None
    size: float | None
    attempt: int
    cause: str = ""
    failed: int = 0
    arguments: str = ""

    @property
    def task_seconds(self) -> float:
        """What one of its tasks took, in the mean."""
        return self.compute_seconds / max(1, self.tasks)


class Gauges:
    """Keeps readings, thinned to MOMENTS_MAX.

    Attributes:
        moments: Those kept, oldest first.
        next_at: When the next one is due; those of the host come beside.
    """

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.next_at = -FOREVER
        self._seconds = MOMENT_SECONDS
        self._marked: tuple[int, Marks] | None = None

    def note(self, now: float, state: State, done: int) -> None:
        """Take a reading."""
        self.next_at = now + self._seconds
        one = self._read(now, state, done)
        if self.moments and now < self.moments[-1].at + self._seconds:
            self.moments[-1] = _join_moments(self.moments[-1], one)
            return
        self.moments.append(one)
        if len(self.moments) > MOMENTS_MAX:
            pairs = zip(self.moments[0::2], self.moments[1::2], strict=False)
            odd = self.moments[-1:] if len(self.moments) % 2 else []
            self.moments = [_join_moments(*pair) for pair in pairs] + odd
            self._seconds *= 2

    def _read(self, now: float, state: State, done: int) -> Moment:
        host, memory, share = state.host, state.memory, state.sharing.share
        if self._marked is None or self._marked[0] != host.limit_bytes:
            self._marked = host.limit_bytes, set_marks(host, state.config)
        marks, limit = self._marked[1], host.limit_bytes
        width = memory.window.chunks
        flights = state.flights.values()
        return Moment(
            now,
            host.used_bytes,
            host.used_bytes,
            sum(memory.live.values()),
            sum(flight.reserve_bytes or memory.chunk_bytes for flight in flights),
            limit,
            marks.target_bytes,
            limit - marks.warn_bytes,
            limit - marks.critical_bytes,
            width if width < CHUNKS_MAX else 0,
            state.out,
            tuple((name, one.size) for name, one in state.levels.rosters.items() if one.size),
            done,
            1 if share is None else share.instances,
        )


def _join_moments(first: Moment, second: Moment) -> Moment:
    """Put two neighbours together; extremes stay."""
    workers = dict(first.workers)
    for level, count in second.workers:
        workers[level] = max(count, workers.get(level, 0))
    return second._replace(
        at=first.at,
        used_low_bytes=min(first.used_low_bytes, second.used_low_bytes),
        used_high_bytes=max(first.used_high_bytes, second.used_high_bytes),
        ours_bytes=max(first.ours_bytes, second.ours_bytes),
        reserved_bytes=max(first.reserved_bytes, second.reserved_bytes),
        out=max(first.out, second.out),
        workers=tuple(workers.items()),
        instances=max(first.instances, second.instances),
    )


GRAIN_SECONDS: Final = 0.005
"""Seconds of a row of chunks that are put together at once: less is no dot in a picture, and a
picture of thousands of tiny calls would cost each of them 2 us."""
SPANS_AIMED: Final = 400
"""Chunks, put together, that a whole run is to come to once it was thinned."""

_Opened = tuple[SendChunk, float, float, str, Measure | None]
"""A chunk that is out: since when, how long its worker was free before, for what, and its size."""


class _Row:
    """Chunks in a row of one worker, while they are put together."""

    __slots__ = (
        *("batch", "chunks", "compute", "failed", "full_at", "last", "longest", "opened"),
        *("peak", "size", "tasks", "wait", "wait_for"),
    )

    def __init__(self, opened: _Opened, full_at: float) -> None:
        self.opened = opened
        self.batch = opened[0].batch
        self.full_at = full_at
        self.tasks = self.chunks = self.failed = 0
        self.compute = self.last = self.wait = self.longest = 0.0
        self.wait_for = ""
        self.peak: int | None = None
        self.size: float | None = None

    def add(self, opened: _Opened, at: float, usage: Usage) -> None:
        """Take a chunk in."""
        waited, measure, peak = opened[2], opened[4], usage.peak_bytes
        self.last = at
        self.chunks += 1
        self.tasks += usage.tasks
        self.compute += usage.wall_seconds
        self.failed += usage.failed_tasks
        if peak is not None and (self.peak is None or peak > self.peak):
            self.peak = peak
        if measure is not None:
            self.size = max(self.size or 0.0, _size_of(measure))
        self.wait += waited
        if waited > self.longest:
            self.longest, self.wait_for = waited, opened[3]

    def as_span(self) -> Span:
        """Return them as one."""
        order, at, *_ = self.opened
        return Span(
            at,
            self.last,
            order.level,
            order.worker,
            order.batch,
            order.start,
            self.tasks,
            self.chunks,
            self.compute,
            self.wait,
            self.wait_for,
            self.peak,
            self.size,
            order.attempt,
            "",
            self.failed,
        )


def _alone(opened: _Opened, at: float, usage: Usage) -> Span:
    """Return one chunk as a span of its own."""
    row = _Row(opened, at)
    row.add(opened, at, usage)
    return row.as_span()


class Chart:
    """Keeps chunks, thinned to SPANS_MAX, and those that stand out.

    Attributes:
        slowest: The chunks with the longest tasks, longest first.
        largest: The chunks with the highest memory, highest first.
        deaths: The chunks whose worker died, as many as are kept.
        unnamed: The newest of those that stand out, whose arguments are not noted yet.
    """

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._rows: dict[int, _Row] = {}
        self._grain = GRAIN_SECONDS
        self.slowest: list[Span] = []
        self.largest: list[Span] = []
        self.deaths: list[Span] = []
        self.unnamed: Span | None = None
        self._open: dict[int, _Opened] = {}
        self._free_since: dict[int, float] = {}
        self._slow_from, self._large_from = -1.0, 0.0

    def begin(self, order: SendChunk, now: float, wait_for: str, flight: Flight | None) -> None:
        """Note a chunk that goes out, and what its worker was free for until now."""
        free_since = self._free_since.pop(order.worker, now)
        measure = None if flight is None else flight.measure
        self._open[order.chunk] = (order, now, now - free_since, wait_for, measure)

    def free(self, worker: int, now: float) -> None:
        """Note a worker that has reported for work."""
        self._free_since[worker] = now

    @property
    def spans(self) -> list[Span]:
        """Chunks in the order of their ends, those of one worker put together where they are many.

        For any thread.
        """
        kept = list(self._spans)  # first: what is flushed meanwhile is missing rather than twice
        return sorted([*kept, *(row.as_span() for row in list(self._rows.values()))], key=_until)

    def end(self, event: ChunkDone, usage: Usage) -> None:
        """Note a chunk that is through."""
        opened = self._open.pop(event.chunk, None)
        if opened is None:
            return
        at, worker = event.at, opened[0].worker
        self._free_since[worker] = at
        row = self._rows.get(worker)
        if row is None or at > row.full_at or row.batch != opened[0].batch:
            if row is not None:
                self._add(row.as_span())
            row = self._rows[worker] = _Row(opened, opened[1] + self._grain)
        row.add(opened, at, usage)
        if usage.wall_seconds > self._slow_from * (usage.tasks or 1):
            self._note(self.slowest, _task_seconds, _alone(opened, at, usage))
        if (usage.peak_bytes or 0) > self._large_from:
            self._note(self.largest, _peak, _alone(opened, at, usage))

    def _add(self, span: Span) -> None:
        """Keep a row that is over; where they are too many let later ones be longer."""
        self._spans.append(span)
        if len(self._spans) > SPANS_MAX:
            workers = len({one.worker for one in self._spans})
            seconds = span.until - self._spans[0].at
            self._grain = max(2 * self._grain, seconds * workers / SPANS_AIMED)
            self._spans = thin(self._spans)

    def lose(self, event: WorkerLost) -> None:
        """Note what became of the chunk of a worker that is gone."""
        self._free_since.pop(event.worker, None)
        for chunk, (order, at, waited, wait_for, measure) in list(self._open.items()):
            if order.worker == event.worker:
                del self._open[chunk]
                span = Span(
                    at,
                    event.at,
                    order.level,
                    order.worker,
                    order.batch,
                    order.start if event.running is None else event.running,
                    0,
                    1,
                    0.0,
                    waited,
                    wait_for if waited else "",
                    event.peak_bytes,
                    None if measure is None else _size_of(measure),
                    order.attempt,
                    event.cause[:CAUSE_LETTERS] or "lost",
                )
                self.unnamed = span
                self.deaths.append(span)
                if len(self.deaths) > DEATHS_MAX:
                    del self.deaths[DEATHS_MAX // 2]

    def forget_gone(self, state: State) -> None:
        """Let go of chunks that came to no end of their own, and of workers that were let go."""
        for chunk in self._open.keys() - state.flights.keys():
            del self._open[chunk]
        known = {worker for one in state.levels.rosters.values() for worker in one.services}
        for worker in self._free_since.keys() - known:
            del self._free_since[worker]
        for worker in self._rows.keys() - known:
            self._add(self._rows.pop(worker).as_span())

    def name(self, span: Span, arguments: str) -> None:
        """Note what the first task of one that stands out was given."""
        self.unnamed, named = None, span._replace(arguments=arguments)
        for kept in (self.slowest, self.largest, self.deaths):
            kept[:] = [named if one is span else one for one in kept]

    def _note(self, kept: list[Span], rank: Callable[[Span], float], span: Span) -> None:
        """Keep one that stands out; the last of them is what others must exceed."""
        kept.append(span)
        kept.sort(key=rank, reverse=True)
        del kept[NOTABLE_MAX:]
        self.unnamed = span
        if len(kept) < NOTABLE_MAX:
            return
        if kept is self.slowest:
            self._slow_from = rank(kept[-1])
        else:
            self._large_from = rank(kept[-1])


def _until(span: Span) -> float:
    return span.until


def _task_seconds(span: Span) -> float:
    return span.task_seconds


def _peak(span: Span) -> float:
    return float(span.peak_bytes or 0)


def _size_of(measure: Measure) -> float:
    """Return the largest number that was known of a chunk's size."""
    return float(measure.told_bytes or max(measure.numbers, default=0.0))


def thin(spans: Iterable[Span]) -> list[Span]:
    """Put neighbours of one worker together, two by two; those that failed stay by themselves."""
    kept: list[Span] = []
    waiting: dict[tuple[int, int], Span] = {}
    for span in spans:
        key = span.worker, span.batch
        before = waiting.pop(key, None)
        if before is not None:
            kept.append(_join_spans(before, span))
        else:
            waiting[key] = span
    kept += waiting.values()
    kept.sort(key=_until)
    return kept if len(kept) <= SPANS_MAX * 3 // 4 else kept[1::2]


def _join_spans(first: Span, second: Span) -> Span:
    peaks = [one.peak_bytes for one in (first, second) if one.peak_bytes is not None]
    sizes = [one.size for one in (first, second) if one.size is not None]
    longer = first if first.wait_seconds >= second.wait_seconds else second
    return first._replace(
        until=second.until,
        tasks=first.tasks + second.tasks,
        chunks=first.chunks + second.chunks,
        compute_seconds=first.compute_seconds + second.compute_seconds,
        wait_seconds=first.wait_seconds + second.wait_seconds,
        wait_for=longer.wait_for,
        peak_bytes=max(peaks) if peaks else None,
        size=max(sizes) if sizes else None,
        attempt=max(first.attempt, second.attempt),
        failed=first.failed + second.failed,
    )
