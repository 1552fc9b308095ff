"""Name what keeps a function or an argument from being sent to a process, and where in it that is.

The search goes from the outer to the inner, into the first part that cannot be packed by itself. It
looks into closures, globals that code refers to, defaults, what methods and partials are bound to,
items of collections, and the state of other objects, and ends after a bound of time and parts.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from time import monotonic
from types import FunctionType, MethodType
from typing import Any

from adaptive_exec.errors import UnsendableError
from adaptive_exec.levels.base import FULL, ONE
from adaptive_exec.levels.functions import PROGRAM
from adaptive_exec.levels.tasks import is_from_signal
from adaptive_exec.program.code import names_in
from adaptive_exec.system.pickles import PROTOCOL

SEARCH_SECONDS = 1.0
"""Seconds that a search may take: packing 100 MB takes 0.1 s, and each step packs less."""
SEARCH_DEPTH = 32
"""Steps into an object at most."""
SEARCH_PARTS = 1000
"""Parts of one object that are looked at."""
_TEXT_LETTERS = 300
"""Letters of an error that are passed on."""

_Part = tuple[str, Any]
"""An expression for a part, and the part."""


def explain_function(function: Callable[..., Any], error: BaseException) -> UnsendableError:
    """Make the error of a function that cannot be sent."""
    return _explain(_name(function), function, error)


def explain_item(
    style: int, item: Any, error: BaseException, *, arguments: str = "args"
) -> UnsendableError:
    """Make the error of a task whose arguments, or whose own function, cannot be sent.

    Args:
        style: How the item is called, as in `Work`.
        item: The task's item.
        error: What packing it raised.
        arguments: What the arguments are called.
    """
    if style == FULL:
        function, args, kwargs = item
        parts = [(_name(function), function), *_items(arguments, args)]
        parts += [(f"kwargs[{name!r}]", value) for name, value in kwargs.items()]
    else:
        parts = list(_items(arguments, (item,) if style == ONE else item))
    deadline = monotonic() + SEARCH_SECONDS
    for name, part in islice(parts, SEARCH_PARTS):
        refusal = _refusal(part)
        if refusal is not None:
            return _search(name, part, refusal, deadline)
    return _search(arguments, parts[0][1] if parts else item, error, 0.0)


def _explain(name: str, value: Any, error: BaseException) -> UnsendableError:
    return _search(name, value, error, monotonic() + SEARCH_SECONDS)


def _search(path: str, value: Any, error: BaseException, deadline: float) -> UnsendableError:
    seen = {id(value)}
    for _ in range(SEARCH_DEPTH):
        found = None
        for name, part in islice(_parts(path, value), SEARCH_PARTS):
            if monotonic() > deadline:
                break
            refusal = None if id(part) in seen else _refusal(part)
            if refusal is not None:
                found = name, part, refusal
                break
        if found is None:
            break
        path, value, error = found
        seen.add(id(value))
    kind = type(value)
    unsendable = UnsendableError(path, f"{kind.__module__}.{kind.__qualname__}", _text(error))
    unsendable.__cause__ = error.with_traceback(None)  # its frames hold what was packed
    return unsendable


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_TEXT_LETTERS]
    except Exception:  # noqa: BLE001  # its own __str__ may raise anything
        return type(error).__name__


def _refusal(part: Any) -> BaseException | None:
    try:
        PROGRAM.pack(part)
    except BaseException as error:
        if is_from_signal(error):
            raise
        return error
    return None


def _parts(path: str, value: Any) -> Iterator[_Part]:
    """Name what an object is packed from; the end of it where even that cannot be asked."""
    try:
        if isinstance(value, FunctionType):
            yield from _parts_of_function(path, value)
        elif isinstance(value, MethodType):
            yield f"{path}.__self__", value.__self__
            yield f"{path}.__func__", value.__func__
        elif isinstance(value, partial):
            yield f"{path}.func", value.func
            yield from _items(f"{path}.args", value.args)
            yield from _values(f"{path}.keywords", value.keywords)
        elif isinstance(value, type):
            yield from ((f"{path}.{name}", part) for name, part in list(vars(value).items()))
        else:
            yield from _parts_of_object(path, value)
    except BaseException as error:
        if is_from_signal(error):
            raise
        return  # an object's own __reduce__, keys or items may raise anything


def _parts_of_function(path: str, function: FunctionType) -> Iterator[_Part]:
    code, space = function.__code__, function.__globals__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{path}.__closure__[{name!r}]", cell.cell_contents
        except ValueError:  # it is empty yet
            continue
    for name in sorted(names_in(code)):
        if name in space:
            yield f"{path}.__globals__[{name!r}]", space[name]
    yield from _items(f"{path}.__defaults__", function.__defaults__ or ())
    yield from _values(f"{path}.__kwdefaults__", function.__kwdefaults__ or {})
    yield from _values(f"{path}.__dict__", function.__dict__)


def _parts_of_object(path: str, value: Any) -> Iterator[_Part]:
    kind = type(value)
    if kind in (list, tuple):
        yield from _items(path, value)
        return
    if kind in (set, frozenset):
        yield from _items(f"list({path})", list(value))
        return
    if kind is dict:
        yield from _values(path, value)
        return
    made = value.__reduce_ex__(PROTOCOL)
    if not isinstance(made, tuple):
        return
    _, args, state, items, pairs = (*made, None, None, None)[:5]
    yield from _parts_of_state(path, value, state)
    yield from _items(path, items or ())
    yield from ((f"{path}[{key!r}]", part) for key, part in pairs or ())
    yield from _items(f"{path}.__reduce_ex__({PROTOCOL})[1]", args or ())


def _parts_of_state(path: str, value: Any, state: Any) -> Iterator[_Part]:
    states = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # noqa: PLR2004  # and slots
    for one in states:
        if not isinstance(one, dict):
            if one is not None:
                yield f"{path}.__getstate__()", one
            continue
        for key, part in list(one.items()):
            is_attribute = isinstance(key, str) and getattr(value, key, None) is part
            yield f"{path}.{key}" if is_attribute else f"{path}.__getstate__()[{key!r}]", part


def _items(path: str, items: Any) -> Iterator[_Part]:
    return ((f"{path}[{place}]", part) for place, part in enumerate(items))


def _values(path: str, mapping: dict[Any, Any]) -> Iterator[_Part]:
    for place, (key, part) in enumerate(list(mapping.items())):
        yield f"list({path})[{place}]", key
        yield f"{path}[{key!r}]", part


def _name(function: Any) -> str:
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__
