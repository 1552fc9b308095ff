"""Simple settings in the user's own modules: numbers, texts, flags, and small collections of them.

Those of a module's classes (`class Config`) and of objects that have nothing else (`config.debug`)
are settings like its own.
Functions of `__main__` that were put into a module (a fake in the place of the real one, a
callback) travel, too.

A module that workers import for themselves has there what its lines say; what the program has set
in it since is sent after it. Modules of the standard library and installed packages are left alone.
Of what one function of a module sets together (`_ready = True` beside `_connection = ...`), and of
what one class has, all or nothing travels. Imports little, since every worker imports it.
"""

import os
import sys
from itertools import starmap
from operator import itemgetter
from types import CodeType, FunctionType, ModuleType, SimpleNamespace

from adaptive_exec.program.places import PLACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    Space = tuple[Mapping[str, Any], list[int], list[tuple[Any, Any]]]

TEXT_BYTES_MAX = 64 * 1024
"""Bytes of the longest text that counts as a setting; longer ones are content."""
ITEMS_MAX = 256
"""Items of the largest collection that counts as a setting; larger ones are tables and caches."""
DEPTH_MAX = 4
"""Collections in collections that are looked through."""
MEMBERS_MAX = 200
"""Classes and objects of a module of which attributes are looked at, 1 us for each; a module with
more is no place of settings."""
NAMES_MAX = 2000
"""Names of a module that are looked at; one with more is generated, or a table of constants."""
_ATOMS = frozenset({int, float, complex, bool, type(None)})
_TEXTS = frozenset({str, bytes})
_LISTS = frozenset({tuple, list, set, frozenset})
_KNOWN = frozenset({
    ("pathlib", "PosixPath"), ("pathlib", "WindowsPath"),
    ("pathlib._local", "PosixPath"), ("pathlib._local", "WindowsPath"),
    ("decimal", "Decimal"), ("fractions", "Fraction"),
    ("datetime", "date"), ("datetime", "datetime"), ("datetime", "time"),
    ("datetime", "timedelta"), ("datetime", "timezone"), ("uuid", "UUID"),
})  # fmt: skip
"""Other types of the standard library that settings are made of; none can be changed in place."""
_CODE = (FunctionType, type, ModuleType)
_OF_PROCESS = frozenset({"fd", "fds", "fileno", "pid", "ppid", "tid", "descriptor", "handle"})
"""Words in names of numbers that mean something in one process only."""
_INSTALLED = ("site-packages", "dist-packages")
_STDLIB = os.path.dirname(os.__file__) + os.sep
_OURS = "adaptive_exec"
_seen: dict[str, bool] = {}


class Glimpse:
    """Sees whether what may be a setting in a module is another object than before.

    Functions, classes and imported modules are most of what a module has, and are not looked at.

    Args:
        space: The module's names.
        names: Those that are looked at.
    """

    __slots__ = ("_get", "_ids", "_size", "_space", "collections")

    def __init__(
        self, space: "Mapping[str, Any]", names: list[str], collections: "list[tuple[Any, Any]]"
    ) -> None:
        self._space = space
        self._size = len(space)
        self._get = itemgetter(*names, *names[:1]) if names else None  # of one it makes no tuple
        self._ids = self._look()
        self.collections = collections

    def is_same(self) -> bool:
        """Say whether it is; 0.5 us for ten names.

        Raises:
            Exception: A name has gone, or a collection cannot be compared.
        """
        if len(self._space) != self._size or self._look() != self._ids:
            return False
        return all(value == copy for value, copy in self.collections)

    def _look(self) -> list[int]:
        return [] if self._get is None else list(map(id, self._get(self._space)))


class Watched:
    """What was read of one module.

    Attributes:
        facts: Its simple values by name, the names of others that are no code, and the same of its
            classes and objects.
        guests: Functions in it that are of modules which workers cannot import.
        glimpses: See at less cost whether any but code has changed.
        kept: Objects of `multiprocessing` in it.
        spaces: Its names, those of its classes and objects, and how all of them were.
    """

    __slots__ = ("facts", "glimpses", "guests", "kept", "spaces")

    def __init__(self, module: ModuleType) -> None:
        space = vars(module)
        ids = list(map(id, list(space.values())))
        names = list(space.items())[:NAMES_MAX]
        simple = {name: value for name, value in names if _is_setting(name, value)}
        collections = _collections_in(simple)
        others = tuple(
            name
            for name, value in names
            if name not in simple and not name.startswith("__") and not isinstance(value, _CODE)
        )
        members = [
            Holder(name, value) for name, value in names if _may_have_settings(module, name, value)
        ]
        members = [one for one in members if one.values][:MEMBERS_MAX]
        self.facts = (
            {name: _copy(value) for name, value in simple.items()},
            others,
            {one.name: (one.copies, one.others) for one in members},
        )
        self.guests = {
            name: value
            for name, value in names
            if type(value) is FunctionType and PLACES.is_strange(value.__module__)
        }
        self.spaces: list[Space] = [(space, ids, collections), *(one.space for one in members)]
        self.glimpses = [
            Glimpse(space, [*simple, *others], collections),
            *(Glimpse(one.space[0], list(one.values), one.space[2]) for one in members),
        ]
        self.kept: Sequence[Any] = ()

    def is_same(self, module: ModuleType) -> bool:
        """Say whether nothing in it has changed since.

        Raises:
            Exception: A collection cannot be compared.
        """
        return self.spaces[0][0] is vars(module) and all(starmap(is_same_space, self.spaces))


class Holder:
    """What was read of a class or an object in a module.

    Attributes:
        name: Its name there.
        values: Its simple attributes.
        copies: The same, as they are now.
        others: The names of those that are no code.
        space: All its attributes, and how they were.
    """

    __slots__ = ("copies", "name", "others", "space", "values")

    def __init__(self, name: str, holder: "Any") -> None:
        space = vars(holder)
        own = [one for one in list(space.items()) if not one[0].startswith("__")]
        self.name = name
        self.values = {key: value for key, value in own if _is_setting(key, value)}
        self.others = tuple(
            key
            for key, value in own
            if key not in self.values and not hasattr(type(value), "__get__") and key != "_abc_impl"
        )
        if self.others and not isinstance(holder, type):
            self.values = {}  # an object with a connection or a cache has a state of its own
        self.copies = {key: _copy(value) for key, value in self.values.items()}
        ids = list(map(id, list(space.values())))
        self.space: Space = (space, ids, _collections_in(self.values))


def _collections_in(values: "dict[str, Any]") -> "list[tuple[Any, Any]]":
    return [(one, _copy(one)) for one in values.values() if type(one) in (dict, list, set)]


def _may_have_settings(module: ModuleType, name: str, value: "Any") -> bool:
    """Say whether it is a class of the module's, or an object of one."""
    kind = type(value)
    if issubclass(kind, type):
        is_its = value.__module__ == module.__name__ and value.__qualname__ == name
        return is_its and not _is_enumeration(value)
    is_its = kind is SimpleNamespace or kind.__module__ == module.__name__
    is_its = is_its and not _is_enumeration(kind)
    return is_its and type(getattr(value, "__dict__", None)) is dict


def is_same_space(
    space: "Mapping[str, Any]", ids: list[int], collections: "list[tuple[Any, Any]]"
) -> bool:
    """Say whether nothing in a module or class has changed since; 1 us for 50 names."""
    if ids != list(map(id, space.values())):
        return False
    return all(value == copy for value, copy in collections)


def own_modules() -> "Iterator[tuple[str, ModuleType]]":
    """Yield the user's own modules that are loaded, but for those that travel by value."""
    PLACES.look()
    for name, module in list(sys.modules.items()):
        if type(module) is not ModuleType:
            continue
        known = _seen.get(name)
        if known is None:
            known = _seen[name] = _is_own(name, module)
        if known:
            yield name, module


def _is_own(name: str, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or PLACES.is_strange(name):
        return False
    if name.partition(".")[0] == _OURS or getattr(module, "__spec__", None) is None:
        return False
    folders = file.split(os.sep)
    return not file.startswith(_STDLIB) and not any(part in folders for part in _INSTALLED)


def _is_setting(name: str, value: object) -> bool:
    if name.startswith("__") or not _is_simple(value, DEPTH_MAX):
        return False
    if type(value) is not int:
        return True
    return value != os.getpid() and _OF_PROCESS.isdisjoint(name.lower().split("_"))


def _is_simple(value: "Any", depth: int) -> bool:
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind in _TEXTS:
        return len(value) <= TEXT_BYTES_MAX
    if kind in _LISTS or kind is dict:
        if not depth or len(value) > ITEMS_MAX:
            return False
        items = (*value, *value.values()) if kind is dict else value
        return all(_is_simple(item, depth - 1) for item in items)
    return (kind.__module__, kind.__qualname__) in _KNOWN or _is_enumeration(kind)


def _is_enumeration(kind: type) -> bool:
    """Say whether a type is an enumeration that workers can import."""
    enum = sys.modules.get("enum")
    return enum is not None and isinstance(kind, enum.EnumMeta) and kind.__module__ != "__main__"


def _copy(value: "Any") -> "Any":
    kind = type(value)
    if kind is dict:
        return {name: _copy(item) for name, item in value.items()}
    if kind in (list, tuple):
        return kind(map(_copy, value))
    return value.copy() if kind is set else value


# in a worker


_replaced: "dict[str, dict[str, Any]]" = {}
"""What stood in modules where guests stand now."""


def apply_guests(name: str, guests: "dict[str, Any]") -> None:
    """Put functions of the program's into a module, and take those out that are there no more."""
    module = sys.modules.get(name)
    if module is None:
        return
    space, replaced = vars(module), _replaced.setdefault(name, {})
    for key in replaced.keys() - guests.keys():
        space[key] = replaced.pop(key)
    for key, function in guests.items():
        replaced.setdefault(key, space.get(key))
        space[key] = function


def apply_module(name: str, value: "Any", before: "Any") -> None:
    """Set in a module what the program has set in its own, as far as it has changed.

    Args:
        name: The module, which is loaded.
        value: Its facts in the program, as `Watched` has them.
        before: Those that were told before, None for none.
    """
    module = sys.modules.get(name)
    if module is None:
        return
    space = vars(module)
    values, others, members = value
    known, _, known_members = before or ({}, (), {})
    changes = _changes(space, values, known)
    if changes:
        for key in changes.keys() - _bound_elsewhere(space, others):
            _put(space, key, changes[key])
    for key, told in members.items():
        _apply_member(space.get(key), told, known_members.get(key, ({}, ()))[0])


def _changes(
    space: "Mapping[str, Any]", values: "dict[str, Any]", known: "dict[str, Any]"
) -> "dict[str, Any]":
    return {
        key: wanted
        for key, wanted in values.items()
        if not (key in known and _is_equal(known[key], wanted))
        and not (key in space and _is_equal(space[key], wanted))
    }


def _apply_member(holder: "Any", told: "Any", known: "dict[str, Any]") -> None:
    """Set what has changed of a class or an object, unless a part of it cannot be sent."""
    values, others = told
    space = getattr(holder, "__dict__", None)
    if space is None:
        return
    changes = _changes(space, values, known)
    if not changes or _lost(space, others):
        return
    for key, wanted in changes.items():
        if not isinstance(holder, type):
            _put(space, key, wanted)
        elif not _put_in_place(space.get(key), wanted):
            setattr(holder, key, wanted)


def _is_equal(left: object, right: object) -> bool:
    if type(left) is not type(right):
        return False
    try:
        return bool(left == right)
    except Exception:  # noqa: BLE001  # an array, or what else a module has there
        return False


def _put(space: "dict[str, Any]", name: str, wanted: "Any") -> None:
    """Set a value; a collection that others may have imported is changed in its place."""
    if not _put_in_place(space.get(name), wanted):
        space[name] = wanted


def _put_in_place(there: "Any", wanted: "Any") -> bool:
    if type(there) is not type(wanted) or type(wanted) not in (dict, list, set):
        return False
    if type(wanted) is list:
        there[:] = wanted
    else:
        there.clear()
        there.update(wanted)
    return True


def _bound_elsewhere(space: "dict[str, Any]", others: "tuple[str, ...]") -> set[str]:
    """Name what functions set together with something that the program has and cannot send."""
    lost = _lost(space, others)
    if not lost:
        return set()
    bound: set[str] = set()
    for names in _sets_together(space):
        if not lost.isdisjoint(names):
            bound |= names
    return bound


def _lost(space: "Mapping[str, Any]", others: "tuple[str, ...]") -> set[str]:
    """Name what the program has there and a worker has not."""
    return {
        name for name in others if space.get(name) is None or _is_simple(space[name], DEPTH_MAX)
    }


def _sets_together(space: "dict[str, Any]") -> "Iterator[set[str]]":
    values = list(space.values())
    methods = [one for kind in values if isinstance(kind, type) for one in vars(kind).values()]
    for value in (*values, *methods):
        function = getattr(value, "__func__", value)
        function = getattr(function, "__wrapped__", function)
        if isinstance(function, FunctionType) and function.__globals__ is space:
            names = set(_globals_set(function.__code__))
            if len(names) > 1:
                yield names


def _globals_set(code: CodeType) -> "Iterator[str]":
    import opcode

    store, extended = opcode.opmap["STORE_GLOBAL"], opcode.opmap["EXTENDED_ARG"]
    high, body = 0, code.co_code
    for at in range(0, len(body), 2):
        if body[at] == store:
            yield code.co_names[high | body[at + 1]]
        high = (high | body[at + 1]) << 8 if body[at] == extended else 0
