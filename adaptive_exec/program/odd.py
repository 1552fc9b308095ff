"""Objects of the standard library that pickle refuses and that are simple to make anew.

What a program keeps in its globals and classes without a thought: containers of weak references,
values of the thread, cached properties (with a lock inside before Python 3.12), `singledispatch`.
Locks, files and sockets are not among them, since they mean something between processes. Imports
nothing that is not there.
"""

import functools
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

MODULES = frozenset({"weakref", "_weakrefset", "_thread", "functools"})
"""Where the types are from."""
_WEAK_MAPPINGS = ("WeakKeyDictionary", "WeakValueDictionary")


def reduce(value: "Any", kind: type) -> "tuple[Any, ...] | None":
    """Say how an object is made anew, as `__reduce__` does; None for any other."""
    name = kind.__name__
    if kind.__module__ == "weakref" and name in _WEAK_MAPPINGS:
        return make_weak, (kind,), list(value.items()), None, None, fill_weak
    if kind.__module__ == "_weakrefset" and name == "WeakSet":
        return make_weak, (kind,), list(value), None, None, fill_weak
    if kind.__module__ == "_thread" and name == "_local":
        return make_local, (), dict(vars(value)), None, None, fill_local
    if kind is functools.cached_property:
        return make_cached, (value.func, value.attrname)
    return None


def make_weak(kind: "Callable[[], Any]") -> "Any":
    """Make a container of weak references, to be filled."""
    return kind()


def fill_weak(container: "Any", items: "Iterable[Any]") -> None:
    """Fill it, and keep what is in it: nobody else here may."""
    container._adaptive_kept = items  # noqa: SLF001  # an attribute of ours on the standard library's
    container.update(items)


def make_local() -> "Any":
    """Make a place for values of a thread."""
    from _thread import _local

    return _local()


def fill_local(place: "Any", values: "dict[str, Any]") -> None:
    """Put in it what the caller's thread had there."""
    vars(place).update(values)


def make_cached(function: "Callable[[Any], Any]", name: str | None) -> "Any":
    """Make a cached property of this name."""
    made: functools.cached_property[Any] = functools.cached_property(function)
    made.attrname = name
    return made


def is_dispatcher(function: FunctionType) -> bool:
    """Say whether a function is what `functools.singledispatch` makes."""
    known = function.__dict__
    return "dispatch" in known and "registry" in known and function.__code__ is _dispatching_code()


@functools.cache
def _dispatching_code() -> object:
    made: Any = functools.singledispatch(_dispatching_code)
    return made.__code__


def reduce_dispatcher(function: FunctionType) -> "tuple[Any, ...]":
    """Reduce such a function to the one that it decorates, and those that are registered."""
    registry = dict(function.__dict__["registry"])
    decorated = registry.pop(object)
    return (
        functools.singledispatch,
        (decorated,),
        list(registry.items()),
        None,
        None,
        fill_dispatcher,
    )


def fill_dispatcher(function: "Any", registered: "Iterable[tuple[type, Any]]") -> None:
    """Register functions with one that `singledispatch` has made."""
    for kind, one in registered:
        function.register(kind, one)
