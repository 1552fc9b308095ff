"""How large and how small every number of the core may be, in one table, each with its unit.

What is learned, divided or heard from others passes through `bound`, so that no chain of halves
runs to 0, no sum to infinity and nothing that is no number stays. `unbounded` walks over whatever
holds state and names each number that is not finite, out of its range, or not in the table.
Decides nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final, NamedTuple, TypeVar

Number = TypeVar("Number", int, float)


class Range(NamedTuple):
    """Where a number may lie.

    Attributes:
        least: Nothing is below.
        most: Nothing is above.
        unit: What it counts.
        grain: A learned number nearer to 0 than this is 0.
    """

    least: int
    most: int
    unit: str
    grain: float = 0.0


BYTES: Final = Range(0, 1 << 63, "bytes", 1e-3)
"""Source: what a process can address; a byte in a thousand tasks is none."""
SECONDS: Final = Range(0, 10**10, "seconds", 1e-9)
"""Source: 300 years; no clock that we read ticks more often than once in a nanosecond."""
MOMENT: Final = Range(-(1 << 50), 1 << 50, "monotonic seconds")
"""Source: the ends stand for never, 35 million years away, where a second more is still seen."""
COUNT: Final = Range(0, 1 << 63, "things")
"""Source: what the wire and the books can hold."""
WORKERS: Final = Range(0, 1 << 22, "workers")
"""Source: the most processes that Linux can have (PID_MAX_LIMIT)."""
CHUNKS: Final = Range(0, (1 << 20) + 1, "chunks")
"""Source: `window.CHUNKS_MAX`, and the one by which a window may pass it."""
PERCENT: Final = Range(0, 100, "per cent")
SUM: Final = Range(0, 1 << 300, "weighted bytes squared")
"""Source: 1,024 squares of the most bytes, each times the most microseconds, with room to spare:
exact sums in whole numbers, whose products and roots a float can hold."""
SIZE: Final = Range(0, 1 << 63, "of the user's kind", 1e-9)
"""What tells of a task's size: a length, bytes, or any number among its arguments."""
PLENTY: Final = Range(0, 1 << 120, "byte-seconds", 1e-3)
"""Source: the most bytes, each for the most seconds, times what they cost."""
FACT: Final = Range(-(1 << 1000), 1 << 1000, "of any kind")
"""A number that is told and not reckoned with; it need only be finite."""

FOREVER: Final = float(MOMENT.most)
"""Monotonic seconds; a moment that never comes. Finite, so that what is reckoned with it is."""

_KEPT: Final[Mapping[str, Range]] = {
    "kept_each": BYTES,
    "bytes": BYTES,
    "live": BYTES,
    "recent": BYTES,
    "ordered": SUM,
    "squares": SUM,
    "weight": SUM,
    "weights": SUM,
    "weight_squares": SUM,
    "total": SUM,
    "growth": CHUNKS,
    "chunks": CHUNKS,
    "window": CHUNKS,
    "told_window": CHUNKS,
    "out": CHUNKS,
    "goal": WORKERS,
    "cap": WORKERS,
    "seats": WORKERS,
    "usable_cores": WORKERS,
    "stall_percent": PERCENT,
    "now": MOMENT,
    "at": MOMENT,
    "since": MOMENT,
    "next_look": MOMENT,
    "next_trade": MOMENT,
    "next_timing": MOMENT,
    "last_trade": MOMENT,
    "room_until": MOMENT,
    "room_after": MOMENT,
    "trim_after": MOMENT,
    "start_after": MOMENT,
    "shut_until": MOMENT,
    "numbers": SIZE,
    "ranked": FACT,
    "highest": SIZE,
    "lowest": SIZE,
    "told_ratio": SIZE,
    "counted": FACT,
    "ratios": SIZE,
    "mean": SIZE,
    "sizes": SIZE,
    "needs": BYTES,
    "order": SIZE,
    "used": PLENTY,
    "waste": SIZE,
    "gains": FACT,
    "off": SUM,
    "needed": SUM,
    "residuals": FACT,
    "spread": SUM,
    "covered": FACT,
    "facts": FACT,
    "value": FACT,
}
_UNITS: Final[Mapping[str, Range]] = {
    "_bytes": BYTES,
    "_seconds": SECONDS,
    "_at": MOMENT,
    "_since": MOMENT,
}
_COUNTS: Final = frozenset({
    "aside", "arrived", "asked", "attempt", "batch", "batches", "buffer_tasks", "busy",
    "calm_looks", "chunk", "last_chunk_id", "chunk_tasks", "deaths", "executions", "extra",
    "failed_tasks", "familiar", "finished", "flights", "free_descriptors", "free_processes",
    "frontier", "grown_workers", "held_slots", "id", "idle", "instances", "isolated_tasks", "kind",
    "known_costs", "lives",
    "line", "moves", "newest_seen", "next", "oom_kills", "overdue", "pending", "place", "ranges",
    "records", "sent", "services", "slots", "solo", "start", "starting", "stop", "strikes",
    "suspects", "taken", "tasks", "throttles", "tries", "unmeasured", "unwalled",
    "wanted_slots", "worker",
    "last_worker_id", "chorus", "measures", "passed_from", "sizings",
    "speaker", "unsized", "unwanted", "votes", "measured", "number", "waits", "early",
    "places", "late", "refused", "told", "unbound",
})  # fmt: skip
"""Ids, and what is counted one by one."""
_CHECKED: Final = frozenset({"config", "orders"})
"""Fields that are not walked: settings are checked when they are made, orders are no state."""


def bound(number: Number, within: Range) -> Number:
    """Bring a number into its range.

    Args:
        number: What was learned, divided or heard.
        within: Where it may lie.

    Returns:
        The number; the end of the range that it has passed; the lower end where it is no number;
        0 where it is so near to it that it stands for nothing.

    >>> bound(5e-324, BYTES), bound(float("nan"), SECONDS), bound(1e300, SECONDS)
    (0.0, 0.0, 10000000000.0)
    """
    if within.least < number < within.most:
        return number if not -within.grain < number < within.grain else type(number)(0)
    return type(number)(within.most if number >= within.most else within.least)


def range_of(name: str) -> Range | None:
    """Say where the number in a field may lie, None where the table knows no such field."""
    name = name.lstrip("_")
    if name in _KEPT:
        return _KEPT[name]
    if name in _COUNTS:
        return COUNT
    return next((found for end, found in _UNITS.items() if name.endswith(end)), None)


def unbounded(state: object, name: str = "") -> Iterator[str]:
    """Name every number in a structure that is not finite, out of its range or in no table.

    Args:
        state: Numbers, texts, containers of both, named tuples and plain objects, nested in any
            way.
        name: The field that holds it.
    """
    if isinstance(state, (int, float)) and not isinstance(state, bool):
        if not _is_within(name, state, state):
            yield f"{name} is {state!r}, allowed is {range_of(name)}"
    elif state is None or isinstance(state, (bool, str, bytes, Enum, type)):
        return
    else:
        yield from _unbounded_within(state, name)


def _unbounded_within(state: object, name: str) -> Iterator[str]:
    fields = _fields(state)
    if fields is not None:
        for field, value in fields:
            if field not in _CHECKED:
                yield from unbounded(value, field)
    elif isinstance(state, Mapping):
        yield from unbounded(list(state), name)
        yield from unbounded(list(state.values()), name)
    elif isinstance(state, (Sequence, AbstractSet)):
        yield from _unbounded_items(list(state), name)
    else:
        yield f"{name} is a {type(state).__name__}, of which nothing is known"


def _unbounded_items(items: list[object], name: str) -> Iterator[str]:
    """Look at many numbers of a field by their ends only, and at many tuples by their columns."""
    items = [item for item in items if item is not None]
    kinds = set(map(type, items))
    if len(kinds) == 1 and len(items) > 1 and issubclass(kinds.pop(), tuple):
        for field, column in _columns(items, name):
            if field not in _CHECKED:
                yield from _unbounded_items(column, field)
        return
    if all(type(item) is int or type(item) is float for item in items):
        numbers: list[float] = items  # type: ignore[assignment]  # as was just seen
        if numbers and not _is_within(name, min(numbers), max(numbers), *_no_numbers(numbers)):
            yield f"{name} holds {min(numbers)!r} to {max(numbers)!r}, allowed is {range_of(name)}"
        return
    for item in items:
        yield from unbounded(item, name)


def _columns(items: list[Any], name: str) -> Iterator[tuple[str, list[object]]]:
    """Return the fields of many tuples of one kind, each with all that stands in it."""
    names = getattr(type(items[0]), "_fields", None)
    if names is None:
        yield name, [part for item in items for part in item]
    else:
        yield from (
            (field, list(column))
            for field, column in zip(names, zip(*items, strict=True), strict=True)
        )


def _no_numbers(numbers: list[float]) -> list[float]:
    """Return what is not even equal to itself, which no comparison finds among others."""
    return [number for number in numbers if number != number]  # noqa: PLR0124  # only nan is not


def _is_within(name: str, *numbers: float) -> bool:
    within = range_of(name)
    return within is not None and all(within.least <= one <= within.most for one in numbers)


def _fields(state: object) -> list[tuple[str, object]] | None:
    """Return a thing's fields by name, None where it has none."""
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return list(zip(state._fields, state, strict=True))
    if type(state).__module__ == "builtins":
        return None
    names = [name for kind in type(state).__mro__ for name in getattr(kind, "__slots__", ())]
    found = [(name, getattr(state, name)) for name in names if hasattr(state, name)]
    found += getattr(state, "__dict__", {}).items()
    return found or None
