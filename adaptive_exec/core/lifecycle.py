"""The lives of what a run deals with, as tables: the state, what happens, the state after it.

Whatever is not in a table cannot happen; that it did is a bug of ours and fails at once. The page
`docs/lifecycle.md` is drawn from here. Decides nothing.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeVar

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
