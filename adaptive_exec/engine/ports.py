"""What the engine works between: the callers' side of a batch, the ledger, the loop and its lanes.

Protocols only, so that none of its parts knows how another one does its work.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from adaptive_exec.core.events import Event
from adaptive_exec.core.instructions import TradeShare
from adaptive_exec.core.lifecycle import ExecutorEvent
from adaptive_exec.core.reason import Reason
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.errors import DriverError
from adaptive_exec.ledger.facts import Facts, Traded
from adaptive_exec.levels.base import Results, Work
from adaptive_exec.program.captured import Captured

Step = Callable[[], object]


class Calls(Protocol):
    """The callers' side of a batch: its arguments, and where its outcomes go."""

    work: Work
    captured: Captured | None

    def ask(self, count: int) -> None:
        """Pull up to `count` more tasks, or have the caller's thread do it."""

    def size(self, start: int | None) -> None:
        """Look at the arguments of tasks from `start` on, whatever comes; None: no more."""

    def items(self, start: int, stop: int) -> Sequence[Any]:
        """Return the arguments of tasks `start` to `stop` - 1."""

    def given(self, index: int) -> object:
        """Return what a task is given, to be named in a report; None where it is gone."""

    def names(self, start: int, stop: int) -> bytes:
        """Return the tasks' keys in the journal, one after the other; empty without one."""

    def deliver(self, start: int, results: Results, level: str, attempt: int) -> None:
        """Take outcomes, the first of which is task `start`'s."""

    def record(
        self, start: int, results: Results, level: str, attempt: int, *, worker: int
    ) -> None:
        """Have outcomes written into the journal, the first of which is task `start`'s."""

    def record_failures(self, start: int, stop: int, reason: Reason) -> None:
        """Have it written that tasks end with one of our errors."""

    def recall(self, start: int, stop: int) -> None:
        """Take outcomes that came from the journal."""

    def look_aside(self) -> bool:
        """Look what became of tasks that another instance runs; return whether some still wait."""

    def fail(self, start: int, stop: int, reason: Reason) -> None:
        """End tasks with one of our errors."""

    def finish(self) -> None:
        """Every task has its outcome."""

    def cancel(self) -> None:
        """What has not begun by now never will."""

    def abort(self, error: BaseException) -> None:
        """End every open task with this error; from any thread, more than once."""

    def give_up(self, error: BaseException) -> None:
        """End this batch with an error while all others go on."""

    def end_input(self, *, at_exit: bool) -> None:
        """No more calls will come from outside.

        The executor is shut down or was let go, or the interpreter ends.
        """

    def cut_input(self) -> None:
        """The caller has failed: an input that may be endless ends here."""

    def count_gathered(self) -> int:
        """Return how many tasks came from an input that goes on; 0 where none will come."""

    def call_for_attention(self) -> None:
        """Something lies ready for the thread that takes the results."""

    def serve(self) -> bool:
        """Do in the calling thread what lies ready for it; return False when nothing did."""


class LedgerBook(Protocol):
    """This instance's side of the ledger."""

    def trade(self, order: TradeShare, host: HostSnapshot, facts: Facts) -> Traded:
        """Enter a claim, and say what the others leave."""

    def close(self) -> None:
        """End the lease."""

    def let_go(self) -> None:
        """In a forked child: close the descriptors."""


class Hands(Protocol):
    """The loop, as its parts see it."""

    batches: dict[int, Calls]

    @property
    def is_threaded(self) -> bool:
        """True while a thread of its own drives."""

    def post(self, event: Event) -> None:
        """Report an event; safe from any thread, never waits."""

    def put(self, event: Event) -> None:
        """Report an event from the thread that drives."""

    def apart(self, name: str, step: Step) -> None:
        """Have a step run in a lane; here and now where no thread of our own drives."""

    def look_by(self, at: float) -> None:
        """Have runners look after what comes by itself at the latest then."""

    def tend_by(self, at: float) -> None:
        """Have the journal looked after at the latest then."""


class Wheel(Hands, Protocol):
    """The loop, as the part sees it that performs what was decided."""

    timer_at: float | None

    def may_drive(self) -> bool:
        """Say whether the calling thread may touch runners."""

    def ensure_thread(self, level: str) -> None:
        """Have a thread of our own drive, which a level needs."""

    def in_turn(self, step: Step) -> None:
        """Have a step run by whoever drives; from any thread."""

    def finish(self, event: ExecutorEvent) -> None:
        """End for good."""


def give_up(calls: Calls, error: Exception) -> DriverError:
    """End a batch whose own side has failed with an error that chains the cause; return that."""
    failure = DriverError(f"a batch could not be served ({type(error).__name__}: {error})")
    failure.__cause__ = error
    calls.give_up(failure)
    return failure
