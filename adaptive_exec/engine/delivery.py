"""Hands results to their callers, after what tasks have said, the journal and task folders.

Keeps what came of chunks until the run says what becomes of it. An error in one batch's own side
ends that batch and touches no other. Decides nothing.
"""

import contextlib
import itertools
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Final

from adaptive_exec.core.instructions import Deliver, FailTasks, Pull, Recall, Record, SizeTasks
from adaptive_exec.engine import lanes as lane
from adaptive_exec.engine.ports import Calls, Hands, Step, give_up
from adaptive_exec.engine.recorder import RecordBook, Recorder
from adaptive_exec.levels.base import Block, Failure, Results
from adaptive_exec.levels.current import Place
from adaptive_exec.levels.task_folders import TaskFolders
from adaptive_exec.program.captured import Captured

STACKS_MAX: Final = 1_000
"""Stacks of crashed tasks that are kept for their errors, of 16 KiB at most."""


class Delivery:
    """What lies between chunks that are through and their callers.

    Args:
        hands: The loop.
        journal: The journal, None for none.
        folders: Where tasks keep their own state.

    Attributes:
        orders: Level, attempt and worker of each chunk that was sent and is not over.
        results: What came of it and is not handed over.
        has_chains: Whether steps of one lane put some into another, and those into the first.
    """

    def __init__(self, hands: Hands, journal: RecordBook | None, folders: TaskFolders) -> None:
        self.folders = folders
        self.orders: dict[int, tuple[str, int, int]] = {}
        self.results: dict[int, deque[Results]] = {}
        self._hands = hands
        self._has_journal = journal is not None
        self._recorder = Recorder(journal, hands.post)
        self._stacks: dict[tuple[int, int], str] = {}
        self._said: set[int] = set()
        self._recorded: set[int] = set()
        self._foldered: set[int] = set()
        self._is_tending = False
        self.has_chains = False

    def enter(self, batch: int) -> None:
        """Know a batch whose outcomes are recorded."""
        self._recorded.add(batch)
        self._recorder.enter(batch)

    def put_results(self, chunk: int, results: Results) -> None:
        """Hand in results of a chunk, before the event that counts them."""
        self.results.setdefault(chunk, deque()).append(results)

    def note_stack(self, batch: int, index: int, stack: str) -> None:
        """Keep where in its code a task was whose worker crashed, for the error that may follow."""
        self._stacks[batch, index] = stack
        if len(self._stacks) > STACKS_MAX:
            self._stacks.pop(next(iter(self._stacks)))

    def hear(self, batch: int | None, step: Step) -> None:
        """Have a step run that says what a task has said; the batch's results come behind it."""
        if batch is not None:
            self._said.add(batch)
        self._hands.apart(lane.SAY, step)

    def captured(self, batch: int | None) -> Captured | None:
        """Return where what tasks of a batch say is kept, None where it is not."""
        calls = None if batch is None else self._hands.batches.get(batch)
        return None if calls is None else calls.captured

    def forget(self, chunk: int) -> None:
        """Let go of what belongs to a chunk that is over."""
        self.orders.pop(chunk, None)
        self.results.pop(chunk, None)

    def record(self, order: Record) -> None:
        """Have results written that may have come in many pieces; together they cost less."""
        level, attempt, worker = self.orders[order.chunk]
        held, parts, count = self.results[order.chunk], [], 0
        for place in itertools.count():  # not an iterator: a worker's thread may add meanwhile
            if count == order.stop - order.start:
                break
            parts.append(held[place])
            count += held[place].count
        calls = self._hands.batches[order.batch]
        record = partial(calls.record, order.start, level=level, attempt=attempt, worker=worker)
        self._record_apart(calls, lambda: record(results=_join(parts)))

    def deliver(self, order: Deliver) -> None:
        """Hand results to the caller, where they are recorded after that."""
        calls = self._hands.batches[order.batch]
        level, attempt, _ = self.orders[order.chunk]
        held, start = self.results[order.chunk], order.start
        if self.folders.is_used:  # one look for all: whose results are here has made its folder
            self._foldered.add(order.batch)
        hand_over = self._clear_first if order.batch in self._foldered else self._hand_over
        while start < order.stop:
            results = held.popleft()
            stop = start + results.count  # counted before: the taker empties the list
            block = Block(start, results, level, attempt)
            self._pass_on(calls, order.batch, partial(hand_over, calls, block))
            start = stop

    def _pass_on(self, calls: Calls, batch: int, step: Step) -> None:
        """Deliver at once, or after what was recorded is written and folders are removed.

        And after all that tasks of the batch have said until now.
        """
        if batch in self._said:
            step = partial(self._hands.apart, lane.SAY, partial(self._contain, calls, step))
        if batch in self._recorded:
            self._record_apart(calls, partial(self._recorder.deliver, batch, step))
        elif batch in self._foldered:
            self._record_apart(calls, step)
        else:
            self._contain(calls, step)

    def _clear_first(self, calls: Calls, block: Block) -> None:
        self._clear(calls, block)
        self._hand_over(calls, block)

    @staticmethod
    def _hand_over(calls: Calls, block: Block) -> None:
        calls.deliver(block.start, block.results, block.level, block.attempt)

    def _clear(self, calls: Calls, block: Block) -> None:
        """Remove the state of tasks that are done; one that failed may be tried again later."""
        start, values = block.start, block.results.values
        names = calls.names(start, start + len(values))
        place = Place(self.folders.base, names, calls.work.batch, start, block.attempt)
        self.folders.clear(
            place,
            [
                index
                for index, value in enumerate(values, start)
                if not (self.folders.is_lasting and isinstance(value, Failure))
            ],
        )

    def fail(self, order: FailTasks) -> None:
        """End tasks with an error; each of those that crashed with its own stack."""
        tasks = range(order.start, order.stop)
        if len(tasks) > STACKS_MAX or not any((order.batch, at) in self._stacks for at in tasks):
            self._fail_alike(order)
            return
        for at in tasks:
            stack = self._stacks.pop((order.batch, at), "")
            facts = (*order.reason.facts, ("stack", stack))
            reason = order.reason._replace(facts=facts)
            self._fail_alike(order._replace(start=at, stop=at + 1, reason=reason))

    def _fail_alike(self, order: FailTasks) -> None:
        calls = self._hands.batches[order.batch]
        facts = order.start, order.stop, order.reason
        if order.batch in self._recorded:
            self._record_apart(calls, partial(calls.record_failures, *facts))
        self._pass_on(calls, order.batch, partial(calls.fail, *facts))

    def recall(self, order: Recall) -> None:
        """Have results handed over that came from the journal."""
        calls = self._hands.batches[order.batch]
        self._record_apart(calls, partial(calls.recall, order.start, order.stop))

    def pull(self, order: Pull) -> None:
        """Ask for more; where the journal is looked into for each, apart from this thread."""
        calls = self._hands.batches[order.batch]
        if order.batch in self._recorded:
            self._record(calls, partial(calls.ask, order.count))
        else:
            self._contain(calls, partial(calls.ask, order.count))

    def size(self, order: SizeTasks) -> None:
        """Have the arguments of tasks looked at."""
        calls = self._hands.batches[order.batch]
        self._contain(calls, partial(calls.size, order.start))

    def finish_batch(self, batch: int) -> None:
        """End a batch, after all that is still to be handed over."""
        calls = self._hands.batches.pop(batch)
        for one in [one for one in self._stacks if one[0] == batch]:
            del self._stacks[one]
        is_beside = batch in self._recorded or batch in self._foldered
        finish: Step = calls.finish
        if batch in self._said:
            finish = partial(self._hands.apart, lane.SAY, finish)
        self._said.discard(batch)
        if batch in self._recorded:
            self._record_apart(calls, partial(self._recorder.finish, batch))
        self._recorded.discard(batch)
        self._foldered.discard(batch)
        if is_beside:
            self._record_apart(calls, finish)
        else:
            finish()

    def _record_apart(self, calls: Calls, step: Step) -> None:
        """Have a step run that waits for a disk; what it raises ends its batch alone.

        Where what tasks say is kept it is written with what became of them, so it comes first.
        """
        if calls.captured is None:
            self._record(calls, step)
        else:
            self.has_chains = True
            self._hands.apart(lane.SAY, partial(self._record, calls, step))

    def _record(self, calls: Calls, step: Step) -> None:
        self._hands.apart(lane.RECORD, partial(self._record_step, calls, step))

    def _record_step(self, calls: Calls, step: Step) -> None:
        try:
            step()
            self._hands.tend_by(self._recorder.flush_if_due(may_wait=self._hands.is_threaded))
        except Exception as error:  # noqa: BLE001  # a bug of ours, or no memory: nobody may wait for ever
            give_up(calls, error)

    def _contain(self, calls: Calls, step: Step) -> None:
        """Do what concerns one batch; an error in it ends that batch and touches no other."""
        try:
            step()
        except Exception as error:  # noqa: BLE001  # as above
            give_up(calls, error)

    def tend(self) -> None:
        """Have the journal looked after, unless that is under way."""
        if self._has_journal and not self._is_tending:
            self._is_tending = True
            calls = list(self._hands.batches.values())
            self._hands.apart(lane.RECORD, partial(self._tend_journal, calls))

    def _tend_journal(self, calls: Sequence[Calls]) -> None:
        try:
            at = self._recorder.tend(calls, may_wait=self._hands.is_threaded)
        finally:
            self._is_tending = False
        self._hands.tend_by(at)

    def flush(self) -> None:
        """Have written what is finished, if it can be."""
        if self._has_journal:
            self._hands.apart(lane.RECORD, self._flush_journal)

    def _flush_journal(self) -> None:
        with contextlib.suppress(Exception):  # a crash may have left anything behind
            self._recorder.flush()

    def close(self) -> None:
        """Close the journal and remove what folders are left."""
        if self._has_journal or self.folders.is_used:
            close = partial(self._hands.apart, lane.RECORD, self._close_files)
            if self.has_chains:
                self._hands.apart(lane.SAY, close)
            else:
                close()

    def _close_files(self) -> None:
        with contextlib.suppress(Exception):  # a crash may have left anything behind
            self._recorder.close()
        self.folders.close()


def _join(parts: Sequence[Results]) -> Results:
    """Put results together that came in pieces; a lot costs the journal less."""
    values = [value for part in parts for value in part.values]
    details = [part.details for part in parts]
    if None in details:
        return Results(values)
    return Results(values, [one for some in details if some is not None for one in some])
