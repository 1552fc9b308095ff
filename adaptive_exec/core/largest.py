"""A batch whose largest tasks go first: the longest do not begin when all others are done.

What its caller has not taken bounds how far ahead it looks. Until all of the first stretch have
come and were looked at, none goes. Decides nothing else.

Source: Graham 1969, longest processing time first: at most 4/3 of the shortest makespan.
"""

from bisect import insort
from collections.abc import Iterator
from itertools import islice

from adaptive_exec.core.batch import LOOK_TASKS, Batch, Range
from adaptive_exec.core.chunks import HELD_TASKS_MAX, PULL_TASKS_MAX
from adaptive_exec.core.events import BatchOpened
from adaptive_exec.core.memory.sizes import Measure

AHEAD_TASKS = HELD_TASKS_MAX
"""Tasks whose results the caller has not taken among which the largest is looked for. Source: so
many results are held for a caller anyway."""
STEPS = 16
"""Parts of that in which more are asked for, so that a caller who takes one result after the other
does not have one task asked for each time. Source: own choice."""


class LargestFirst(Batch):
    """One batch in which the largest of the tasks that wait goes next.

    Attributes:
        by_size: True where the user's own number counts, not what he says a task takes.
        number: Which of several numbers of a task counts.
        measured: Tasks whose measure has come.
        is_lined_up: True once all of the first stretch are here and measured.
    """

    def __init__(self, opened: BatchOpened, *, level: str, home: str, by_size: bool) -> None:
        super().__init__(opened, level=level, home=home)
        self.by_size = by_size
        self.number = 0
        self.measured = 0
        self.is_lined_up = False
        self._waits: dict[int, int] = {}
        self._ranked: list[tuple[float, int]] = []
        self._early: set[int] = set()

    # who is next

    @property
    def may_begin(self) -> bool:
        """True when a task waits whose place among the others is known."""
        if not self.pending:
            return False
        if not self.is_lined_up:
            has_come = self.exhausted or not self.asked
            self.is_lined_up = has_come and self.measured >= self.arrived
        return self.is_lined_up and self._skim()

    @property
    def first_pending(self) -> int:
        """The first task that waits to be sent; only while there is one."""
        return min(self._waits)

    def pending_ranges(self) -> tuple[tuple[int, int], ...]:
        """Return first task and one after the last of what waits to be sent, as it would go."""
        waits = dict.fromkeys(task for _, task in tuple(self._ranked) if task in self._waits)
        return tuple((task, task + 1) for task in {**waits, **dict.fromkeys(tuple(self._waits))})

    @property
    def next_executions(self) -> int:
        """How often the next task to be sent was begun before; only while one waits."""
        return self._waits[next(self.waiting(), next(iter(self._waits)))]

    def waiting(self) -> Iterator[int]:
        """Return the largest tasks that wait to be sent, in the order in which they would go."""
        return islice((task for _, task in self._ranked if task in self._waits), LOOK_TASKS)

    def measure_came(self, index: int, measure: Measure | None) -> None:
        """Give a task its place among the others."""
        self.measured += 1
        if measure is not None:
            self.measures[index] = measure
        if index < self.arrived:
            self._rank(index)
        else:
            self._early.add(index)

    def go_by(self, number: int) -> None:
        """Have another of the tasks' numbers count."""
        if number != self.number:
            self.number = number
            ranked = {task for _, task in self._ranked if task in self._waits}
            self._ranked = sorted((-self._weigh(task), task) for task in ranked)

    def _rank(self, index: int) -> None:
        insort(self._ranked, (-self._weigh(index), index))
        if len(self._ranked) > 2 * len(self._waits) + LOOK_TASKS:
            self._ranked = [one for one in self._ranked if one[1] in self._waits]

    def _weigh(self, index: int) -> float:
        measure = self.measures.get(index)
        if measure is None:
            return 0.0
        if measure.told_bytes is not None and not self.by_size:
            return float(measure.told_bytes)
        numbers = measure.numbers
        return numbers[min(self.number, len(numbers) - 1)] if numbers else 0.0

    def _skim(self) -> bool:
        """Forget those at the head that are out; return whether one is left."""
        gone = next((at for at, one in enumerate(self._ranked) if one[1] in self._waits), None)
        del self._ranked[:gone]
        return bool(self._ranked)

    # what waits

    def room_to_pull(self) -> int:
        """Say how many more tasks are to be asked for: as many as may be compared."""
        most = AHEAD_TASKS if self.buffer_tasks is None else min(AHEAD_TASKS, self.buffer_tasks)
        room = min(PULL_TASKS_MAX, most - (self.arrived - self.taken) - self.asked)
        return room if room >= most // STEPS else 0

    def arrive(self, count: int) -> None:
        """Take in the next `count` tasks."""
        came = range(self.arrived, self.arrived + count)
        self._waits.update(dict.fromkeys(came, 0))
        self.pending += count
        self.arrived += count
        self.asked = max(0, self.asked - count)
        for index in self._early.intersection(came):
            self._rank(index)
        self._early.difference_update(came)

    def set_aside(self, count: int) -> None:
        """Take in the next `count` tasks, which are not to be run for now."""
        super().set_aside(count)
        self._early.difference_update(range(self.arrived - count, self.arrived))

    def give_back(self, start: int, stop: int, executions: int) -> None:
        """Let tasks `start` to `stop` - 1, which were sent, wait again."""
        self.sent -= stop - start
        self.pending += stop - start
        for index in range(start, stop):
            self._waits[index] = executions
            self._rank(index)

    def take(self, count: int, first: int | None = None) -> Range:
        """Take the largest task that waits, or a certain one, and up to `count` - 1 behind it."""
        if first is None:
            first = next(self.waiting(), None)
        start = next(iter(self._waits)) if first is None else first
        executions, stop = self._waits.pop(start), start + 1
        while stop < start + count and self._waits.get(stop) == executions:
            del self._waits[stop]
            stop += 1
        self.pending -= stop - start
        self.sent += stop - start
        self.frontier = max(self.frontier, stop)
        return start, stop, executions

    def forget_waiting(self) -> list[Range]:
        """Let go of all that waits; return it."""
        waits = sorted(self._waits.items())
        self._waits.clear()
        self._ranked.clear()
        self._early.clear()
        return [(task, task + 1, executions) for task, executions in waits]
