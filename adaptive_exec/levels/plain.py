"""Send a simple function of `__main__` as its code, without cloudpickle.

Simple means: no closure, no attributes, and no global names but modules and itself; all else goes
by cloudpickle, whose import takes a fresh interpreter 25 ms of the 50 ms to its first result
(benchmarks/figures.py, `start`).
"""

import marshal
import sys
from types import CodeType, FunctionType, ModuleType

from adaptive_exec.levels.pickles import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_MAIN = b"__main__"


def pack_plain(function: object, protocol: int) -> bytes | None:
    """Pickle a simple function of `__main__`; None for everything else.

    Args:
        function: What to send.
        protocol: Pickle's protocol.

    Returns:
        A pickle that `loads` turns into an equal function, without cloudpickle.
    """
    plain = as_plain(function, protocol)
    return None if plain is function else dumps(plain, protocol)


def as_plain(function: object, protocol: int) -> object:
    """Return what pickles in the place of a simple function of `__main__`, else the object."""
    if function.__class__ is not FunctionType:
        return function
    assert isinstance(function, FunctionType), "checked by its class above"
    if function.__module__ != "__main__" or function.__closure__ or function.__dict__:
        return function
    names = set(names_in(function.__code__))
    known = {name: function.__globals__[name] for name in names & function.__globals__.keys()}
    if any(value is not function and not _is_module(value) for value in known.values()):
        return function
    defaults = (function.__defaults__, function.__kwdefaults__)
    try:
        if _MAIN in dumps(defaults, protocol):
            return function
    except Exception:  # noqa: BLE001  # a default's __reduce__ may raise anything
        return function
    return _Plain(function, known, names)


class _Plain:
    """Pickles as the call that makes the function anew."""

    def __init__(self, function: FunctionType, known: "dict[str, object]", names: set[str]) -> None:
        self._function = function
        self._known = known
        self._names = names

    def __reduce__(self) -> "tuple[Any, ...]":
        function = self._function
        modules = {
            name: value.__name__
            for name, value in self._known.items()
            if isinstance(value, ModuleType)
        }
        inner = [name for module in modules.values() for name in _submodules(module, self._names)]
        itself = [name for name, value in self._known.items() if value is function]
        return make_plain, (
            marshal.dumps(function.__code__),
            (function.__name__, function.__qualname__),
            (function.__defaults__, function.__kwdefaults__),
            (modules, inner, itself),
        )


def make_plain(
    code: bytes,
    names: tuple[str, str],
    defaults: "tuple[Any, Any]",
    space_names: tuple[dict[str, str], list[str], list[str]],
) -> FunctionType:
    """Make the function anew (worker).

    Args:
        code: Its marshalled code.
        names: Its name and qualified name.
        defaults: Its defaults and keyword defaults.
        space_names: Its global names that stand for modules, submodules that must be imported,
            too, and its global names that stand for itself.

    Returns:
        The function, of module `__main__`.

    Raises:
        ImportError: A module cannot be imported here.
    """
    modules, inner, itself = space_names
    for module in (*modules.values(), *inner):
        __import__(module)
    space: dict[str, object] = {"__name__": "__main__", "__builtins__": __builtins__}
    space.update({name: sys.modules[module] for name, module in modules.items()})
    function = FunctionType(marshal.loads(code), space, names[0], defaults[0])
    function.__qualname__ = names[1]
    function.__kwdefaults__ = defaults[1]
    space.update(dict.fromkeys(itself, function))
    return function


def _submodules(module: str, names: set[str]) -> "Iterator[str]":
    """Name the imported submodules that code with these names may reach from a module."""
    prefix = f"{module}."
    for name in list(sys.modules):
        if name.startswith(prefix) and names.issuperset(name[len(prefix) :].split(".")):
            yield name


def _is_module(value: object) -> bool:
    return (
        isinstance(value, ModuleType)
        and sys.modules.get(value.__name__) is value
        and value.__name__ != "__main__"
    )


def names_in(code: CodeType) -> "Iterator[str]":
    """Name what code and the functions in it may look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)
