"""Objects that are nothing but themselves (`MISSING = object()`), on the other side of a pickle.

A copy of one is another object, and `value is MISSING` is false. Who has a name in a module is
found by it there. Imports little, since every worker imports it.
"""

import sys

from adaptive_exec.program.places import PLACES
from adaptive_exec.program.spaces import HERE, MAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from adaptive_exec.program.spaces import Key

_names: "dict[int, Key]" = {}
_counts = [0, 0]


def name_of(value: object) -> "Key | None":
    """Return a module and the name by which it has an object; one that can be imported, if any."""
    main = sys.modules.get(MAIN)
    counts = [len(sys.modules), len(vars(main)) if main else 0]
    if counts != _counts:
        _counts[:] = counts
        _find_all()
    key = _names.get(id(value))
    if key is None or _look_up(key) is not value:
        return None
    return key


def find(module: str, name: str) -> object:
    """Return what has this name in a module; in the caller only where that is loaded."""
    if HERE.is_worker:
        __import__(module)
    found = _look_up((module, name))
    return found if type(found) is object else object()


def _find_all() -> None:
    """Look for all of them: 2 ms where NumPy and pandas are loaded."""
    _names.clear()
    for module, found in list(sys.modules.items()):
        space = getattr(found, "__dict__", None)
        if type(space) is not dict:
            continue
        is_strange = PLACES.is_strange(module)
        for name, value in list(space.items()):
            if type(value) is not object:
                continue
            if is_strange:
                _names.setdefault(id(value), (module, name))
            else:
                _names[id(value)] = module, name


def _look_up(key: "Key") -> object:
    return getattr(sys.modules.get(key[0]), "__dict__", {}).get(key[1])
