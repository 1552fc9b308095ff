"""What goes to a worker process and what comes back: arguments packed, outcomes unpacked.

Each task by itself: one that cannot be packed or unpacked is that task's failure and nobody else's.
"""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from types import BuiltinFunctionType, FunctionType
from typing import Any

from adaptive_exec.errors import TaskError, add_traceback
from adaptive_exec.levels.base import (
    FULL,
    ONE,
    ChunkOrder,
    Failure,
    NotPlainError,
    Results,
    Unportable,
)
from adaptive_exec.levels.frames import Frame, refuse
from adaptive_exec.levels.functions import PROGRAM
from adaptive_exec.levels.heads import Outcomes
from adaptive_exec.levels.tasks import is_from_signal
from adaptive_exec.levels.unsendable import explain_item
from adaptive_exec.levels.wire import ERROR, PLAIN, SKIPPED, Packed, Unpacker, are_plain
from adaptive_exec.program.c_pickle import Unpickler, loads
from adaptive_exec.program.inherited import NOTHING, Inherited
from adaptive_exec.program.names import Entry
from adaptive_exec.program.places import PLACES
from adaptive_exec.program.spaces import Key

PLAIN_DEPTH = 3
"""Levels of lists, tuples and dictionaries that are looked through for objects of a class."""
GLANCE_BYTES = 4096
"""Bytes of a pickle that is looked through for opcodes: 0.2 us, where an Unpickler takes 2 us."""
NAMING = (b"\x93", b"\x82", b"\x83", b"\x84")
"""Opcodes by which pickles of protocol 4 and 5 name something: STACK_GLOBAL, EXT1, EXT2, EXT4. One
without these bytes is made of numbers, texts and containers. Source: Lib/pickletools.py."""
PLAIN_ITEMS = 64
"""Items of one of them that are looked at; a look at each takes 0.1 us."""


Shorten = Callable[[Any, int], object]
"""Returns what travels in the place of a submitted call's function, of this index."""


def pack_items(
    order: ChunkOrder, shorten: Shorten, born: Inherited = NOTHING
) -> tuple[Packed, dict[int, Failure], dict[Key, Entry]]:
    """Pack the arguments of a chunk's tasks.

    Args:
        order: The chunk.
        shorten: Returns what travels in the place of a submitted call's function.
        born: What workers have from a fork.

    Returns:
        The arguments; by index the tasks whose arguments cannot be packed; the names that the
        others need.
    """
    if order.work.style == ONE and are_plain(order.items):
        items = order.items
        return Packed.of_plain(items if isinstance(items, range) else list(items)), {}, {}
    PLACES.look()
    names: dict[Key, Entry] = {}
    packed = Packed(partial(_gather, names, born))
    refused: dict[int, Failure] = {}
    for index, item in enumerate(order.items, order.start):
        try:
            packed.add(_short_call(item, index, shorten) if order.work.style == FULL else item)
        except BaseException as error:  # noqa: BLE001  # an argument's own pickling may raise anything
            refused[index] = _refuse(order.work.style, item, error)
            packed.skip()
    return packed, refused, names


def _gather(names: dict[Key, Entry], born: Inherited, keys: tuple[Key, ...]) -> None:
    if not names.keys() >= set(keys):
        names.update(PROGRAM.gather(keys, born))


def is_harmless(order: ChunkOrder, is_ready: Callable[[Any, int], bool]) -> bool:
    """Say whether to pack a chunk's arguments runs no code of the user's.

    Args:
        order: The chunk.
        is_ready: Says whether a submitted call's function, of this index, is packed already.
    """
    if order.work.style == ONE:
        return are_plain(order.items) or all(map(_is_plain, order.items))
    if order.work.style == FULL:
        return _are_harmless_calls(order, is_ready)
    return all(map(_is_plain, order.items))


def _are_harmless_calls(order: ChunkOrder, is_ready: Callable[[Any, int], bool]) -> bool:
    known = None
    for index, (function, args, kwargs) in enumerate(order.items, order.start):
        if function is not known and not _is_function(function, index, is_ready):
            return False
        known = function  # mostly one function, and a few plain arguments
        if not are_plain(args) and not _is_plain(args):
            return False
        if kwargs and not _is_plain(kwargs):
            return False
    return True


def _is_plain(value: Any, depth: int = PLAIN_DEPTH) -> bool:
    kind = value.__class__
    if kind in PLAIN:
        return True
    if kind in (tuple, list, dict):
        if not depth or len(value) > PLAIN_ITEMS:
            return False
        items = value if kind is not dict else (*value, *value.values())
        return all(_is_plain(item, depth - 1) for item in items)
    return kind.__name__ == "ndarray" and kind.__module__ == "numpy" and not value.dtype.hasobject


def _is_function(function: Any, index: int, is_ready: Callable[[Any, int], bool]) -> bool:
    if isinstance(function, FunctionType):
        return is_ready(function, index)
    return isinstance(function, BuiltinFunctionType)


def _short_call(call: tuple[Any, ...], index: int, shorten: Shorten) -> tuple[Any, ...]:
    function, args, kwargs = call
    return shorten(function, index), args, kwargs


def _refuse(style: int, item: Any, error: BaseException) -> Failure:
    unsendable = explain_item(style, item, error)
    return Unportable(unsendable) if style == FULL else Failure(unsendable)


def take_results(frame: Frame, told: Outcomes, refused: dict[int, Failure]) -> Results:
    """Take the outcomes in a RESULTS frame; plain values are there at once, others are packed.

    Args:
        frame: The frame.
        told: What its head says.
        refused: The failures of tasks whose arguments could not be packed, by index.

    Raises:
        NoMessageError: The frame has not what its head says.
    """
    if told.lengths is None:
        return Results(_unpack_plain(frame, told.tasks), told.details)
    for offset, status in enumerate(told.statuses or ()):
        if status == SKIPPED and told.start + offset not in refused:
            refuse(f"no result of task {told.start + offset}")
    unpack = partial(unpack_values, frame, told, refused)
    return Results.packed(told.tasks, unpack, told.details)


def _unpack_plain(frame: Frame, count: int) -> list[Any]:
    """Unpack values of plain types, in which nothing of the user's runs."""
    try:
        values = loads(frame.body)
    except Exception as error:  # noqa: BLE001  # bytes that are no pickle may raise anything
        refuse(f"values that cannot be read ({error})")
    if values.__class__ is not list or len(values) != count:
        refuse(f"not the {count} values that were told of")
    return values


def unpack_values(
    frame: Frame,
    told: Outcomes,
    refused: dict[int, Failure],
    allowed: frozenset[tuple[str, str]] | None,
) -> list[Any]:
    """Unpack the outcomes in a RESULTS frame; one that cannot be unpacked is that task's error.

    Args:
        frame: The frame.
        told: What its head says.
        refused: What could not be packed on the way to the worker.
        allowed: What pickles may name, None for everything.

    Raises:
        NotPlainError: They name something else.
        BaseException: What a signal's handler raised meanwhile.
    """
    assert told.lengths is not None, "others are unpacked at once"
    load = loads if allowed is None else partial(load_plain, allowed)
    unpacker = Unpacker(told.lengths, told.counts, frame)
    values: list[Any] = []
    for offset in range(told.tasks):
        status = told.statuses[offset] if told.statuses else 0
        if status == SKIPPED:
            unpacker.skip()
            values.append(refused[told.start + offset])
            continue
        if status == ERROR and allowed is not None:
            raise NotPlainError
        try:
            value = unpacker.take(load)
            values.append(_failure(status, value) if status else value)
        except NotPlainError:
            raise
        except BaseException as error:
            if is_from_signal(error):
                raise
            values.append(Failure(error))
    return values


def load_plain(
    allowed: frozenset[tuple[str, str]], piece: memoryview, buffers: Iterable[Any] | None = None
) -> Any:
    """Unpickle what names nothing but what is allowed.

    Raises:
        NotPlainError: It names something else.
    """
    if piece.nbytes <= GLANCE_BYTES and buffers is None:
        copy = piece.tobytes()
        if not any(code in copy for code in NAMING):
            return loads(copy)
    return _Plain(allowed, piece, buffers).load()


class _Plain(Unpickler):
    """Unpickles only what names nothing but what is allowed."""

    def __init__(
        self, allowed: frozenset[tuple[str, str]], piece: memoryview, buffers: Iterable[Any] | None
    ) -> None:
        super().__init__(BytesIO(piece), buffers=buffers)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        """Find what a pickle names, where it may name it and it is loaded already."""
        if (module, name) not in self._allowed or module not in sys.modules:
            raise NotPlainError
        return super().find_class(module, name)


def _failure(status: int, value: Any) -> Failure:
    if status == ERROR:
        error, text = loads(value)
        if not isinstance(error, BaseException):  # as its own __reduce__ made it
            message = f"an exception became {type(error).__name__} on its way"
            raise TypeError(message)
        add_traceback(error, text)
        return Failure(error)
    type_name, message, text = value
    stand_in = TaskError(type_name, message, text)
    add_traceback(stand_in, text)
    return Failure(stand_in)
