"""What travels to an engine's workers, and what comes back: the caller's side of `away`.

By cloudpickle alone, since such a worker is no part of this program: modules must be there, and
what is of `__main__` goes by value.
"""

import hashlib
import os
import platform
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

import cloudpickle

from adaptive_exec.errors import TaskError, add_traceback
from adaptive_exec.levels.away import ERROR, VALUE, Bundle, Done, Greeting, mark_of, own_greeting
from adaptive_exec.levels.base import FULL, CannotStartError, Carried, ChunkOrder, Failure, Results
from adaptive_exec.levels.exchange import load_plain
from adaptive_exec.levels.tasks import is_from_signal
from adaptive_exec.program.c_pickle import loads
from adaptive_exec.program.code import names_in
from adaptive_exec.program.places import PLACES
from adaptive_exec.program.shares import has_any, unwrap
from adaptive_exec.system.pickles import PROTOCOL

_STANDARD: Final = sys.stdlib_module_names | {"adaptive_exec", "cloudpickle", "__mp_main__"}


def carry(function: Callable[..., Any]) -> Carried | None:
    """Pack a function for an engine's workers, None where it cannot be."""
    try:
        body = _dump(function)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return None
    marks = _marks_of(function)
    digest = hashlib.blake2b(body, digest_size=16)
    digest.update(repr(marks).encode())
    return Carried(digest.hexdigest(), body, marks)


def _dump(value: Any) -> bytes:
    """Pickle what is to be read elsewhere: what no worker can import goes by value.

    Raises:
        Exception: Whatever the pickling of it raises.
    """
    PLACES.look()
    registered = cloudpickle.list_registry_pickle_by_value()
    names = PLACES.strange - registered - {"__main__"}
    with _registering if names else nullcontext():
        modules = [sys.modules[name] for name in names if name in sys.modules]
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            packed: bytes = cloudpickle.dumps(value, PROTOCOL)
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)
    return packed


_registering = threading.Lock()


def _marks_of(function: Any) -> dict[str, str]:
    """Name the modules that a function needs, as far as they are seen at once."""
    while not isinstance(function, FunctionType):
        inner = function.func if isinstance(function, partial) else None
        inner = function.__func__ if isinstance(function, MethodType) else inner
        if inner is None:
            break
        function = inner
    names = {getattr(function, "__module__", None) or type(function).__module__}
    if isinstance(function, FunctionType):
        space = function.__globals__
        used = (space[name] for name in names_in(function.__code__) & space.keys())
        names |= {one.__name__ if isinstance(one, ModuleType) else _home(one) for one in used}
    whole = {name for name in names if name and name.partition(".")[0] not in _STANDARD}
    return {name: mark_of(name) for name in sorted(whole) if _is_to_be_there(name)}


def _home(value: Any) -> str:
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""


def _is_to_be_there(name: str) -> bool:
    return name in sys.modules and not PLACES.is_strange(name)


def make_first(initializer: Callable[..., Any] | None, arguments: tuple[Any, ...]) -> bytes:
    """Pack an initializer.

    Raises:
        CannotStartError: It cannot be packed.
    """
    if initializer is None:
        return b""
    try:
        return _dump((initializer, arguments))
    except Exception as error:
        message = f"the initializer cannot be sent ({type(error).__name__}: {error})"
        raise CannotStartError(message) from error


def make_bundle(order: ChunkOrder, first: bytes) -> Bundle:
    """Pack a chunk.

    Raises:
        Exception: Whatever the pickling of an argument raises.
    """
    work = order.work
    carried = work.carried
    items = [unwrap(item) for item in order.items] if has_any() else list(order.items)
    is_along = carried is not None and not carried.is_large
    return Bundle(
        "" if carried is None else carried.key,
        carried.body if carried is not None and is_along else b"",
        {} if carried is None else carried.marks,
        _dump(items),
        work.style,
        work.detailed,
        work.batch,
        order.start,
        order.attempt,
        work.stream,
        first,
        (platform.node(), os.getpid()),
    )


def is_carried(order: ChunkOrder) -> bool:
    """Say whether a chunk can be sent at all."""
    return order.work.style == FULL or order.work.carried is not None


def open_done(done: Done) -> Results:
    """Take outcomes in; they are unpacked where they are first looked at."""
    return Results.packed(done.tasks, partial(_unpack, done), done.details)


def _unpack(done: Done, allowed: frozenset[tuple[str, str]] | None) -> list[Any]:
    load = loads if allowed is None else partial(load_plain, allowed)
    if done.values is not None:
        values: list[Any] = load(memoryview(done.values))
        return values
    if allowed is not None:
        load_plain(frozenset(), memoryview(_NOT_PLAIN))
    return [_unpack_one(kind, packed) for kind, packed in done.outcomes]


_NOT_PLAIN = cloudpickle.dumps(TaskError, PROTOCOL)


def _unpack_one(kind: int, packed: Any) -> Any:
    try:
        if kind == VALUE:
            return loads(packed)
        if kind == ERROR:
            error, text = loads(packed)
            add_traceback(error, text)
            return Failure(error)
        type_name, message, text = packed
        stand_in = TaskError(type_name, message, text)
        add_traceback(stand_in, text)
        return Failure(stand_in)
    except BaseException as error:
        if is_from_signal(error):
            raise
        return Failure(error)


def differs(greeting: Greeting) -> str:
    """Say what is not alike at a worker, `""` where nothing is."""
    own = own_greeting()
    if greeting.trouble:
        return greeting.trouble
    where = f"at {greeting.host}, process {greeting.pid}"
    if greeting.python != own.python:
        return f"another Python {where}, got {greeting.python}, here it is {own.python}"
    if greeting.version != own.version:
        return f"another adaptive_exec {where}, got {greeting.version}, here it is {own.version}"
    return ""
