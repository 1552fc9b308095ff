"""What a worker's frames say: their heads' fields, checked before anything is done with them.

Needed by the parent alone. A field of another type or out of its range is a NoMessageError, which
is the worker's loss and nobody else's.
"""

from itertools import product
from math import isfinite
from typing import Any, NamedTuple

from adaptive_exec.levels.base import Detail
from adaptive_exec.levels.frames import Frame, check_head, refuse
from adaptive_exec.levels.wire import ENDING, HELLO, RESULTS, SKIPPED, UNLOADED

BYTES_MAX = 1 << 62
"""The largest figure that a worker may tell of: bytes, tasks."""
SECONDS_MAX = 1e9
"""The longest time that a worker may tell of: 30 years."""
_NONE: type = type(None)
_HEADS: dict[int, frozenset[tuple[type, ...]]] = {
    HELLO: frozenset({(int, int, str)}),
    UNLOADED: frozenset({(int, int, str)}),
    ENDING: frozenset({(int, int, str)}),
    RESULTS: frozenset(
        product(
            (int,), (int,), (int,), (int,),
            (list, _NONE), (list, _NONE), (bytes, _NONE), (list, _NONE), (tuple, _NONE),
        )
    ),
}  # fmt: skip
"""The types of the fields of each head that a worker sends; see `levels/wire` for their kinds."""
_USAGE = frozenset({(int, float, float, float, int, tuple)})
_MEMORY = frozenset(product((int, _NONE), repeat=4))
_DETAIL = frozenset(product((float,), (float, _NONE), (int, _NONE)))


class Told(NamedTuple):
    """What a worker tells of a chunk that it has run.

    Attributes:
        tasks: How many had arguments.
        wall_seconds: What they took together.
        cpu_seconds: Time on a core, or in want of one.
        transport_seconds: Time spent on packing.
        failed_tasks: How many ended with an exception.
        memory: Peak, span, kept and birth bytes, None where unknown.
    """

    tasks: int
    wall_seconds: float
    cpu_seconds: float
    transport_seconds: float
    failed_tasks: int
    memory: tuple[int | None, int | None, int | None, int | None]


class Outcomes(NamedTuple):
    """The head of a RESULTS frame, whose facts agree with each other and with the frame's bytes.

    Attributes:
        chunk: The chunk's id.
        start: The first task.
        tasks: How many there are, from there on.
        lengths: Bytes of each outcome in the body, None where that is one pickle of all values.
        counts: How many buffers each has, None where none has any.
        statuses: What each is, None where all are values.
        details: What was measured of each, None when nobody asked.
        usage: What the chunk took, None while it is not done.
    """

    chunk: int
    start: int
    tasks: int
    lengths: list[int] | None
    counts: list[int] | None
    statuses: bytes | None
    details: list[Detail] | None
    usage: Told | None


def check_kind(frame: Frame) -> int:
    """Return what kind of frame a worker sent.

    Raises:
        NoMessageError: A worker sends no such frame, or not with such a head.
    """
    kind: int = frame.head[0]
    types = _HEADS.get(kind)
    if types is None:
        refuse(f"a frame of kind {kind}")
    check_head(frame.head, types)
    return kind


def read_outcomes(frame: Frame) -> Outcomes:
    """Read the head of a RESULTS frame whose fields have the right types.

    Raises:
        NoMessageError: They contradict each other, or the frame.
    """
    _, chunk, start, count, lengths, counts, statuses, details, usage = frame.head
    if count < 0:
        refuse(f"{count} results")
    if lengths is None:
        _demand(counts is None and statuses is None and not frame.buffers, "one pickle of all")
    else:
        _check_lengths(frame, count, lengths, counts)
        is_right = statuses is None or (len(statuses) == count and max(statuses) <= SKIPPED)
        _demand(is_right, "what the results are")
    if details is not None:
        _demand(len(details) == count and all(map(_is_detail, details)), "details")
    told = None if usage is None else _read_usage(usage)
    return Outcomes(chunk, start, count, lengths, counts, statuses, details, told)


def _check_lengths(frame: Frame, count: int, lengths: list[Any], counts: list[Any] | None) -> None:
    _demand(len(lengths) == count and _are_ints(lengths, least=-1), "lengths")
    body_bytes = sum(lengths) + lengths.count(-1)
    _demand(body_bytes == len(frame.body), "lengths that do not fit the body")
    if counts is None:
        _demand(not frame.buffers, "buffers of no result")
    else:
        _demand(len(counts) == count and _are_ints(counts, least=0), "counts of buffers")
        _demand(sum(counts) == len(frame.buffers), "counts that do not fit the buffers")


def _are_ints(values: list[Any], *, least: int) -> bool:
    return not values or (set(map(type, values)) == {int} and min(values) >= least)


def _read_usage(usage: tuple[Any, ...]) -> Told:
    check_head(usage, _USAGE)
    tasks, wall, cpu, transport, failed, memory = usage
    check_head(memory, _MEMORY)
    sizes = [size or 0 for size in (tasks, failed, *memory)]
    if min(sizes) < 0 or max(sizes) > BYTES_MAX:
        refuse("results with wrong figures")
    return Told(tasks, _seconds(wall), _seconds(cpu), _seconds(transport), failed, memory)


def _is_detail(detail: Any) -> bool:
    if detail.__class__ is not tuple:
        return False
    check_head(detail, _DETAIL)
    wall, cpu, peak = detail
    return isfinite(wall) and isfinite(cpu or 0.0) and 0 <= (peak or 0) <= BYTES_MAX


def _seconds(value: float) -> float:
    """Clocks may differ by a little, so that less than nothing is nothing."""
    if not -SECONDS_MAX <= value <= SECONDS_MAX:  # which is false for what is no number, too
        refuse(f"results that took {value} s")
    return value if value > 0 else 0.0


def _demand(is_right: bool, what: str) -> None:  # noqa: FBT001  # reads as an assertion
    if not is_right:
        refuse(f"results with wrong {what}")
