"""Pickle what refers to modules that workers cannot import: by name what is known there by name.

A function or class of `__main__` is a reference to its name, and which names are needed is noted;
what has no name (a lambda, an inner function, an older class) goes by value, its globals being
those of its module on the other side. Classes by value are cloudpickle's work, whose import takes
20 ms, so only there. Decides nothing about when names are sent.
"""

import functools
import re
import sys
from collections import ChainMap
from contextvars import ContextVar
from io import TextIOWrapper
from types import CellType, FunctionType, ModuleType

from adaptive_exec.program import inherited, odd, sentinels, spaces, variables
from adaptive_exec.program.c_pickle import Pickler
from adaptive_exec.program.classes import without_hooks
from adaptive_exec.program.code import all_names_in, marshalled, names_in, submodules, words_in
from adaptive_exec.program.places import PLACES
from adaptive_exec.program.shares import Shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from adaptive_exec.program.c_pickle import PickleBuffer
    from adaptive_exec.program.spaces import Facts, Key

    Buffer = bytes | bytearray | memoryview

    class Known(Protocol):
        """By which names objects are known, by id."""

        def get(self, number: int, /) -> Key | None:
            """Return an object's."""


BUFFER_BYTES = 16 * 1024
"""Bytes from which a buffer (an array) travels beside the pickle, without a copy."""
_Wrapper = type(functools.lru_cache(abs))
_OURS = frozenset({"__name__", "__package__", "__file__", "__spec__", "__loader__", "__builtins__"})
"""Names that a module has before anything is sent."""
_FIELDS = ("__defaults__", "__kwdefaults__", "__module__", "__doc__")
_CONTAINERS: frozenset[type] = frozenset({list, dict, set, bytearray})
_SEEKERS = frozenset({"globals", "eval", "exec", "vars"})
"""Builtins by which code may look up a name that does not stand in it."""
_SHELL = re.compile(r"_[i\d]*|In|Out|_[oid]h|get_ipython|exit|quit|open")
"""Names that an interactive shell has put beside the user's."""


class NeedsMoreError(Exception):
    """What is to be pickled needs cloudpickle."""


class Notes:
    """What a pickle refers to.

    Args:
        owner: The name whose value is pickled; None for anything else.
        known: Names of objects, by id: these objects are meant wherever they are met.
        root: The value of that name.
        is_received: In a worker, says whether the caller knows an object by a name.
        born: What the other side has from a fork.

    Attributes:
        objects: Names whose values must be there when it is unpickled.
        looked_up: Names that its functions look up when they run.
        wished: Names that they may look up: what of it cannot travel stays behind.
        has_identities: Whether it refers to lists, dictionaries or sets by name.
    """

    def __init__(
        self,
        owner: "Key | None" = None,
        known: "Known | None" = None,
        root: object = None,
        is_received: "Callable[[Key, object], bool] | None" = None,
        born: inherited.Inherited = inherited.NOTHING,
    ) -> None:
        self._born = born
        self.objects: dict[Key, None] = {}
        self.looked_up: dict[Key, None] = {}
        self.wished: dict[Key, None] = {}
        self.has_identities = False
        self._owner = owner
        self._known = {} if known is None else known
        self._root = root
        self._is_received = is_received
        self._spaces: dict[str, _Space] = {}
        self._own_spaces: dict[int, _OwnSpace] = {}

    def reduce(  # noqa: C901, PLR0911, PLR0912  # one for each kind
        self, value: "Any", *, by_value: "Callable[[Any], Any] | None"
    ) -> "Any":
        """Say how an object is pickled, as `reducer_override` does.

        Args:
            value: The object.
            by_value: Reduces a class by value; None where cloudpickle is not at hand.
        """
        kind = type(value)
        if kind is FunctionType:
            return self._reduce_function(value)
        if kind is CellType or kind is Shared:
            return self._refer_to_shared(value) if kind is Shared else (spaces.make_cell, ())
        if kind is ContextVar:
            return self._reduce_variable(value)
        if issubclass(kind, type):
            return self._reduce_class(value, by_value)
        if kind is ModuleType:
            return self._reduce_module(value, by_value)
        key = self._known.get(id(value))
        if key is not None and key != self._owner:
            return self._refer(key, key[1])
        if kind is object:
            return self._reduce_sentinel(value)
        if kind.__module__ in inherited.HOMES or type(kind).__module__ == "_ctypes":
            return self._reduce_born(value, kind)
        if kind.__module__ in odd.MODULES:
            reduced = odd.reduce(value, kind)
            if reduced is not None:
                return self._named_if_owner(value, *reduced)
        return self._reduce_named(value, kind, by_value)

    def _reduce_sentinel(self, value: object) -> "Any":
        """Have an object that is nothing but itself be the one of its name, where it has one."""
        key = sentinels.name_of(value)
        if key is None or key == self._owner:
            return NotImplemented
        if not PLACES.is_strange(key[0]):
            return sentinels.find, key
        if self._is_received is not None and not self._is_received(key, value):
            return NotImplemented
        return self._refer(key, key[1])

    def _reduce_born(self, value: object, kind: type) -> "Any":
        """Send what workers have from a fork by its number; else it is as its own pickling says."""
        if not inherited.comes_by_fork(value, kind):
            return NotImplemented
        if self._born.has(value):
            return spaces.born, (id(value),)
        inherited.refuse(value, kind)
        return NotImplemented

    def _named_if_owner(
        self, value: object, make: "Any", arguments: "Any", *state: "Any"
    ) -> "tuple[Any, ...]":
        """Have the value of a name known by it before it is filled: it may refer to itself."""
        if self._owner is None or value is not self._root:
            return make, arguments, *state
        return spaces.named, (*self._owner, make, *arguments), *state

    def persistent_id(self, value: object) -> "Key | None":
        """Return the name of a list, dictionary or set that is known by one."""
        if value.__class__ not in _CONTAINERS:
            return None
        key = self._known.get(id(value))
        if key is None or key == self._owner:
            return None
        self.objects[key] = None
        self.has_identities = True
        return key

    def _reduce_function(self, function: FunctionType) -> "Any":
        name, module = function.__qualname__, function.__module__
        if "<" not in name:
            key = self.name_of(function, module, name)
            if key is not None:
                return self._refer(key, name)
            if not PLACES.is_strange(module) and _find(module, name) is function:
                return NotImplemented
        return self._function_by_value(function)

    def _reduce_variable(self, variable: "ContextVar[Any]") -> "tuple[Any, ...]":
        home = variables.home_of(variable)
        if home is None or home == self._owner:
            return variables.make_variable, variables.facts_of(variable)
        if PLACES.is_strange(home[0]):
            return self._refer(home, home[1])
        return variables.find_variable, home

    def _reduce_class(self, kind: type, by_value: "Callable[[Any], Any] | None") -> "Any":
        name, module = getattr(kind, "__qualname__", ""), getattr(kind, "__module__", None)
        if not PLACES.is_strange(module) and _find(module, name) is kind:
            return NotImplemented
        key = self.name_of(kind, module, name)
        if key is not None:
            return self._refer(key, name)
        if by_value is None:
            if module == "builtins":  # NoneType and its like
                return NotImplemented
            raise NeedsMoreError
        reduced = by_value(kind)
        if reduced is NotImplemented:
            return reduced
        return self._named_if_owner(kind, *reduced)

    def _reduce_module(self, module: ModuleType, by_value: "Callable[[Any], Any] | None") -> "Any":
        name = module.__name__
        if sys.modules.get(name) is not module:
            if by_value is None:
                raise NeedsMoreError
            return NotImplemented
        if PLACES.is_strange(name):
            return spaces.module_like, (spaces.facts_of(module),)
        return spaces.import_module, (name,)

    def _reduce_named(
        self, value: "Any", kind: type, by_value: "Callable[[Any], Any] | None"
    ) -> "Any":
        """Reduce an object that pickles as a name, where that is one of a strange module."""
        if kind.__module__ == "typing":
            name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        else:
            name = _attributes_of(value).get("__qualname__")
        module = getattr(value, "__module__", None) if isinstance(name, str) else None
        if not isinstance(name, str) or not PLACES.is_strange(module):
            return NotImplemented
        key = self.name_of(value, module, name)
        if key is not None:
            return self._refer(key, name)
        if kind is _Wrapper:
            return spaces.cached, (value.__wrapped__, value.cache_parameters())
        if kind.__module__ == "typing":
            if kind.__name__ == "NewType":
                return spaces.new_type, (name, value.__supertype__, module)
            if by_value is None:
                raise NeedsMoreError
        return NotImplemented

    def name_of(self, value: object, module: object, name: str) -> "Key | None":
        """Return by which name the other side knows an object; None for one that it does not."""
        if not isinstance(module, str) or not PLACES.is_strange(module):
            return None
        if _find(module, name) is not value:
            return None
        key = module, name.partition(".")[0]
        if key == self._owner:
            return None
        if self._is_received is not None:
            top = sys.modules[module].__dict__[key[1]]
            return key if self._is_received(key, top) else None
        return key

    def _refer(self, key: "Key", name: str) -> "tuple[Any, ...]":
        self.objects[key] = None
        return spaces.find, (key[0], name)

    def _refer_to_shared(self, handle: "Shared[Any]") -> "tuple[Any, ...]":
        if handle.is_over:
            message = "a shared handle whose executor has ended; share the object with this one"
            raise TypeError(message)
        return self._refer(handle.key, handle.key[1])

    def _function_by_value(self, function: FunctionType) -> "tuple[Any, ...]":
        if odd.is_dispatcher(function):
            return self._named_if_owner(function, *odd.reduce_dispatcher(function))
        space = function.__globals__
        names = names_in(function.__code__) & space.keys()
        home = self._home_of(space)
        values: dict[str, Any] = {}
        if home is None:
            own = self._own_spaces.setdefault(id(space), _OwnSpace(space))
            values = {name: space[name] for name in sorted(names)}
            place: _Space | _OwnSpace = own
        else:
            place = home
            for name in sorted(names - _OURS):
                self.looked_up[home.name, name] = None
            self._wish(function, home.name)
        cells = function.__closure__ or ()
        contents = [(cell, cell.cell_contents) for cell in cells if _is_filled(cell)]
        fields = {name: getattr(function, name) for name in _FIELDS}
        fields["__annotations__"] = _annotations_of(function)
        if function.__dict__:
            fields["__dict__"] = dict(function.__dict__)
        fields = {name: value for name, value in fields.items() if value}
        inner = self._inner_of(function, names, contents)
        state = fields, contents, values, inner
        made = marshalled(function.__code__), place, function.__name__, function.__qualname__, cells
        if self._owner is not None and function is self._root:
            named = *self._owner, spaces.make_function, *made
            return spaces.named, named, state, None, None, spaces.fill_function
        return spaces.make_function, made, state, None, None, spaces.fill_function

    def _wish(self, function: FunctionType, home: str) -> None:
        """Note what a function may look up by a name that is made while it runs."""
        seeks = _SEEKERS & names_in(function.__code__) - function.__globals__.keys()
        modules = {home} if seeks else set()
        modules.update(PLACES.strange_among(words_in(function.__code__)))
        for module in sorted(modules):
            for name in list(getattr(sys.modules.get(module), "__dict__", ())):
                if name not in _OURS and not _SHELL.fullmatch(name):
                    self.wished[module, name] = None

    def _home_of(self, space: "dict[str, Any]") -> "_Space | None":
        """Return the strange module whose namespace this is."""
        name = space.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        if module is None or not PLACES.is_strange(name) or module.__dict__ is not space:
            return None
        return self._spaces.setdefault(module.__name__, _Space(module))

    def _inner_of(
        self, function: FunctionType, names: "frozenset[str]", contents: "list[tuple[Any, Any]]"
    ) -> "list[str]":
        """Name submodules that a function reaches; what it reaches in strange modules is noted."""
        space = function.__globals__
        values = [space[name] for name in names] + [content for _, content in contents]
        found = {id(one): one for one in values if isinstance(one, ModuleType)}
        if not found:
            return []
        all_names = frozenset(all_names_in(function.__code__))
        inner: set[str] = set()
        for module in found.values():
            if sys.modules.get(module.__name__) is not module:
                continue
            if PLACES.is_strange(module.__name__):
                for name in sorted(all_names & module.__dict__.keys() - _OURS):
                    self.looked_up[module.__name__, name] = None
            else:
                inner.update(submodules(module.__name__, all_names))
        return sorted(inner)


class _Space:
    """Pickles as the namespace of a strange module, on the other side."""

    def __init__(self, module: ModuleType) -> None:
        self.name = module.__name__
        self._facts: Facts = spaces.facts_of(module)

    def __reduce__(self) -> "tuple[Any, ...]":
        return spaces.space_like, (self._facts,)


class _OwnSpace:
    """Pickles as a namespace with what these functions look up in theirs."""

    def __init__(self, space: "dict[str, Any]") -> None:
        self._space = space

    def __reduce__(self) -> "tuple[Any, ...]":
        names = ("__name__", "__package__", "__path__", "__file__")
        own = {name: self._space[name] for name in names if name in self._space}
        return spaces.make_space, (own,)


def dump(
    value: object,
    notes: Notes,
    protocol: int,
    buffers: "list[Buffer] | None" = None,
    keep: "Callable[[Any], bool] | None" = None,
    *,
    by_identity: bool = False,
) -> list[bytes]:
    """Pickle an object that refers to strange modules.

    Args:
        value: The object.
        notes: What it refers to is noted here.
        protocol: Pickle's protocol.
        buffers: Where `keep` puts large buffers.
        keep: Takes large buffers that are not to be in the pickle, as in `pickle`; None for none.
        by_identity: Lists, dictionaries and sets that are known by a name are meant, too.

    Returns:
        The pickle in pieces; long parts are not copied.

    Raises:
        Exception: Whatever the object's own pickling raises.
    """
    mark = 0 if buffers is None else len(buffers)
    try:
        return _run(_light(), value, notes, protocol, keep, by_identity=by_identity)
    except Exception as refused:  # noqa: BLE001  # a __reduce__ may raise anything
        if buffers is not None:
            del buffers[mark:]
        try:
            heavy = _heavy()
        except ImportError as missing:
            if missing.name != "cloudpickle" or not isinstance(refused, NeedsMoreError):
                raise refused from None
            message = f"{missing}; it is needed for classes of {spaces.MAIN}"
            raise TypeError(message) from missing
        return _run(heavy, value, notes, protocol, keep, by_identity=by_identity)


def keeper(buffers: "list[Buffer]") -> "Callable[[PickleBuffer], bool]":
    """Return what takes large buffers that are not to be in a pickle, as `pickle` asks for it.

    Args:
        buffers: Where they are put.
    """

    def keep(buffer: "PickleBuffer") -> bool:
        raw = buffer.raw()
        if raw.nbytes < BUFFER_BYTES:
            return True
        buffers.append(raw)
        return False

    return keep


def _run(
    kinds: "tuple[Any, Any]",
    value: object,
    notes: Notes,
    protocol: int,
    keep: "Callable[[Any], bool] | None",
    *,
    by_identity: bool,
) -> list[bytes]:
    pieces = Pieces()
    pickler = kinds[by_identity](pieces, protocol, buffer_callback=keep)
    pickler.notes = notes
    pickler.dump(value)
    return pieces.pieces


class Pieces:
    """A file that keeps what is written to it, without a copy."""

    __slots__ = ("pieces", "write")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.write = self.pieces.append


class _Light(Pickler):
    """Pickles all but classes by value and what else needs cloudpickle."""

    notes: Notes

    def reducer_override(self, value: "Any") -> "Any":
        return self.notes.reduce(value, by_value=None)


class _LightByIdentity(_Light):
    def persistent_id(self, value: "Any") -> "Any":
        return self.notes.persistent_id(value)


def _light() -> "tuple[Any, Any]":
    return _Light, _LightByIdentity


@functools.cache
def _heavy() -> "tuple[Any, Any]":
    from cloudpickle import cloudpickle

    def by_value(kind: type) -> "Any":
        if PLACES.is_strange(kind.__module__):
            reduced = cloudpickle._dynamic_class_reduce(kind)  # noqa: SLF001  # `sys.modules` has it
        else:
            reduced = cloudpickle._class_reduce(kind)  # noqa: SLF001  # as its own pickler does
        return without_hooks(kind, reduced)

    class Heavy(cloudpickle.Pickler):  # type: ignore[misc]  # it ships no types
        notes: Notes

        def reducer_override(self, value: "Any") -> "Any":
            return self.notes.reduce(value, by_value=by_value)

    Heavy.dispatch_table = ChainMap(
        {TextIOWrapper: _reduce_file}, cloudpickle.Pickler.dispatch_table
    )

    class HeavyByIdentity(Heavy):
        def persistent_id(self, value: "Any") -> "Any":
            return self.notes.persistent_id(value)

    return Heavy, HeavyByIdentity


def _reduce_file(file: TextIOWrapper) -> "tuple[Any, ...]":
    """Send standard streams by name; of others cloudpickle would send a copy of what is left."""
    for name in ("stdin", "stdout", "stderr"):
        if file is getattr(sys, name, None):
            return getattr, (sys, name)
    message = f"cannot pickle '{type(file).__module__}.{type(file).__qualname__}' object"
    raise TypeError(message)


def _attributes_of(value: object) -> "dict[str, Any]":
    """Return an object's own attributes, without asking it."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def _annotations_of(function: FunctionType) -> "Any":
    try:
        return function.__annotations__
    except Exception:  # noqa: BLE001  # evaluated when asked for since 3.14, which may raise anything
        return None


def _find(module: object, name: str) -> object:
    found: object = sys.modules.get(module) if isinstance(module, str) else None
    if found is None:
        return _MISSING
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except Exception:  # noqa: BLE001  # a module's or class's own __getattr__ may raise anything
            return _MISSING
    return found


_MISSING = object()


def _is_filled(cell: "Any") -> bool:
    try:
        cell.cell_contents  # noqa: B018  # it raises where there is none yet
    except ValueError:
        return False
    return True
