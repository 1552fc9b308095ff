"""The lives of what a run deals with, as tables: the state, what happens, the state after it.

Whatever is not in a table cannot happen; that it did is a bug of ours and fails at once. The page
`docs/lifecycle.md` is drawn from here. Decides nothing.
"""

from collections.abc import Mapping
from typing import Final, Generic, Literal, TypeVar

S = TypeVar("S", bound=str)
E = TypeVar("E", bound=str)
Table = Mapping[S, Mapping[E, S]]
"""The state after each event that may come in each state."""

ExecutorState = Literal["open", "shut", "ended"]
ExecutorEvent = Literal["shut down", "driver finished", "driver failed", "told to end at once"]

EXECUTOR: Final[Table[ExecutorState, ExecutorEvent]] = {
    "open": {
        "shut down": "shut",
        "told to end at once": "shut",
        "driver finished": "ended",  # it was let go without a shutdown
        "driver failed": "ended",
    },
    "shut": {
        "shut down": "shut",
        "told to end at once": "shut",
        "driver finished": "ended",
        "driver failed": "ended",
    },
    "ended": {"shut down": "ended", "told to end at once": "ended"},
}
"""What is taken on: everything, nothing new from outside, nothing at all."""

LevelState = Literal["closed", "open", "draining", "closing"]
LevelEvent = Literal["opened", "failed", "stopped", "drained", "gone"]

LEVEL: Final[Table[LevelState, LevelEvent]] = {
    "closed": {"opened": "open", "failed": "closed"},
    "open": {"failed": "draining", "stopped": "draining"},
    "draining": {"drained": "closing"},
    "closing": {"gone": "closed"},
}
"""A level that is left drains first: what is out is awaited, nothing more is sent."""

WorkerState = Literal["ordered", "idle", "busy", "gone"]
WorkerEvent = Literal["reported", "given a chunk", "through", "left"]

WORKER: Final[Table[WorkerState, WorkerEvent]] = {
    "ordered": {"reported": "idle", "left": "gone"},
    "idle": {"given a chunk": "busy", "left": "gone"},
    "busy": {"through": "idle", "left": "gone"},
    "gone": {},
}
"""A worker as the run knows it; it leaves when it is refused, lost, let go, killed, or with its
level."""

BatchState = Literal["open", "exhausted", "dropped", "finished"]
BatchEvent = Literal["input ended", "dropped", "done"]

BATCH: Final[Table[BatchState, BatchEvent]] = {
    "open": {"input ended": "exhausted", "dropped": "dropped"},
    "exhausted": {"input ended": "exhausted", "dropped": "dropped", "done": "finished"},
    "dropped": {"input ended": "dropped", "dropped": "dropped", "done": "finished"},
    "finished": {},
}
"""More may come; none will; none will and what was not sent is not wanted; all have an end."""


InputState = Literal["open", "cut", "ended"]
InputEvent = Literal["ended", "cut off"]

INPUT: Final[Table[InputState, InputEvent]] = {
    "open": {"ended": "ended", "cut off": "cut"},
    "cut": {"ended": "ended", "cut off": "cut"},  # a pull was under way
    "ended": {"ended": "ended", "cut off": "ended"},
}
"""What a map pulls from: there may be more, its taker is to pull no more of it, all is here."""

TakerState = Literal["expected", "here", "through", "gone", "absent"]
TakerEvent = Literal["takes", "has all", "lets go", "stays away"]

TAKER: Final[Table[TakerState, TakerEvent]] = {
    "expected": {"takes": "here", "lets go": "gone", "stays away": "absent"},
    "here": {"takes": "here", "has all": "through", "lets go": "gone"},
    "through": {"takes": "through", "has all": "through", "lets go": "through"},
    "gone": {"takes": "gone", "has all": "gone", "lets go": "gone"},  # another thread closed it
    "absent": {},
}
"""Who takes a map's results: may come, takes them, has them all, wants no more, never came (its
tasks run all the same)."""

MapState = Literal["running", "stopping", "complete", "cut short", "cancelled", "failed", "told"]
MapEvent = Literal["cancelled", "all ended", "some left", "failed", "told"]

MAP: Final[Table[MapState, MapEvent]] = {
    "running": {
        "cancelled": "stopping",
        "all ended": "complete",
        "some left": "cut short",
        "failed": "failed",
    },
    "stopping": {
        "cancelled": "stopping",
        "all ended": "complete",
        "some left": "cancelled",
        "failed": "failed",
    },
    "complete": {"cancelled": "complete", "failed": "complete", "told": "told"},
    "cut short": {"cancelled": "cancelled", "failed": "cut short", "told": "told"},
    "cancelled": {"cancelled": "cancelled", "failed": "cancelled", "told": "told"},
    "failed": {
        "cancelled": "failed",
        "all ended": "failed",
        "some left": "failed",
        "failed": "failed",
        "told": "told",
    },
    "told": {
        "cancelled": "told",
        "all ended": "told",
        "some left": "told",
        "failed": "told",
        "told": "told",
    },
}
"""How a map goes for its caller: runs, is to begin nothing more, has every outcome, or ends early
for one of three causes, until that was told him."""

CallState = Literal["waiting", "begun", "cancelled"]
CallEvent = Literal["begun", "found cancelled"]

CALL: Final[Table[CallState, CallEvent]] = {
    "waiting": {"begun": "begun", "found cancelled": "cancelled"},
    "begun": {},
    "cancelled": {},
}
"""A submitted call: may be cancelled, may not be any more, was cancelled before it began."""

BirthState = Literal["ordered", "started", "greeted"]
BirthEvent = Literal["reported", "greets"]

BIRTH: Final[Table[BirthState, BirthEvent]] = {
    "ordered": {"reported": "started", "greets": "greeted"},
    "started": {"reported": "started", "greets": "greeted"},
    "greeted": {"reported": "greeted"},  # to greet twice is foul
}
"""A worker's process as it comes: ordered of who starts it, there by that one's word, there by its
own."""

StayState = Literal["wanted", "leaving", "urged", "killed", "struck"]
StayEvent = Literal["told to end", "urged", "killed"]

STAY: Final[Table[StayState, StayEvent]] = {
    "wanted": {"told to end": "leaving", "killed": "killed"},
    "leaving": {"told to end": "leaving", "urged": "urged", "killed": "struck"},
    "urged": {"told to end": "urged", "killed": "struck"},
    "killed": {"told to end": "struck", "killed": "killed"},
    "struck": {"told to end": "struck", "killed": "struck"},
}
"""A worker's process as it goes: is wanted, was told to end, was sent SIGTERM; killed by us, though
wanted, or since it was to end."""

LineState = Literal["open", "closed", "foul"]
LineEvent = Literal["closed", "condemned"]

LINE: Final[Table[LineState, LineEvent]] = {
    "open": {"closed": "closed", "condemned": "foul"},
    "closed": {"condemned": "foul"},
    "foul": {"condemned": "foul"},
}
"""The line to a worker's process: is listened to, was closed by it, said what is not to be
believed."""


class Life(Generic[S, E]):
    """Where somebody stands in a table, told of by several threads.

    What happened is appended and the state read from all of it, so that no lock is needed and
    nothing that two threads tell at once is lost; a finalizer and a forked child may tell, too.

    Args:
        table: One of the tables above; the first state is the first in it.
    """

    __slots__ = ("_events", "_read", "_table")

    def __init__(self, table: Table[S, E]) -> None:
        self._table = table
        self._events: list[E] = []
        self._read: tuple[int, S] = (0, next(iter(table)))

    @property
    def state(self) -> S:
        """The state after all that has happened."""
        count, state = self._read
        if count != len(self._events):
            for event in self._events[count:]:
                count, state = count + 1, after(self._table, state, event)
            self._read = count, state
        return state

    def see(self, event: E) -> S:
        """Take in what happened; return the state after it."""
        self._events.append(event)
        return self.state


def after(table: Table[S, E], state: S, event: E) -> S:
    """Return the state that an event leads to.

    Args:
        table: One of the tables above.
        state: The state now.
        event: What happened.
    """
    new = table[state].get(event)
    assert new is not None, f"what is {state!r} cannot see {event!r}"
    return new
