"""Context variables of the program: each is known by its module and name, and so is its value.

Of variables that are kept nowhere but in a class or closure, and of those of libraries, nothing
travels. A value is set in a worker as soon as its variable is there. Imports little.
"""

import sys
from contextvars import Context, ContextVar, copy_context
from types import ModuleType

from adaptive_exec.program.modules import own_modules
from adaptive_exec.system.pickles import dump, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Home = tuple[str, str]
_homes: "dict[ContextVar[Any], Home | None]" = {}
_pending: dict[Home, bytes | None] = {}


def read_variables() -> "dict[ContextVar[Any], Any]":
    """Return what is set in this context; 0.3 us."""
    return dict(copy_context().items())


def pack_variables(values: "dict[ContextVar[Any], Any]") -> dict[Home, bytes] | None:
    """Pack the values of the program's own variables; None where there are none."""
    packed = {}
    for variable, value in values.items():
        home = home_of(variable)
        if home is None:
            continue
        try:
            packed[home] = dump(value)
        except Exception:  # noqa: BLE001, S112  # a connection, a request: it stays the caller's
            continue
    return packed or None


def home_of(variable: "ContextVar[Any]") -> Home | None:
    """Return in which of the program's modules a variable is kept, and by which name."""
    if variable not in _homes:
        _homes[variable] = _find_home(variable)
    return _homes[variable]


def _find_home(variable: "ContextVar[Any]") -> Home | None:
    main = sys.modules.get("__main__")
    modules = [("__main__", main)] if isinstance(main, ModuleType) else []
    for name, module in [*modules, *own_modules()]:
        for key, value in list(vars(module).items()):
            if value is variable:
                return name, key
    return None


def set_variables(told: "dict[Home, bytes] | None", before: "dict[Home, bytes] | None") -> None:
    """Set what has changed, now or as soon as its variable is there (worker)."""
    now, earlier = told or {}, before or {}
    _pending.update(dict.fromkeys(earlier.keys() - now.keys()))
    _pending.update({home: value for home, value in now.items() if earlier.get(home) != value})
    set_pending()


def set_pending() -> None:
    """Set the variables that have come meanwhile."""
    for home, value in list(_pending.items()):
        variable = getattr(sys.modules.get(home[0]), home[1], None)
        if isinstance(variable, ContextVar):
            del _pending[home]
            _set(variable, value)


def _set(variable: "ContextVar[Any]", value: bytes | None) -> None:
    try:
        variable.set(Context().run(variable.get) if value is None else loads(value))
    except LookupError:
        return  # it has no default to go back to


def facts_of(variable: "ContextVar[Any]") -> "tuple[str, tuple[Any, ...]]":
    """Return a variable's name, and its default where it has one."""
    try:
        return variable.name, (Context().run(variable.get),)
    except LookupError:
        return variable.name, ()


def make_variable(name: str, default: "tuple[Any, ...]") -> "ContextVar[Any]":
    """Make a variable anew (worker)."""
    if not default:
        return ContextVar(name)
    return ContextVar(name, default=default[0])


def find_variable(module: str, name: str) -> "Any":
    """Return the variable of a module that can be imported (worker)."""
    __import__(module)
    return getattr(sys.modules[module], name)
