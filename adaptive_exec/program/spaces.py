"""The modules of the caller that workers cannot import: one namespace of each in every process.

`__main__` above all. What the caller sends is installed there by name, once for each version; what
an initializer or a task has set there stays until the caller's own value changes. In the caller
itself the namespaces are those of its modules. Imports little, since every worker imports it.
"""

import builtins
import marshal
import sys
from functools import partial
from io import BytesIO
from types import CellType, FunctionType, ModuleType

from adaptive_exec.program.c_pickle import Unpickler, loads
from adaptive_exec.program.places import PLACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

Key = tuple[str, str]
"""A module that workers cannot import, and a name in it."""
Facts = tuple[str, str | None, str | None, tuple[str, str | None, bool] | None]
"""Of a module: name, package, file; name, origin and kind of its spec."""
MAIN = "__main__"
SHARED = ""
"""Stands for a module in the keys of what `share` was given."""


class Spaces:
    """What was installed in this process.

    Attributes:
        is_worker: Whether the caller is another process.
        failed: Why a name could not be loaded.
    """

    def __init__(self) -> None:
        self.is_worker = False
        self.failed: dict[Key, BaseException] = {}
        self._versions: dict[Key, int] = {}
        self._received: dict[Key, Any] = {}
        self._pending: dict[Key, Callable[[], Any]] = {}
        self._born: dict[Key, Any] = {}
        self.inherited: dict[int, Any] = {}

    def begin_here(self, versions: "dict[Key, int]", inherited: "dict[int, Any]") -> None:
        """Be a worker that was forked from the caller: all of its names are here (worker).

        Args:
            versions: Those that the caller has sent somebody, as they are now.
            inherited: What it sends by its number, since it is here.
        """
        self.inherited = inherited
        self.is_worker = True
        PLACES.look()
        self._born = {
            (name, own): value
            for name, module in list(sys.modules.items())
            if PLACES.is_strange(name) and type(module) is ModuleType
            for own, value in vars(module).items()
        }
        self._received = dict(self._born)
        self._versions = dict(versions)

    def take(self, entries: "Iterable[tuple[Key, int, Callable[[], Any]]]") -> None:
        """Install names in versions that are new here.

        Args:
            entries: Each key, its version, and what loads its value.
        """
        for key, version, load in entries:
            known = self._versions.get(key)
            if known == version:
                continue
            self._versions[key] = version
            self.failed.pop(key, None)
            if known is None and key[0] and self._is_set(key):
                continue  # an initializer or a task has set it
            self._received.pop(key, None)
            self._pending[key] = load
        while self._pending:
            self._load(next(iter(self._pending)))

    def _is_set(self, key: "Key") -> bool:
        """Say whether a name has a value that is not what this process was forked with."""
        own = space(key[0])
        return key[1] in own and self._born.get(key, self) is not own[key[1]]

    def _load(self, key: "Key") -> None:
        load = self._pending.pop(key)
        try:
            self.install(key, load())
        except BaseException as error:  # noqa: BLE001  # the user's modules run here and may raise anything
            self.failed[key] = error.with_traceback(None)

    def install(self, key: "Key", value: "Any") -> None:
        """Give a name its value; again where that is still being filled."""
        self._received[key] = value
        if key[0]:
            space(key[0])[key[1]] = value

    def find(self, key: "Key") -> "Any":
        """Return the value of a name, here and now.

        Raises:
            BaseException: It could not be loaded, for this reason.
            AttributeError: There is none.
        """
        if key in self._pending:
            self._load(key)
        if key in self.failed:
            raise self.failed[key].with_traceback(None)
        if not key[0]:
            return self._received[key]
        return getattr(sys.modules[key[0]], key[1])

    def check(self, keys: "Iterable[Key]") -> None:
        """See to it that none of these names could not be loaded.

        Raises:
            BaseException: One could not, for this reason.
        """
        if self.failed:
            for key in keys:
                if key in self.failed:
                    raise self.failed[key].with_traceback(None)

    def has(self, key: "Key", value: object) -> bool:
        """Say whether this is what the caller knows by this name."""
        return self._received.get(key, self) is value

    def shared(self) -> "list[Any]":
        """Return what is here of what the caller has shared by itself."""
        return [value for key, value in self._received.items() if not key[0]]

    def forget(self, keys: "Iterable[Key]") -> None:
        """Let go of values that no task uses any more; what a task has put there stays."""
        for key in keys:
            value = self._received.pop(key, None)
            self.failed.pop(key, None)
            if not key[0]:
                self._versions.pop(key, None)
            elif space(key[0]).get(key[1], self) is value:
                self._versions.pop(key, None)
                if self._born.get(key, self) is value:
                    self._received[key] = value  # the caller's own; nothing is freed
                else:
                    del space(key[0])[key[1]]


HERE = Spaces()


def space(name: str) -> "dict[str, Any]":
    """Return the namespace of a module, which is made where there is none."""
    module = sys.modules.get(name)
    if module is None:
        module = sys.modules[name] = ModuleType(name)
        PLACES.add(name)
    return module.__dict__


def space_like(facts: "Facts") -> "dict[str, Any]":
    """Return the namespace of a module of the caller's."""
    if facts[0] not in sys.modules:
        _make(facts)
    return space(facts[0])


def module_like(facts: "Facts") -> ModuleType:
    """Return a module of the caller's."""
    space_like(facts)
    return sys.modules[facts[0]]


def become(facts: "Facts") -> None:
    """Have the caller's `__main__` for our own, still empty (worker)."""
    HERE.is_worker = True
    _replaced.append(sys.modules.get(facts[0]))
    _make(facts)


def start_as(main: "Facts", names: "list[tuple[Any, list[bytes]]]") -> None:
    """Begin as the caller's program, with these names (worker)."""
    become(main)
    facts = [(*one, True) for one, _ in names]
    HERE.take(read_entries(facts, [part for _, parts in names for part in parts]))


_replaced: "list[ModuleType | None]" = []
"""Our own `__main__`, whose code may still run."""


def _make(facts: "Facts") -> None:
    name, package, file, spec = facts
    module = ModuleType(name)
    space = module.__dict__
    del space["__doc__"]  # the caller's comes by name
    space["__builtins__"] = builtins
    space["__package__"] = package
    if file is not None:
        space["__file__"] = file
    if spec is not None:
        space["__spec__"] = _make_spec(*spec)
        space["__loader__"] = space["__spec__"].loader
    sys.modules[name] = module
    PLACES.add(name)


def _make_spec(name: str, origin: str | None, is_package: bool) -> "Any":  # noqa: FBT001  # a fact
    from importlib.machinery import ModuleSpec, SourceFileLoader  # frozen, loaded already

    loader = None if origin is None else SourceFileLoader(name, origin)
    made = ModuleSpec(name, loader, origin=origin, is_package=is_package)
    made.has_location = origin is not None
    return made


def facts_of(module: ModuleType) -> "Facts":
    """Return what another process has to know to make such a module (caller)."""
    own = module.__dict__
    spec = own.get("__spec__")
    told = None
    if spec is not None and isinstance(getattr(spec, "name", None), str):
        origin = getattr(spec, "origin", None)
        is_package = getattr(spec, "submodule_search_locations", None) is not None
        told = (spec.name, _text(origin), is_package)
    return module.__name__, _text(own.get("__package__")), _text(own.get("__file__")), told


def main_facts() -> "Facts":
    """Return what workers have to know of our `__main__`."""
    module = sys.modules.get(MAIN)
    return (MAIN, None, None, None) if module is None else facts_of(module)


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str) else None


def read_entries(
    facts: "Iterable[tuple[Any, ...]]", parts: "Sequence[Any]"
) -> "Iterator[tuple[Key, int, Callable[[], Any]]]":
    """Find the wanted ones among names that came together.

    Args:
        facts: Of each: key, version, number of parts, by identity or not, wanted or not.
        parts: The pickle and the buffers of each.

    Yields:
        Key, version, and what loads the value.
    """
    at = 0
    for key, version, count, by_identity, is_wanted in facts:
        own = parts[at : at + count]
        at += count
        if is_wanted:
            yield key, version, partial(load_parts, own, by_identity=by_identity)


def load_parts(parts: "Sequence[Any]", *, by_identity: bool) -> "Any":
    """Unpickle a value that came as its pickle and the buffers beside it.

    Raises:
        BaseException: Whatever unpickling it raises.
    """
    pickle, *buffers = parts
    if not by_identity:
        return loads(pickle, buffers=buffers)
    return _ByIdentity(BytesIO(pickle), buffers=buffers).load()


class _ByIdentity(Unpickler):
    """Finds lists, dictionaries and sets by their names."""

    def persistent_load(self, key: "Key") -> "Any":
        return HERE.find(key)


# what pickles call


def find(module: str, path: str) -> "Any":
    """Return what is known by a name, or an attribute of it: `Outer.Inner`."""
    name, *rest = path.split(".")
    found = HERE.find((module, name))
    for attribute in rest:
        found = getattr(found, attribute)
    return found


def born(number: int) -> "Any":
    """Return what this process has from the fork of its program.

    Raises:
        LookupError: It was not forked from that.
    """
    if number not in HERE.inherited:
        message = (
            "an object of multiprocessing is not here, got a worker that was not forked from its "
            "program; have the server of a multiprocessing.Manager hold it"
        )
        raise LookupError(message)
    return HERE.inherited[number]


def named(module: str, name: str, make: "Callable[..., Any]", *arguments: object) -> "Any":
    """Make something, and have its name known before it is filled: it may refer to itself."""
    value = make(*arguments)
    HERE.install((module, name), value)
    return value


def import_module(name: str, inner: "Iterable[str]" = ()) -> ModuleType:
    """Import a module, and those below it that code reaches from there.

    Raises:
        ImportError: It cannot be imported here.
    """
    for one in (name, *inner):
        __import__(one)
    return sys.modules[name]


def make_space(own: "dict[str, Any]") -> "dict[str, Any]":
    """Make the namespace of functions whose module's own they do not share."""
    own["__builtins__"] = builtins
    return own


def make_function(
    code: "Any", space: "dict[str, Any]", name: str, qualname: str, cells: "tuple[CellType, ...]"
) -> FunctionType:
    """Make a function, to be filled by `fill_function`."""
    made = FunctionType(marshal.loads(code), space, name, None, cells or None)
    made.__qualname__ = qualname
    return made


def fill_function(function: FunctionType, state: "tuple[Any, ...]") -> None:
    """Give a function all that may refer to it."""
    fields, cells, values, inner = state
    for module in inner:
        __import__(module)
    attributes = fields.pop("__dict__", None)
    if attributes:
        function.__dict__.update(attributes)
    for name, value in fields.items():
        setattr(function, name, value)
    for cell, content in cells:
        cell.cell_contents = content
    function.__globals__.update(values)


def make_cell() -> CellType:
    """Make an empty cell."""
    return CellType()


def cached(function: "Callable[..., Any]", parameters: "dict[str, Any]") -> "Callable[..., Any]":
    """Give a function a cache of its own again, empty, as each process has one."""
    from functools import lru_cache

    wrapper: Callable[..., Any] = lru_cache(**parameters)(function)
    return wrapper


def new_type(name: str, kind: object, module: str) -> "Any":
    """Make a `typing.NewType`."""
    from typing import NewType

    make: Any = NewType
    made = make(name.rpartition(".")[2], kind)
    made.__qualname__ = name
    made.__module__ = module
    return made
