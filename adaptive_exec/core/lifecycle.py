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
