"""Objects of `multiprocessing` in the user's modules, which only a fork of the caller has, too.

A module that workers import for themselves makes them there anew: each counts, locks and waits for
itself. Found where the program's settings are read; what follows is not decided here.
"""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from adaptive_exec.program.inherited import HEAP, HOMES, comes_by_fork
from adaptive_exec.program.modules import ITEMS_MAX, NAMES_MAX, own_modules

_PROXIES = "multiprocessing.managers"
_MAKERS = HOMES | {_PROXIES, HEAP}
"""Modules one of which is loaded where there is any."""


class Kept(NamedTuple):
    """One such object.

    Attributes:
        path: Where it is: `"mine.COUNTER"`.
        kind: Its type's name.
        identity: Tells it from another one in its place.
    """

    path: str
    kind: str
    identity: int


def find_all_kept() -> frozenset[Kept]:
    """Find all that there are now in the user's modules."""
    if _MAKERS.isdisjoint(sys.modules):
        return frozenset()
    modules = list(own_modules())
    return frozenset(one for name, module in modules for one in find_kept(name, vars(module)))


def find_kept(module: str, space: dict[str, Any]) -> list[Kept]:
    """Find those of one module, in its variables and one step into what these hold.

    Args:
        module: Its name.
        space: Its namespace.
    """
    return [Kept(path, type(value).__qualname__, id(value)) for path, value in _find(module, space)]


def find_inherited() -> dict[int, Any]:
    """Return what workers have of `__main__` and the user's modules when they are forked now.

    By their numbers in memory.
    """
    if _MAKERS.isdisjoint(sys.modules):
        return {}
    main = sys.modules.get("__main__")
    modules = [*own_modules(), *([] if main is None else [("__main__", main)])]
    found = (value for name, module in modules for _, value in _find(name, vars(module)))
    return {id(value): value for value in found if comes_by_fork(value, type(value))}


def _find(module: str, space: dict[str, Any]) -> list[tuple[str, Any]]:
    if _MAKERS.isdisjoint(sys.modules):
        return []
    names = [(f"{module}.{name}", value) for name, value in list(space.items())[:NAMES_MAX]]
    inner = [part for path, value in names for part in _parts(module, path, value)]
    return [(path, value) for path, value in (*names, *inner) if _is_kept(value, type(value))]


def _parts(module: str, path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a collection, a class of the module's, or an object of such a class holds."""
    kind = type(value)
    if kind is dict:
        yield from ((f"{path}[{key!r}]", one) for key, one in list(value.items())[:ITEMS_MAX])
    elif kind is list or kind is tuple:
        yield from ((f"{path}[{place}]", one) for place, one in enumerate(value[:ITEMS_MAX]))
    elif kind.__module__ == module or (issubclass(kind, type) and value.__module__ == module):
        try:  # not by `getattr`: its own lookup may run anything
            held = dict(object.__getattribute__(value, "__dict__"))
        except AttributeError:  # it has slots
            return
        yield from ((f"{path}.{name}", one) for name, one in list(held.items())[:ITEMS_MAX])


def _is_kept(value: Any, kind: type) -> bool:
    if kind.__module__ == _PROXIES:  # of a server started here; one that was joined is another's
        return getattr(getattr(value, "_manager", None), "_process", None) is not None
    return comes_by_fork(value, kind)
