"""Functions on their way to processes: packed once, a large one into memory that all workers share.

A large one's arrays are views of that memory, so that any number of workers share its pages. It
goes with the batch that needs it, one of submitted calls once none of them has used it for a while.
"""

import binascii
import itertools
import operator
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from adaptive_exec.levels.arena import IDLE_SECONDS, SharedPiece, share
from adaptive_exec.levels.frames import lay_out
from adaptive_exec.levels.plain import names_in, pack_plain
from adaptive_exec.levels.wire import PROTOCOL, pack, pack_apart

Buffer = bytes | bytearray | memoryview

SHARED_FROM_BYTES = 1024 * 1024
"""Bytes of a packed function from which it lies in shared memory.

Below that a copy per worker costs little, and a zygote loads it before it forks.
"""
_LOOKS = 32
"""Objects that are looked at to tell whether a function is large: 20 us at most."""
_PATIENCE_SECONDS = 1.0
"""Seconds to wait for another thread that packs a large function: 100 MB take 0.1 s; one whose own
pickling hangs holds nobody up for longer."""
_SAMPLE_BYTES = 4096
"""Bytes of each long part of a large function that tell it from others."""


class PackedFunction:
    """A function as it travels to processes; it is freed with the last that refers to it.

    Attributes:
        body: Its pickle; empty where it lies in shared memory.
        piece: That memory, None where there is none.
        lengths: Bytes of the pickle and of each buffer in it.
        number: A number that is the same for the same function in every run.
    """

    __slots__ = ("body", "lengths", "number", "piece")

    def __init__(
        self,
        number: int,
        body: bytes,
        piece: SharedPiece | None = None,
        lengths: tuple[int, ...] = (),
    ) -> None:
        self.number = number
        self.body = body
        self.piece = piece
        self.lengths = lengths


def pack_function(function: Callable[..., Any]) -> PackedFunction | None:
    """Pack a function for processes, None when it cannot be."""
    try:
        return pack_or_raise(function)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return None


def pack_or_raise(function: Callable[..., Any]) -> PackedFunction:
    """Pack a function for processes.

    By reference where plain pickle can, by value for lambdas, closures and what lives in
    `__main__`. What it holds is copied here and now: what becomes of it later does not show.

    Raises:
        Exception: Whatever its own pickling, or that of what it holds, raises.
    """
    plain = pack_plain(function, PROTOCOL)
    if plain is not None:
        return PackedFunction(binascii.crc32(plain), plain)
    pieces, buffers = pack_apart(function)
    if sum(map(len, pieces)) + sum(map(len, buffers)) >= SHARED_FROM_BYTES:
        shared = _share(pieces, buffers)
        if shared is not None:
            return shared
    body = pack(function) if buffers else b"".join(pieces)
    return PackedFunction(binascii.crc32(body), body)


def _share(pieces: list[bytes], buffers: list[Buffer]) -> PackedFunction | None:
    """Copy a large function into shared memory; None where that cannot be had."""
    lengths = (sum(map(len, pieces)), *map(len, buffers))
    places = lay_out(lengths)
    parts: list[tuple[int, Buffer]] = []
    at = 0
    for part in pieces:
        parts.append((at, part))
        at += len(part)
    parts += [(start, buffer) for (start, _), buffer in zip(places[1:], buffers, strict=True)]
    piece = share(parts, sum(places[-1]))
    return None if piece is None else PackedFunction(_sample(parts), b"", piece, lengths)


def _sample(parts: list[tuple[int, Buffer]]) -> int:
    number = 0
    for at, part in parts:
        number = binascii.crc32(f"{at} {len(part)}".encode(), number)
        number = binascii.crc32(memoryview(part)[:_SAMPLE_BYTES], number)
    return number


class Shelf:
    """The large functions of submitted calls, each packed once for all calls that had come by then.

    What a function holds may change from one call to the next, so a later call has it packed anew.
    They have numbers below 0, where no batch's function has its own.
    """

    def __init__(self) -> None:
        self._held: list[_Held] = []  # the newest last
        self._packing = threading.Lock()
        self._lock = threading.Lock()  # arguments are packed in another thread than they are sent
        self._numbers = itertools.count(-1, -1)

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self._held)

    def shorten(
        self, uses: set[int], entered: Callable[[], int], function: Callable[..., Any], index: int
    ) -> object:
        """Return the number of a large function as it was when the call had come, or later.

        Args:
            uses: Its number is added to these.
            entered: Says how many calls have come.
            function: What is called.
            index: The number of the call.

        Returns:
            The number; the function itself if it is not large, or cannot be shared.
        """
        parts = parts_of(function)
        if not parts or not are_large(parts):
            return function
        is_mine = self._packing.acquire(timeout=_PATIENCE_SECONDS)  # another may pack the same now
        try:
            number = self._find(uses, parts, index)
            if number is None:
                number = self._pack(uses, parts, entered(), function)
        finally:
            if is_mine:
                self._packing.release()
        return function if number is None else number

    def _pack(
        self, uses: set[int], parts: list[Any], count: int, function: Callable[..., Any]
    ) -> int | None:
        packed = pack_function(function)
        if packed is None or packed.piece is None:
            return None
        with self._lock:
            held = _Held(next(self._numbers), packed, parts, count, monotonic())
            self._held.append(held)
            uses.add(held.number)
        return held.number

    def _find(self, uses: set[int], parts: list[Any], index: int) -> int | None:
        with self._lock:
            for held in self._held:
                if index < held.entered and _are_same(parts, held.parts):
                    held.used_at = monotonic()
                    uses.add(held.number)
                    return held.number
        return None

    def packed(self, number: int) -> PackedFunction:
        """Return one that is in use."""
        return next(held.packed for held in list(self._held) if held.number == number)

    def drop(self, busy: Iterable[set[int]], now: float) -> list[int]:
        """Let go of those that no call uses; the newest stays a while, for the next call.

        Args:
            busy: What each worker's calls use.
            now: Monotonic seconds.

        Returns:
            Their numbers.
        """
        with self._lock:
            in_use = set[int]().union(*busy)
            unused = [
                held
                for held in self._held
                if held.number not in in_use
                and (held is not self._held[-1] or held.used_at + IDLE_SECONDS <= now)
            ]
            self._held = [held for held in self._held if held not in unused]
        return [held.number for held in unused]

    def clear(self) -> None:
        """Let go of all."""
        self._held.clear()


class _Held:
    """A large function of submitted calls, and what it was made of, so that no id is used again."""

    __slots__ = ("entered", "number", "packed", "parts", "used_at")

    def __init__(
        self, number: int, packed: PackedFunction, parts: list[Any], entered: int, used_at: float
    ) -> None:
        self.number = number
        self.packed = packed
        self.parts = parts
        self.entered = entered
        self.used_at = used_at


def parts_of(function: Callable[..., Any]) -> list[Any]:
    """Return the objects of which a function that travels by value is made; none of another.

    Two functions of the same parts are the same, as a lambda that a loop makes again and again.
    """
    if function.__class__ is MethodType:
        return [function.__func__, function.__self__]
    if function.__class__ is partial:
        return [function.func, *function.args, *function.keywords.values()]
    if function.__class__ is not FunctionType:
        return []
    assert isinstance(function, FunctionType), "checked by its class above"
    if function.__module__ != "__main__" and "<" not in function.__qualname__:
        return []
    space = function.__globals__
    return [
        function.__code__,
        *(cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)),
        *(function.__defaults__ or ()),
        *(function.__kwdefaults__ or {}).values(),
        *(space[name] for name in sorted(set(names_in(function.__code__)) & space.keys())),
    ]


def are_large(parts: list[Any]) -> bool:
    """Say, at a glance, whether objects may take more than a function that is not shared."""
    try:
        return _weigh(parts) >= SHARED_FROM_BYTES
    except Exception:  # noqa: BLE001  # an attribute of the user's may raise anything, a thread change it
        return False


def _weigh(parts: list[Any]) -> int:
    """Add up what the first few objects take of their own, from the outer to the inner."""
    total, queue = 0, deque(parts)
    for _ in range(_LOOKS):
        if not queue or total >= SHARED_FROM_BYTES:
            break
        value = queue.popleft()
        kind = type(value)
        if kind in _FLAT:
            total += len(value)
        elif hasattr(kind, "__array__"):  # an array, or a frame, which does not say how much it is
            total += int(value.nbytes) if hasattr(kind, "nbytes") else SHARED_FROM_BYTES
        elif kind not in _NAMED:
            total += sys.getsizeof(value) if kind in _COLLECTIONS else 0
            queue.extend(itertools.islice(_look_into(value, kind), _LOOKS))
    return total


def _look_into(value: Any, kind: type) -> Iterable[Any]:
    if kind is FunctionType:
        return parts_of(value)
    if kind in _COLLECTIONS and kind is not dict:
        return value  # type: ignore[no-any-return]  # a list, tuple or set
    return list((value if kind is dict else getattr(value, "__dict__", {})).values())


_FLAT = frozenset({bytes, bytearray, str})
_COLLECTIONS = frozenset({list, tuple, set, frozenset, dict})
_NAMED = frozenset({ModuleType, CodeType, type, int, float, bool, type(None)})


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # it raises where there is none yet
    except ValueError:
        return False
    return True


def _are_same(left: list[Any], right: list[Any]) -> bool:
    return len(left) == len(right) and all(map(operator.is_, left, right))
