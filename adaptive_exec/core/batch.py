"""The state of one batch: which tasks are pending, out, suspected, finished; what they take.

Tasks are index ranges, so two million of them cost no more than ten. Decides nothing.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from adaptive_exec.core.bounds import COUNT, bound
from adaptive_exec.core.costs import Costs
from adaptive_exec.core.events import BatchOpened
from adaptive_exec.core.lifecycle import BATCH, BatchEvent, BatchState, after
from adaptive_exec.core.memory.peaks import NOTHING_KNOWN
from adaptive_exec.core.memory.sizes import Measure, join
from adaptive_exec.core.quarantine import Suspect

LOOK_TASKS = 64
"""Waiting tasks among which one that fits is looked for. Source: own choice; 1 us each."""
Range = tuple[int, int, int]
"""First task, the one after the last, and how often each of them was begun before."""


class Batch:
    """One batch on its way through.

    Attributes:
        level: Where its next chunk goes.
        home: Where it would run if no level had failed; a restore leads back there.
        trial: The better level that is being tried with one chunk of it; None while none is.
        costs_beside: What its tasks take at the level beside, where there is one.
        chunk: Length of the last chunk that was cut, before the end of the input cut it shorter.
        refusal: Why its function cannot go to a process, `""` while it can.
        moves: Moves by measurement so far.
        asked: Tasks asked of the caller's iterator and not here yet.
        out: Chunks of it that were sent and are not over, by level.
        frontier: The task after the last one that was ever sent.
        line: Suspects that wait for their turn, first come first served.
        records: What is held against suspects, waiting or out.
        recorded: Whether outcomes are recorded before they are delivered.
        aside: Tasks that are here and not to be run for now.
        recalled_bytes: Bytes of a result in the last lot that came from the journal.
        peaks: What its chunks were measured to take of memory.
        unmeasured: Chunks in workers of which nothing was measured, while none was.
        is_glutted: True while it waits for its caller to take results.
        kept_each: Bytes by which a worker was seen to grow for good with each task.
        grown_workers: Workers in a row that grew with each chunk until they were too large.
        is_leaking: True once it was said that its function leaks.
        is_unwalled: True once its function was found to reserve memory that it does not use.
        is_sizing: True once measures of its tasks have come.
        is_sized: True when the measure of each task comes, so that it is waited for.
        unsized: The chunk after which measures were asked for: its first task, the one after the
            last, what it took, its seconds; None once its own measure has come.
        is_asking: True while they are asked for.
        is_told: True where the user says of each task what it takes.
        measures: What is known of the size of tasks that are not finished.
        passed_from: The newest chunk when others began to pass the first task that waits, None
            while none does.
    """

    def __init__(  # noqa: PLR0915  # a line for each
        self, opened: BatchOpened, *, level: str, home: str
    ) -> None:
        self.id = opened.batch
        self.tasks = _known(opened.tasks)
        self.chunk_tasks = _known(opened.chunk_tasks)
        self.buffer_tasks = _known(opened.buffer_tasks)
        self.single = opened.single
        self.portable = opened.portable
        self.kind = opened.kind
        self.recorded = opened.recorded
        self.level = level
        self.home = home
        self.trial: str | None = None
        self.chunk = self.chunk_tasks or 1
        self.refusal = "" if opened.portable else opened.refusal or "it cannot be pickled"
        self.moves = 0
        self.costs = Costs()
        self.costs_beside = Costs()
        self.load_seconds: float | None = None
        self.peaks = NOTHING_KNOWN
        self.unmeasured = 0
        self.is_glutted = False
        self.kept_each = 0.0
        self.grown_workers = 0
        self.is_leaking = self.is_unwalled = False
        self.is_sized = opened.sized
        self.unsized: tuple[int, int, int, float] | None = None
        self.is_sizing = self.is_asking = self.is_told = False
        self.measures: dict[int, Measure] = {}
        self.passed_from: int | None = None
        self.arrived = 0
        self.asked = 0
        self.sent = 0
        self.frontier = 0
        self.out: dict[str, int] = {}
        self.finished = 0
        self.taken = 0
        self.pending = 0
        self.aside: set[int] = set()
        self.recalled_bytes = 0.0
        self.state: BatchState = "open"
        self.exhausted = self.dropped = False
        self.line: deque[int] = deque()
        self.records: dict[int, Suspect] = {}
        self._ranges: deque[Range] = deque()

    def see(self, event: BatchEvent) -> None:
        """Take in what happened to the batch."""
        self.state = after(BATCH, self.state, event)
        self.exhausted, self.dropped = True, self.state == "dropped"

    @property
    def left(self) -> int | None:
        """Tasks not yet sent, None when unknown."""
        if self.exhausted:
            return self.pending
        return None if self.tasks is None else max(self.pending, self.tasks - self.sent)

    @property
    def may_begin(self) -> bool:
        """True when a task waits to be sent."""
        return bool(self.pending)

    def measure_came(self, index: int, measure: Measure | None) -> None:
        """Keep what is known of the size of a task."""
        if measure is not None:
            self.measures[index] = measure

    @property
    def first_pending(self) -> int:
        """The first task that waits to be sent; only while there is one."""
        return min(start for start, _, _ in self._ranges)

    @property
    def next_executions(self) -> int:
        """How often the next task to be sent was begun before; only while one waits."""
        return self._ranges[0][2]

    @property
    def held(self) -> int:
        """Finished tasks whose result the caller has not taken."""
        return self.finished - self.taken

    @property
    def is_finished(self) -> bool:
        """True when every task has its outcome and no more will come."""
        return self.exhausted and self.finished >= self.arrived and not self.out

    def arrive(self, count: int) -> None:
        """Take in the next `count` tasks."""
        if self._ranges and self._ranges[-1][1:] == (self.arrived, 0):
            self._ranges[-1] = (self._ranges[-1][0], self.arrived + count, 0)
        else:
            self._ranges.append((self.arrived, self.arrived + count, 0))
        self.pending += count
        self.arrived += count
        self.asked = max(0, self.asked - count)

    def set_aside(self, count: int) -> None:
        """Take in the next `count` tasks, which are not to be run for now."""
        self.aside.update(range(self.arrived, self.arrived + count))
        self.arrived += count
        self.sent += count
        self.asked = max(0, self.asked - count)

    def recall(self, start: int, stop: int, result_bytes: int) -> None:
        """Note that tasks that were set aside have their results."""
        self.aside.difference_update(range(start, stop))
        self.finished += stop - start
        self.forget_measures(start, stop)
        self.recalled_bytes = result_bytes / (stop - start)

    def free(self, start: int, stop: int) -> None:
        """Have tasks run that were set aside."""
        self.aside.difference_update(range(start, stop))
        self.give_back(start, stop, 0)

    def give_back(self, start: int, stop: int, executions: int) -> None:
        """Put tasks `start` to `stop` - 1, which were sent, at the head again."""
        self.sent -= stop - start
        self.pending += stop - start
        if self._ranges and executions == 0 and self._ranges[0][0::2] == (stop, 0):
            stop = self._ranges.popleft()[1]
        self._ranges.appendleft((start, stop, executions))

    def pending_ranges(self) -> tuple[tuple[int, int], ...]:
        """Return first task and one after the last of what waits to be sent, as it would go."""
        return tuple((start, stop) for start, stop, _ in tuple(self._ranges))

    def waiting(self) -> Iterator[int]:
        """Return the first tasks that wait to be sent, in the order in which they would go."""
        return islice((index for one in self._ranges for index in range(*one[:2])), LOOK_TASKS)

    def take(self, count: int, first: int | None = None) -> Range:
        """Take up to `count` tasks as one range: from the head, or from a task that waits."""
        place = 0 if first is None else self._find(first)
        start, stop, executions = self._ranges[place]
        if first is not None and first > start:
            self._ranges[place] = (start, first, executions)
            self._ranges.insert(place + 1, (first, stop, executions))
            place, start = place + 1, first
        cut = min(stop, start + count)
        if cut == stop:
            del self._ranges[place]
        else:
            self._ranges[place] = (cut, stop, executions)
        self.pending -= cut - start
        self.sent += cut - start
        self.frontier = max(self.frontier, cut)
        return start, cut, executions

    def _find(self, task: int) -> int:
        return next(at for at, one in enumerate(self._ranges) if one[0] <= task < one[1])

    def measure(self, start: int, stop: int) -> Measure | None:
        """Return what is known of the size of tasks, the larger of each number."""
        joined = None
        for index in range(start, stop):
            joined = join(joined, self.measures.get(index))
        return joined

    def forget_measures(self, start: int, stop: int) -> None:
        """Let go of what was known of finished tasks."""
        for index in range(start, stop):
            self.measures.pop(index, None)

    def begin(self, level: str) -> None:
        """Note a chunk that goes out to a level."""
        self.out[level] = self.out.get(level, 0) + 1

    def end(self, level: str) -> None:
        """Note that a chunk at a level is over."""
        self.out[level] -= 1
        if not self.out[level]:
            del self.out[level]

    def drop(self) -> list[Range]:
        """Expect no more and forget what was never sent.

        Returns:
            The pending tasks that were sent before: somebody may have seen them begin, so they
            need an end. So do those set aside that have such neighbours behind them.
        """
        self.see("dropped")
        waited = self.forget_waiting()
        ranges = [(start, min(stop, self.frontier), n) for start, stop, n in waited]
        once_sent = [one for one in ranges if one[0] < one[1]]
        self.finished += self.pending - sum(stop - start for start, stop, _ in once_sent)
        gaps = [(index, index + 1, 0) for index in sorted(self.aside) if index < self.frontier]
        self.finished += len(self.aside) - len(gaps)
        self.aside.clear()
        self.measures.clear()
        self.pending = 0
        return once_sent + gaps

    def forget_waiting(self) -> list[Range]:
        """Let go of all that waits; return it."""
        waited = list(self._ranges)
        self._ranges.clear()
        return waited


def _known(count: int | None) -> int | None:
    return None if count is None else bound(count, COUNT)
