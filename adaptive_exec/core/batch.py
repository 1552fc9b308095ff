"""The state of one batch inside a run: which tasks are pending, out, finished, and what they were measured to take.

Tasks are index ranges, so two million of them cost no more than ten. Decides nothing; `core/run` owns it.
"""

from collections import deque

from adaptive_exec.core.costs import Costs
from adaptive_exec.core.events import BatchOpened


class Batch:
    """One batch on its way through.

    Attributes:
        level: Where it runs now.
        home: Where its plan put it; a restore leads back there.
        moving_to: The level it moves to once what is out at `level` is back (draining); None while it stays.
        trial: The level above that is being tried with one chunk; None while none is.
        out: Chunks that are with workers, by level.
    """

    def __init__(self, opened: BatchOpened, level: str) -> None:
        self.id = opened.batch
        self.tasks = opened.tasks
        self.chunk_tasks = opened.chunk_tasks
        self.buffer_tasks = opened.buffer_tasks
        self.single = opened.single
        self.portable = opened.portable
        self.home = level
        self.level = level
        self.moving_to: str | None = None
        self.trial: str | None = None
        self.moves = 0
        self.costs = Costs()
        self.arrived = 0
        self.asked = 0
        self.sent = 0
        self.out: dict[str, int] = {}
        self.finished = 0
        self.taken = 0
        self.suspects = 0
        self.exhausted = False
        self.dropped = False
        self._pending: deque[tuple[int, int]] = deque()
        self._pending_count = 0

    @property
    def pending(self) -> int:
        """Tasks here and not sent, suspects apart."""
        return self._pending_count

    @property
    def left(self) -> int | None:
        """Tasks not yet sent, None when unknown."""
        if self.exhausted:
            return self._pending_count
        return None if self.tasks is None else max(self._pending_count, self.tasks - self.sent)

    @property
    def held(self) -> int:
        """Finished tasks whose result the caller has not taken."""
        return self.finished - self.taken

    @property
    def is_finished(self) -> bool:
        """True when every task has its outcome and no more will come."""
        return self.exhausted and self.finished >= self.arrived

    @property
    def in_flight(self) -> int:
        """Chunks of it that are with workers."""
        return sum(self.out.values())

    def arrive(self, count: int) -> None:
        """Take in the next `count` tasks."""
        self.give_back(self.arrived, self.arrived + count, front=False)
        self.arrived += count
        self.asked = max(0, self.asked - count)

    def give_back(self, start: int, stop: int, *, front: bool = True) -> None:
        """Put tasks `start` to `stop` - 1 into the line."""
        if start >= stop:
            return
        self._pending_count += stop - start
        if front:
            self._pending.appendleft((start, stop))
        elif self._pending and self._pending[-1][1] == start:
            self._pending[-1] = (self._pending[-1][0], stop)
        else:
            self._pending.append((start, stop))

    def take(self, count: int) -> tuple[int, int]:
        """Take up to `count` tasks from the head of the line, as one range."""
        start, stop = self._pending[0]
        cut = min(stop, start + count)
        if cut == stop:
            self._pending.popleft()
        else:
            self._pending[0] = (cut, stop)
        self._pending_count -= cut - start
        return start, cut

    def send(self, level: str, count: int) -> None:
        """Note a chunk of `count` tasks that goes out to a level."""
        self.out[level] = self.out.get(level, 0) + 1
        self.sent += count

    def drop(self) -> int:
        """Forget what has not begun and expect no more; return how many were forgotten."""
        forgotten = self._pending_count
        self._pending.clear()
        self._pending_count = 0
        self.finished += forgotten
        self.exhausted = True
        self.dropped = True
        return forgotten
