"""The names that functions of this program need, as they travel to workers (caller).

Each value is pickled by itself and has a version, which changes when its content does. Large ones
lie in memory that all workers map, and are kept only as long as somebody refers to them. Whether a
value may have changed is seen at a glance where it cannot change without becoming another object;
all else is pickled again and compared. Never decides when something is sent.
"""

import itertools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, NamedTuple, Protocol, TypeVar
from weakref import WeakValueDictionary

from adaptive_exec.program.code import names_in
from adaptive_exec.program.inherited import NOTHING, Inherited
from adaptive_exec.program.pickling import BUFFER_BYTES, Notes, dump, keeper
from adaptive_exec.program.places import PLACES
from adaptive_exec.program.shares import Shared
from adaptive_exec.program.spaces import SHARED, Key
from adaptive_exec.system.pickles import PROTOCOL

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")

SHARED_FROM_BYTES = 1024 * 1024
"""Bytes of all that a function needs from which the larger parts lie in shared memory.

Below that a copy per worker costs little, and a zygote loads it before it forks.
"""
IDENTITY_BYTES_MAX = 256 * 1024
"""Bytes of a pickle up to which it is searched for lists, dictionaries and sets that have a name of
their own: 50 ns for each object."""
COMPARED_BYTES = 256 * 1024
"""Bytes that are compared at once; they fit into a core's cache."""
PATIENCE_SECONDS = 1.0
"""Seconds to wait for another thread that pickles: 100 MB take 0.1 s; one whose own pickling hangs
holds nobody up for longer."""
STEADY_ITEMS = 64
"""Items of a tuple that are looked at to tell whether it can change."""

_ATOMS: frozenset[type] = frozenset({
    int,
    float,
    complex,
    str,
    bytes,
    bool,
    type(None),
    range,
    type(...),
})
_STEADY_PARTS = frozenset({
    property, staticmethod, classmethod, FunctionType, BuiltinFunctionType, CodeType,
    GetSetDescriptorType, MemberDescriptorType, WrapperDescriptorType, MethodDescriptorType,
    ClassMethodDescriptorType,
})  # fmt: skip
"""Types of attributes of classes that cannot change without becoming another object."""
_CLASS_NAMES = frozenset({
    "__annotations__", "__dataclass_fields__", "__dataclass_params__", "__orig_bases__",
    "__parameters__", "_abc_impl", "__match_args__", "__static_attributes__",
    "__annotations_cache__", "__annotate_func__", "__slots__", "_member_map_", "_member_names_",
    "_value2member_map_", "_hashable_values_", "_unhashable_values_", "_unhashable_values_map_",
    "_member_type_",
})  # fmt: skip
"""Attributes of classes that are set once."""


class Content(NamedTuple):
    """A value as bytes: its pickle in pieces, and the large buffers beside it."""

    pieces: list[bytes]
    buffers: list[Buffer]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of the pickle and of each buffer."""
        return sum(map(len, self.pieces)), *map(len, self.buffers)

    def copy(self) -> "Content":
        """Return what does not change with the value."""
        return Content([b"".join(self.pieces)], [bytes(buffer) for buffer in self.buffers])


class Memory(Protocol):
    """A file that many processes map."""

    descriptor: int


class Group(NamedTuple):
    """Entries that lie in one memory file.

    Attributes:
        memory: The file.
        lengths: Bytes of all parts in it, of which the first is empty.
        entries: What it holds, in this order.
    """

    memory: Memory
    lengths: tuple[int, ...]
    entries: list[tuple[Key, int, int, bool]]


class Entry:
    """The value of a name in one version.

    Attributes:
        key: The module and the name.
        version: No other value has the same.
        sizes: Bytes of the pickle and of each buffer.
        objects: Names that must be there when it is unpickled.
        looked_up: Names that its functions look up when they run.
        wished: Names that they may look up, as far as these can travel.
        by_identity: Whether the pickle has persistent ids.
        is_type: Whether it is a class, which stays the same object when it changes.
        leaves: Whether it goes when nobody needs it any more, since it is large or holds what is.
        versions: Versions of what it refers to.
        steady: What stays the same objects as long as the value does not change.
        at: Where its parts lie in shared memory.
        content: Its bytes, None where they lie in shared memory.
        group: What lies there with it.
    """

    __slots__ = (
        "__weakref__", "at", "by_identity", "content", "group", "is_type", "key",
        "leaves", "looked_up", "objects", "sizes", "steady", "version", "versions", "wished",
    )  # fmt: skip

    def __init__(self, key: Key, notes: Notes, content: Content, *, by_identity: bool) -> None:
        self.key = key
        self.version = next(_versions)
        self.sizes = content.sizes
        self.objects = tuple(notes.objects)
        self.looked_up = tuple(notes.looked_up)
        self.wished = tuple(notes.wished)
        self.by_identity = by_identity
        self.is_type = False
        self.leaves = False
        self.content: Content | None = content
        self.group: Group | None = None
        self.at: list[int] = []
        self.steady: tuple[Any, ...] | None = None
        self.versions: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of it."""
        return sum(self.sizes)

    def parts(self) -> list[bytes]:
        """Return its pickle and its buffers, wherever they are."""
        if self.content is not None:
            return [*self.content.pieces, *map(bytes, self.content.buffers)]
        assert self.group is not None, "where else should it be"
        places = zip(self.at, self.sizes, strict=True)
        return [_read(self.group.memory.descriptor, at, size) for at, size in places]

    @property
    def facts(self) -> tuple[Key, int, int, bool]:
        """What a worker has to know of it: key, version, number of parts, by identity or not."""
        return self.key, self.version, len(self.sizes), self.by_identity

    def is_like(self, notes: Notes, content: Content, *, by_identity: bool) -> bool:
        """Say whether a value has this content."""
        if content.sizes != self.sizes or by_identity != self.by_identity:
            return False
        named = tuple(notes.objects), tuple(notes.looked_up), tuple(notes.wished)
        if named != (self.objects, self.looked_up, self.wished):
            return False
        if self.content is not None:
            return (
                b"".join(content.pieces) == self.content.pieces[0]
                and all(map(_are_equal, self.content.buffers, content.buffers))
            )  # fmt: skip
        assert self.group is not None, "where else should it be"
        descriptor = self.group.memory.descriptor
        at = self.at[0]
        for piece in content.pieces:
            if not lies_at(descriptor, at, piece):
                return False
            at += len(piece)
        return all(
            lies_at(descriptor, start, buffer)
            for start, buffer in zip(self.at[1:], content.buffers, strict=True)
        )


_versions = itertools.count(1)


def _are_equal(left: Buffer, right: Buffer) -> bool:
    return bytearray(left) == right


def lies_at(descriptor: int, at: int, part: Buffer) -> bool:
    """Say whether a file has these bytes there."""
    view = memoryview(part).cast("B")
    held = bytearray(min(COMPARED_BYTES, view.nbytes))
    for start in range(0, view.nbytes, COMPARED_BYTES):
        chunk = view[start : start + COMPARED_BYTES]
        if chunk.nbytes < len(held):
            held = bytearray(chunk.nbytes)
        if os.preadv(descriptor, [held], at + start) != chunk.nbytes or held != chunk:
            return False
    return True


def _read(descriptor: int, at: int, size: int) -> bytes:
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        done += os.preadv(descriptor, [view[done:]], at + done)
    return bytes(content)


class Parcel(NamedTuple):
    """An object as it travels, and the names that it needs."""

    content: Content
    objects: tuple[Key, ...]
    names: dict[Key, Entry]


class Program:
    """What is known of this program's names; one for all executors.

    Args:
        lay: Lays parts into memory that many processes map, from given places on; returns that and
            where each lies, or None where none is to be had.
    """

    def __init__(
        self, lay: Callable[[list[Content]], tuple[Memory, tuple[int, ...], list[list[int]]] | None]
    ) -> None:
        self._lay = lay
        self._entries: dict[Key, Entry] = {}
        self._leaving: WeakValueDictionary[Key, Entry] = WeakValueDictionary()
        self._alive: WeakValueDictionary[int, Entry] = WeakValueDictionary()
        self._lock = threading.RLock()  # a finalizer may pack something at any line

    def begin_anew(self) -> None:
        """Know of nothing, in a process that was forked: what is in shared memory is not here."""
        self._entries, self._leaving = {}, WeakValueDictionary()
        self._alive = WeakValueDictionary()
        self._lock = threading.RLock()  # another thread may have had it

    def pack(self, value: object, *, in_band: bool = False, born: Inherited = NOTHING) -> Parcel:
        """Pickle a function, or what it is part of, with all names that it needs.

        Args:
            value: It.
            in_band: Have no buffers beside the pickle.
            born: What workers have from a fork.

        Raises:
            Exception: Whatever the pickling of one of them raises.
        """
        is_mine = self._lock.acquire(timeout=PATIENCE_SECONDS)
        try:
            session = _Session(born)
            notes = Notes(None, session.known, born=born)
            content = _dump(value, notes, in_band=in_band)
            objects = tuple(notes.objects)
            needed = (*objects, *notes.looked_up)
            return Parcel(content, objects, self._gather(session, needed, notes.wished))
        finally:
            if is_mine:
                self._lock.release()

    def gather(self, keys: Iterable[Key], born: Inherited = NOTHING) -> dict[Key, Entry]:
        """Return these names, and all that they need, as they are now.

        Args:
            keys: The names.
            born: What workers have from a fork.

        Raises:
            Exception: Whatever the pickling of one of them raises.
        """
        is_mine = self._lock.acquire(timeout=PATIENCE_SECONDS)
        try:
            return self._gather(_Session(born), keys)
        finally:
            if is_mine:
                self._lock.release()

    def share(self, value: T) -> Shared[T]:
        """Pickle an object here and now, for as long as there is a handle of it.

        Raises:
            Exception: Whatever the pickling of it raises.
        """
        session = _Session(NOTHING)
        number = next(_versions)
        notes = Notes(None, session.known)
        content = _dump(value, notes)
        entry = Entry((SHARED, str(number)), notes, content, by_identity=False)
        entry.leaves = True
        session.done[entry.key] = entry
        session.fresh.append(entry)
        self._gather(session, (*entry.objects, *entry.looked_up), entry.wished)
        return Shared(value, number, entry)

    def is_alive(self, version: int) -> bool:
        """Say whether somebody may still need a value that goes with the last who does."""
        return version in self._alive

    def are_same(self, names: dict[Key, Entry]) -> bool:
        """Say, at a glance and without running code of the user's, whether none has changed."""
        return all(
            self._find(key) is entry and (key[0] == SHARED or _is_steady(entry, _value_of(key)))
            for key, entry in names.items()
        )

    def _find(self, key: Key) -> Entry | None:
        return self._entries.get(key) or self._leaving.get(key)

    def _is_there(self, key: Key) -> bool:
        if key[0] == SHARED:
            return key in self._leaving
        module = sys.modules.get(key[0])
        return module is not None and key[1] in module.__dict__

    def _gather(
        self, session: "_Session", keys: Iterable[Key], wishes: Iterable[Key] = ()
    ) -> dict[Key, Entry]:
        self._pursue(session, keys)
        wished = dict.fromkeys(wishes)
        seen: set[Key] = set()
        while True:
            for entry in session.done.values():
                wished.update(dict.fromkeys(entry.wished))
            waiting = [key for key in wished if key not in seen]
            if not waiting:
                break
            for key in waiting:
                seen.add(key)
                try:
                    self._pursue(session, (key,))
                except Exception:  # noqa: BLE001  # it cannot travel, and may not be needed
                    session.active.clear()
        self._settle(session)
        return session.done

    def _pursue(self, session: "_Session", keys: Iterable[Key]) -> None:
        """Look at names and all that they need.

        Raises:
            Exception: Whatever the pickling of one of them raises.
        """
        queue = deque(keys)
        while queue:
            key = queue.popleft()
            if key in session.pursued or not self._is_there(key):
                continue
            entry = self._refresh(session, key)
            session.pursued.add(key)
            queue.extend((*entry.objects, *entry.looked_up))

    def _refresh(self, session: "_Session", key: Key) -> Entry:
        """Return a name's entry as its value is now, and those that it refers to before."""
        done = session.done.get(key)
        if done is not None:
            return done
        session.active[key] = None
        value = _value_of(key)
        entry = self._find(key)
        if entry is not None and key[0] == SHARED:
            return session.end(entry)
        if entry is not None and _is_steady(entry, value):
            versions = self._versions_of(session, entry.objects)
            if versions == entry.versions:
                return session.end(entry)
        notes, content, by_identity = session.dump(key, value)
        versions = self._versions_of(session, notes.objects)
        is_same = (
            entry is not None
            and versions == entry.versions
            and entry.is_like(notes, content, by_identity=by_identity)
        )
        if entry is None or not is_same:
            entry = Entry(key, notes, content, by_identity=by_identity)
            entry.versions = versions
            entry.is_type = isinstance(value, type)
            session.fresh.append(entry)
        entry.steady = _steadiness_of(value)
        return session.end(entry)

    def _versions_of(self, session: "_Session", keys: Iterable[Key]) -> tuple[int, ...]:
        """Return the versions of what a value refers to; a class stays the same object."""
        entries = [
            self._refresh(session, key) for key in keys
            if key not in session.active and self._is_there(key)
        ]  # fmt: skip
        return tuple(entry.version for entry in entries if not entry.is_type)

    def _settle(self, session: "_Session") -> None:
        """Lay what is large into shared memory, and keep the rest."""
        fresh = session.fresh
        if not fresh:
            return
        if sum(entry.size for entry in session.done.values()) >= SHARED_FROM_BYTES:
            self._share([entry for entry in fresh if entry.size >= BUFFER_BYTES])
        for entry in fresh:
            if entry.content is not None:
                entry.content = entry.content.copy()
        _pass_on(session)
        for entry in fresh:
            self._keep(entry)

    def _keep(self, entry: Entry) -> None:
        if entry.leaves:
            self._entries.pop(entry.key, None)
            self._leaving[entry.key] = entry
            self._alive[entry.version] = entry
        else:
            self._leaving.pop(entry.key, None)
            self._entries[entry.key] = entry

    def _share(self, entries: list[Entry]) -> None:
        laid = self._lay([entry.content for entry in entries if entry.content is not None])
        for entry in entries:
            entry.leaves = True
        if laid is None:
            return
        memory, lengths, places = laid
        group = Group(memory, lengths, [entry.facts for entry in entries])
        for entry, at in zip(entries, places, strict=True):
            entry.content, entry.group, entry.at = None, group, at


def _pass_on(session: "_Session") -> None:
    """Have what refers to something that leaves go with it."""
    waiting = [entry for entry in session.fresh if not entry.leaves and entry.objects]
    while True:
        found = [
            entry
            for entry in waiting
            if any(key in session.done and session.done[key].leaves for key in entry.objects)
        ]
        if not found:
            return
        for entry in found:
            entry.leaves = True
        waiting = [entry for entry in waiting if not entry.leaves]


class _Session:
    """One look at the names that something needs.

    Attributes:
        done: Entries that are as their values are now.
        fresh: Those that are new.
        active: Names that are being looked at.
        pursued: Names of which all that they need was looked at.
    """

    def __init__(self, born: Inherited) -> None:
        self._born = born
        self.done: dict[Key, Entry] = {}
        self.fresh: list[Entry] = []
        self.active: dict[Key, None] = {}
        self.pursued: set[Key] = set()
        self.known = _Known()

    def end(self, entry: Entry) -> Entry:
        self.done[entry.key] = entry
        del self.active[entry.key]
        return entry

    def dump(self, key: Key, value: object) -> tuple[Notes, Content, bool]:
        """Pickle the value of a name; whether lists and their like are referred to by identity."""
        self.known.add(key[0])
        notes, content = self._dump(key, value, by_identity=False)
        if content.sizes[0] > IDENTITY_BYTES_MAX or not self.known.has_other(key):
            return notes, content, False
        if value.__class__ in _ATOMS or isinstance(value, (FunctionType, type, ModuleType)):
            return notes, content, False
        notes, content = self._dump(key, value, by_identity=True)
        return notes, content, notes.has_identities

    def _dump(self, key: Key, value: object, *, by_identity: bool) -> tuple[Notes, Content]:
        notes = Notes(key, self.known, value, born=self._born)
        content = _dump(value, notes, by_identity=by_identity)
        circular = [one for one in notes.objects if one in self.active and _is_data(one)]
        if circular:  # two objects that refer to each other: one has a copy of the other
            notes = Notes(key, self.known.without(circular), value, born=self._born)
            content = _dump(value, notes, by_identity=by_identity)
        return notes, content


class _Known:
    """By which names the objects of strange modules are known, by id."""

    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._names: dict[int, Key] = {}
        self._containers: set[Key] = set()
        self.add("__main__")

    def add(self, module: str) -> None:
        """Look at the names of one more module."""
        if module in self._modules:
            return
        self._modules.add(module)
        found = sys.modules.get(module)
        own = {} if found is None else found.__dict__.copy()
        for name in sorted(own, key=_is_private):  # the more public of two names
            value = own[name]
            if value.__class__ not in _NAMELESS and name not in _SHELL and name.strip(_COUNTED):
                self._names.setdefault(id(value), (module, name))
                if value.__class__ in _CONTAINERS:
                    self._containers.add((module, name))

    def get(self, number: int) -> Key | None:
        """Return the name of an object."""
        return self._names.get(number)

    def has_other(self, key: Key) -> bool:
        """Say whether another name than this is that of a list, dictionary or set."""
        return len(self._containers) > (key in self._containers)

    def without(self, keys: Iterable[Key]) -> dict[int, Key]:
        """Return the same without these names."""
        return {number: key for number, key in self._names.items() if key not in keys}


_CONTAINERS: frozenset[type] = frozenset({list, dict, set, bytearray})
_NAMELESS: frozenset[type] = _ATOMS | {
    ModuleType,
    BuiltinFunctionType,
    FunctionType,
    type,
    tuple,
    frozenset,
}
_SHELL = frozenset({
    "In", "Out", "_oh", "_ih", "_dh", "get_ipython", "__annotations__", "__builtins__", "__spec__",
    "__loader__", "__path__",
})  # fmt: skip
"""Names that no program gives to its own data."""
_COUNTED = "_i0123456789"
"""A name of these letters alone is the shell's: `_12`, `_i3`."""


def _is_private(name: str) -> bool:
    return name.startswith("_")


def _value_of(key: Key) -> Any:
    module = sys.modules.get(key[0])
    return None if module is None else module.__dict__.get(key[1])


def _is_data(key: Key) -> bool:
    return not isinstance(_value_of(key), (FunctionType, type))


def _dump(
    value: object, notes: Notes, *, by_identity: bool = False, in_band: bool = False
) -> Content:
    PLACES.look()
    buffers: list[Buffer] = []
    keep = None if in_band else keeper(buffers)
    pieces = dump(value, notes, PROTOCOL, buffers, keep, by_identity=by_identity)
    return Content(pieces, buffers)


# what cannot change without becoming another object


def _is_steady(entry: Entry, value: Any) -> bool:
    """Say whether a value is the same as when it was pickled."""
    steady = entry.steady
    if steady is None or steady[0] is not value:
        return False
    if len(steady) == 1:
        return True
    now = _steadiness_of(value)
    return now is not None and len(now) == len(steady) and all(map(_is, now, steady))


def _is(left: object, right: object) -> bool:
    return left is right or (left.__class__ is int and left == right)


def _steadiness_of(value: Any) -> tuple[Any, ...] | None:
    """Return what stays the same objects as long as a value does not change; None if unknown."""
    kind = value.__class__
    if kind in _ATOMS or kind is BuiltinFunctionType or kind is ModuleType:
        return (value,)
    if kind is FunctionType:
        return _steadiness_of_function(value)
    if kind is tuple or kind is frozenset:
        is_steady = len(value) <= STEADY_ITEMS and all(one.__class__ in _ATOMS for one in value)
        return (value,) if is_steady else None
    if isinstance(value, type):
        return _steadiness_of_class(value)
    return None


def _steadiness_of_function(function: FunctionType) -> tuple[Any, ...] | None:
    if function.__closure__ is not None or function.__dict__ or function.__kwdefaults__:
        return None
    defaults = function.__defaults__
    if defaults is not None and not all(one.__class__ in _ATOMS for one in defaults):
        return None
    names = names_in(function.__code__) & function.__globals__.keys()
    has_modules = any(function.__globals__[name].__class__ is ModuleType for name in names)
    count = len(sys.modules) if has_modules else 0  # one more may be what it reaches
    return function, function.__code__, defaults, count


def _steadiness_of_class(kind: type) -> tuple[Any, ...] | None:
    if not PLACES.is_strange(kind.__module__):
        return (kind,)
    parts = []
    for name, value in kind.__dict__.items():
        if not _is_steady_part(kind, name, value):
            return None
        parts.append(value)
    return kind, *parts


def _is_steady_part(kind: type, name: str, value: Any) -> bool:
    if name in _CLASS_NAMES or value.__class__ in _STEADY_PARTS or value.__class__ in _ATOMS:
        return True
    return isinstance(value, kind) or type(value).__module__ == "enum"
