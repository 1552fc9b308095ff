"""Functions on their way to processes: packed once, a large one into memory that all workers share.

A large one's arrays are views of that memory, so that any number of workers share its pages. It
goes with the batch that needs it, one of submitted calls once none of them has used it for a while.
The names that a function needs are `program/names`' affair.
"""

import binascii
import itertools
import logging
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
from adaptive_exec.levels.laid import Laid, Spread, lay, places_of
from adaptive_exec.program.code import names_in
from adaptive_exec.program.inherited import NOTHING, Inherited
from adaptive_exec.program.names import SHARED_FROM_BYTES, Content, Parcel, Program
from adaptive_exec.program.places import PLACES

Buffer = bytes | bytearray | memoryview

_LOOKS = 32
"""Objects that are looked at to tell whether a function is large: 20 us at most."""
_PATIENCE_SECONDS = 1.0
"""Seconds to wait for another thread that packs a large function: 100 MB take 0.1 s; one whose own
pickling hangs holds nobody up for longer."""
HEAVY_BYTES = 10 * 1000 * 1000
"""Bytes of a function, with all that it needs, from which the log names what it carries."""
NAMED_BURDENS_MAX = 256
"""Functions of which that is said; a program that makes ever more of them is told enough."""
_NAMED_PARTS = 3
"""Parts of a heavy function that are named."""
LOGGER = logging.getLogger("adaptive_exec")
NAMED_MAX = 64
"""Functions of `__main__` that are held for calls to come, of those that no call uses now."""
_STEADY = frozenset({CodeType, ModuleType, int, float, str, bytes, bool, type(None)})
"""Types of parts that cannot change."""
_SAMPLE_BYTES = 4096
"""Bytes of each long part of a large function that tell it from others."""


class PackedFunction:
    """A function as it travels to processes; it is freed with the last that refers to it.

    Attributes:
        body: Its pickle; empty where that lies in shared memory.
        spread: What lies there, None where nothing does.
        laid: The files in which it lies.
        number: A number that is the same for the same function in every run.
        names: What it needs of this program's own modules.
        objects: Which of these it refers to itself.
    """

    __slots__ = ("__weakref__", "body", "laid", "names", "number", "objects", "spread")

    def __init__(
        self, number: int, body: bytes, needs: Parcel, spread: Spread | None = None
    ) -> None:
        self.number = number
        self.body = body
        self.names = needs.names
        self.objects = needs.objects
        self.spread = spread
        self.laid: tuple[Laid, ...] = () if spread is None else spread.laid

    @property
    def is_large(self) -> bool:
        """Whether it, or what it needs, goes with its batch: a zygote must not load it."""
        return self.spread is not None or any(entry.leaves for entry in self.names.values())

    @property
    def size(self) -> int:
        """Bytes of it and of all that it needs."""
        own = len(self.body) + sum(sum(one.lengths) for one in self.laid)
        return own + sum(entry.size for entry in self.names.values())


def pack_function(function: Callable[..., Any], born: Inherited = NOTHING) -> PackedFunction | None:
    """Pack a function for processes, None when it cannot be."""
    try:
        return pack_or_raise(function, born)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return None


def pack_or_raise(function: Callable[..., Any], born: Inherited = NOTHING) -> PackedFunction:
    """Pack a function for processes.

    By reference where workers can import it, by name what has one in `__main__`, else by value.
    What it holds is copied here and now: what becomes of it later does not show.

    Args:
        function: The function.
        born: What workers have from a fork.

    Raises:
        Exception: Whatever its own pickling, or that of what it needs, raises.
    """
    packed = PROGRAM.pack(function, born=born)
    if sum(packed.content.sizes) >= SHARED_FROM_BYTES:
        shared = _share(packed)
        if shared is not None:
            name_burden(function, shared)
            return shared
    if packed.content.buffers:
        packed = PROGRAM.pack(function, in_band=True, born=born)
    body = b"".join(packed.content.pieces)
    made = PackedFunction(binascii.crc32(body), body, packed)
    name_burden(function, made)
    return made


def name_burden(function: Callable[..., Any], packed: PackedFunction) -> None:
    """Say, once for each function, what a heavy one carries."""
    if packed.size < HEAVY_BYTES:
        return
    name = getattr(function, "__qualname__", type(function).__qualname__)
    with_names = {key[1]: entry.size for key, entry in packed.names.items()}
    with_names["itself"] = packed.size - sum(with_names.values())
    heaviest = sorted(with_names, key=lambda one: -with_names[one])[:_NAMED_PARTS]
    if name in _named or len(_named) > NAMED_BURDENS_MAX:
        return
    _named.add(name)
    parts = " ".join(
        f"{one}={with_names[one] >> 20}MB" for one in heaviest if with_names[one] >> 20
    )
    LOGGER.info("function: %s carries bytes=%dMB %s", name, packed.size // 10**6, parts)


_named: set[str] = set()


def pack_first(initializer: Callable[..., Any], arguments: tuple[Any, ...]) -> PackedFunction:
    """Pack an initializer with its arguments.

    Raises:
        Exception: Whatever the pickling of one of them raises.
    """
    packed = PROGRAM.pack((initializer, arguments), in_band=True)
    return PackedFunction(0, b"".join(packed.content.pieces), packed)


def _share(packed: Parcel) -> PackedFunction | None:
    """Lay a large function into shared memory, or find it there; None where that cannot be had."""
    spread = lay(packed.content)
    if spread is None:
        return None
    sample = _sample(places_of(packed.content, lay_out(packed.content.sizes)))
    return PackedFunction(sample, spread.beside, packed, spread)


def _lay_together(
    contents: list[Content],
) -> tuple[SharedPiece, tuple[int, ...], list[list[int]]] | None:
    """Lay contents into one file for many receivers; None where that cannot be had."""
    lengths = (0, *(size for content in contents for size in content.sizes))
    places = lay_out(lengths)
    parts: list[tuple[int, Buffer]] = []
    starts: list[list[int]] = []
    at = 1
    for content in contents:
        own = places[at : at + len(content.sizes)]
        at += len(own)
        parts += places_of(content, own)
        starts.append([start for start, _ in own])
    piece = share(parts, sum(places[-1]))
    return None if piece is None else (piece, lengths, starts)


PROGRAM = Program(_lay_together)
"""What is known of this program's names; one for all executors of the process."""


def _sample(parts: list[tuple[int, Buffer]]) -> int:
    number = 0
    for at, part in parts:
        number = binascii.crc32(f"{at} {len(part)}".encode(), number)
        number = binascii.crc32(memoryview(part)[:_SAMPLE_BYTES], number)
    return number


class Shelf:
    """The functions of submitted calls that travel by value, each packed once for many calls.

    What a function holds may change from one call to the next, so for a later call it is looked at
    anew. They have numbers below 0, where no batch's function has its own.

    Args:
        born: What workers have from a fork.
    """

    def __init__(self, born: Inherited = NOTHING) -> None:
        self._born = born
        self._held: dict[int, _Held] = {}  # the newest last
        self._latest: dict[tuple[int, ...], _Held] = {}
        self._packing = threading.Lock()
        self._lock = threading.Lock()  # arguments are packed in another thread than they are sent
        self._numbers = itertools.count(-1, -1)

    def __bool__(self) -> bool:
        """Say whether there are any that go by themselves."""
        return any(not held.is_named for held in list(self._held.values()))

    def is_ready(
        self, entered: Callable[[], int], function: Callable[..., Any], index: int
    ) -> bool:
        """Say whether `shorten` runs no code of the user's, and does not take long."""
        parts = parts_of(function)
        if not parts or not is_shelved(function, parts):
            return not parts
        held = self._latest.get(_marks_of(parts))
        return held is not None and self._is_valid(held, entered, index)

    @staticmethod
    def _is_valid(held: "_Held", entered: Callable[[], int], index: int) -> bool:
        if index < held.entered:
            return True
        count = entered()
        if not held.is_steady or not PROGRAM.are_same(held.packed.names):
            return False
        held.entered = count
        return True

    def shorten(
        self, uses: set[int], entered: Callable[[], int], function: Callable[..., Any], index: int
    ) -> object:
        """Return the number of a function as it was when the call had come, or later.

        Args:
            uses: Its number is added to these.
            entered: Says how many calls have come.
            function: What is called.
            index: The number of the call.

        Returns:
            The number; the function itself if it travels by reference, or cannot travel.
        """
        parts = parts_of(function)
        if not parts or not is_shelved(function, parts):
            return function
        number = self._find(uses, parts, entered, index)
        if number is not None:
            return number
        is_mine = self._packing.acquire(timeout=_PATIENCE_SECONDS)  # another may pack the same now
        try:
            number = self._find(uses, parts, entered, index)
            if number is None:
                number = self._pack(uses, parts, entered(), function)
        finally:
            if is_mine:
                self._packing.release()
        return function if number is None else number

    def _pack(
        self, uses: set[int], parts: list[Any], count: int, function: Callable[..., Any]
    ) -> int | None:
        packed = pack_function(function, self._born)
        if packed is None:
            return None
        marks = _marks_of(parts)
        with self._lock:
            held = self._latest.get(marks)
            if held is None or not held.is_like(packed):
                held = _Held(next(self._numbers), packed, parts, marks)
                self._held[held.number] = self._latest[marks] = held
            held.packed = packed
            held.entered, held.used_at = count, monotonic()
            uses.add(held.number)
        return held.number

    def _find(
        self, uses: set[int], parts: list[Any], entered: Callable[[], int], index: int
    ) -> int | None:
        with self._lock:
            held = self._latest.get(_marks_of(parts))
            if held is None or not self._is_valid(held, entered, index):
                return None
            held.used_at = monotonic()
            uses.add(held.number)
            return held.number

    def packed(self, number: int) -> PackedFunction:
        """Return one that is in use."""
        return self._held[number].packed

    def drop(self, busy: Iterable[set[int]], now: float) -> list[int]:
        """Let go of those that no call uses; small ones, and the newest, stay for the next call.

        Args:
            busy: What each worker's calls use.
            now: Monotonic seconds.

        Returns:
            Their numbers.
        """
        with self._lock:
            in_use = set[int]().union(*busy)
            newest = next(reversed(self._held), 0)
            named = [held.number for held in self._held.values() if held.is_named]
            too_many = set(named[:-NAMED_MAX])
            unused = [
                held
                for held in self._held.values()
                if held.number not in in_use
                and (
                    held.number in too_many
                    or self._latest.get(held.marks) is not held
                    or held.is_over(now, is_newest=held.number == newest)
                )
            ]
            for held in unused:
                del self._held[held.number]
                if self._latest.get(held.marks) is held:
                    del self._latest[held.marks]
        return [held.number for held in unused]

    def clear(self) -> None:
        """Let go of all."""
        self._held.clear()
        self._latest.clear()


class _Held:
    """A function of submitted calls, and what it was made of, so that no id is used again."""

    __slots__ = (
        "entered", "is_named", "is_steady", "marks", "number", "packed", "parts", "used_at",
    )  # fmt: skip

    def __init__(
        self, number: int, packed: PackedFunction, parts: list[Any], marks: tuple[int, ...]
    ) -> None:
        self.number = number
        self.packed = packed
        self.parts = parts
        self.marks = marks
        self.is_named = len(parts) == 1 and parts[0].__class__ is FunctionType
        self.is_steady = self.is_named or all(part.__class__ in _STEADY for part in parts)
        self.entered = 0
        self.used_at = 0.0

    def is_like(self, packed: PackedFunction) -> bool:
        """Say whether another is the same, but for names, which travel by themselves."""
        held = self.packed
        if packed.laid != held.laid or packed.body != held.body:
            return False
        return all(packed.names.get(key) is held.names.get(key) for key in held.objects)

    def is_over(self, now: float, *, is_newest: bool) -> bool:
        """Say whether it goes, since no call uses it."""
        if self.packed.is_large and not is_newest:
            return True
        if self.is_named and not self.packed.is_large:
            return False
        return self.used_at + IDLE_SECONDS <= now


def _marks_of(parts: list[Any]) -> tuple[int, ...]:
    return tuple(map(id, parts))


def is_shelved(function: Callable[..., Any], parts: list[Any]) -> bool:
    """Say whether a function of these parts is sent once, not with each call."""
    if function.__class__ is FunctionType:
        return True
    return bool(parts_of(parts[0])) or are_large(parts)


def parts_of(function: Callable[..., Any]) -> list[Any]:
    """Return the objects of which a function that travels by value is made; none of another.

    Two functions of the same parts are the same, as a lambda that a loop makes again and again.
    """
    kind = function.__class__
    if kind is MethodType:
        return [function.__func__, function.__self__]  # type: ignore[attr-defined]  # seen above
    if kind is partial:
        return [function.func, *function.args, *function.keywords.values()]  # type: ignore[attr-defined]  # seen above
    if kind is not FunctionType:
        return []
    assert isinstance(function, FunctionType), "checked by its class above"
    is_strange = PLACES.is_strange(function.__module__)
    if not is_strange and "<" not in function.__qualname__:
        return []
    space = function.__globals__
    if is_strange and space.get(function.__qualname__) is function:
        return [function]
    parts = [
        function.__code__,
        *(cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)),
        *(function.__defaults__ or ()),
        *(function.__kwdefaults__ or {}).values(),
    ]
    if not is_strange:
        parts += (space[name] for name in sorted(names_in(function.__code__) & space.keys()))
    return parts


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
        return _contents_of(value)
    if kind in _COLLECTIONS and kind is not dict:
        return value  # type: ignore[no-any-return]  # a list, tuple or set
    return list((value if kind is dict else getattr(value, "__dict__", {})).values())


def _contents_of(function: FunctionType) -> list[Any]:
    """Return what a function that travels by value holds and looks up."""
    if not parts_of(function):
        return []
    space = function.__globals__
    return [
        *(cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)),
        *(function.__defaults__ or ()),
        *(function.__kwdefaults__ or {}).values(),
        *(space[name] for name in sorted(names_in(function.__code__) & space.keys())),
    ]


_FLAT = frozenset({bytes, bytearray, str})
_COLLECTIONS = frozenset({list, tuple, set, frozenset, dict})
_NAMED = frozenset({ModuleType, CodeType, type, int, float, bool, type(None)})


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # it raises where there is none yet
    except ValueError:
        return False
    return True
