"""What goes to a worker process and what comes back: arguments packed, outcomes unpacked.

Each task by itself: one that cannot be packed or unpacked is that task's failure and nobody else's.
"""

from typing import Any

from adaptive_exec.errors import TaskError, WorkerTraceback
from adaptive_exec.levels.base import FULL, ONE, ChunkOrder, Failure, Results, Unportable
from adaptive_exec.levels.pickles import loads
from adaptive_exec.levels.plain import as_plain
from adaptive_exec.levels.wire import (
    ERROR,
    PROTOCOL,
    SKIPPED,
    STAND_IN,
    Frame,
    Packed,
    Unpacker,
    are_plain,
    pack_function,
)


def pack_items(order: ChunkOrder) -> tuple[Packed, dict[int, Failure]]:
    """Pack the arguments of a chunk's tasks.

    Those that cannot be packed are returned apart, by index.
    """
    if order.work.style == ONE and are_plain(order.items):
        items = order.items
        return Packed.of_plain(items if isinstance(items, range) else list(items)), {}
    packed = Packed()
    refused: dict[int, Failure] = {}
    for index, item in enumerate(order.items, order.start):
        try:
            packed.add(_plain_call(item) if order.work.style == FULL else item)
        except BaseException as error:  # noqa: BLE001  # an argument's own pickling may raise anything
            refused[index] = _refuse(order.work.style, item, error)
            packed.skip()
    return packed, refused


def _plain_call(call: tuple[Any, ...]) -> tuple[Any, ...]:
    function, args, kwargs = call
    return as_plain(function, PROTOCOL), args, kwargs


def _refuse(style: int, item: Any, error: BaseException) -> Failure:
    if style == FULL and pack_function(item[0]) is None:
        return Unportable(error)
    return Failure(error)


def unpack_results(frame: Frame, refused: dict[int, Failure]) -> Results:
    """Read the outcomes in a RESULTS frame; one that cannot be unpacked is that task's error."""
    _, _, start, lengths, counts, statuses, details, _ = frame.head
    if lengths is None:
        return Results(loads(frame.body), details)
    unpacker = Unpacker(lengths, counts, frame)
    values: list[Any] = []
    for offset in range(len(lengths)):
        status = statuses[offset] if statuses else 0
        if status == SKIPPED:
            unpacker.skip()
            values.append(refused[start + offset])
            continue
        try:
            value = unpacker.take()
            values.append(_failure(status, value) if status else value)
        except BaseException as error:  # noqa: BLE001  # a result's own unpickling may raise anything
            values.append(Failure(error))
    return Results(values, details)


def _failure(status: int, value: Any) -> Failure:
    if status == ERROR:
        error, text = loads(value)
        error.__cause__ = WorkerTraceback(text)
        return Failure(error)
    assert status == STAND_IN, "the worker sends no other"
    type_name, message, text = value
    stand_in = TaskError(type_name, message, text)
    stand_in.__cause__ = WorkerTraceback(text)
    return Failure(stand_in)
