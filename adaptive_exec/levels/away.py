"""What runs at an engine's workers: a greeting, and chunks of tasks as bytes.

A worker there is whatever the engine has made of it; nothing here starts, ends or judges one. A
function is loaded once per process and kept by its key.
"""

import importlib
import itertools
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import cloudpickle

from adaptive_exec.errors import UNSENDABLE_RESULT
from adaptive_exec.levels.base import ChunkOrder, Detail, Failure, Results, Work
from adaptive_exec.levels.current import TEMPORARY_PREFIX, InThread, Place
from adaptive_exec.levels.remade import Remade, with_causes
from adaptive_exec.levels.tasks import chunk_context, run_bite, try_initializer
from adaptive_exec.program.c_pickle import loads
from adaptive_exec.program.seeds import Stream
from adaptive_exec.system.pickles import PROTOCOL

FUNCTIONS_KEPT: Final = 16
"""Functions that a process keeps loaded."""
DONE, UNKNOWN, REFUSED = "done", "unknown", "refused"
"""What became of a bundle: it ran; its function is not here; it cannot be run here."""
VALUE, ERROR, STAND_IN = 0, 1, 2
"""How an outcome travels: a value, an exception, or what can be told of one."""
TEXT_LETTERS = 2000
"""Letters of an error's text that stands for it."""


class Greeting(NamedTuple):
    """Who answers: what must be alike, and where it is."""

    python: str
    version: str
    host: str
    pid: int
    trouble: str = ""


class Bundle(NamedTuple):
    """A chunk on its way.

    Attributes:
        key: Names the function; `""` where each item has its own.
        body: The function, `b""` where it is to be there already.
        marks: Of each module that it needs what tells its version.
        items: The arguments, packed.
        first: The initializer with its arguments, packed; `b""` for none.
        origin: Host and process that it is from.
    """

    key: str
    body: bytes
    marks: dict[str, str]
    items: bytes
    style: int
    is_detailed: bool
    batch: int
    start: int
    attempt: int
    stream: Stream | None
    first: bytes
    origin: tuple[str, int]


class Done(NamedTuple):
    """What became of a chunk's tasks.

    Attributes:
        values: All of them packed as one list, None where one is an error or cannot be packed.
        outcomes: Else each by itself, with how it travels.
        tasks: How many they are.
        failed: How many of them ended in an exception.
        wall_seconds: How long all of them took.
        cpu_seconds: The processor time of their thread.
        pack_seconds: What unpacking and packing took.
    """

    values: bytes | None
    outcomes: list[tuple[int, Any]]
    details: list[Detail] | None
    tasks: int
    failed: int
    wall_seconds: float
    cpu_seconds: float
    pack_seconds: float


class AwayError(Exception):
    """Why a bundle cannot be run here."""


def greet(first: bytes = b"") -> Greeting:
    """Say who is here, after the initializer has run."""
    try:
        _begin(first)
    except AwayError as error:
        return own_greeting()._replace(trouble=str(error))
    return own_greeting()


def own_greeting() -> Greeting:
    """Say who this process is."""
    version = sys.modules[__name__.partition(".")[0]].__version__
    python = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    return Greeting(python, version, platform.node(), os.getpid())


def run_packed(packed: bytes, body: bytes = b"") -> tuple[str, Any]:
    """Run a bundle that an engine need not look into."""
    return run_bundle(loads(packed), body)


def run_bundle(bundle: Bundle, body: bytes = b"") -> tuple[str, Any]:
    """Run a chunk; never raises for a task.

    Args:
        bundle: The chunk.
        body: The function where the bundle is without.

    Returns:
        DONE and a `Done`; UNKNOWN or REFUSED and a text.
    """
    before = time.perf_counter()
    try:
        _begin_afresh(bundle.origin)
        _begin(bundle.first)
        function = _functions.find(bundle, bundle.body or body)
        if function is None and bundle.key:
            return UNKNOWN, ""
        items = loads(bundle.items)
    except AwayError as error:
        return REFUSED, str(error)
    except BaseException as error:  # noqa: BLE001  # to unpickle runs the user's code
        return REFUSED, _text(error)
    return DONE, _run(bundle, function, items, time.perf_counter() - before)


def _run(
    bundle: Bundle, function: Callable[..., Any] | None, items: list[Any], spent: float
) -> Done:
    work = Work(
        bundle.batch, bundle.style, function, detailed=bundle.is_detailed, stream=bundle.stream
    )
    order = ChunkOrder(0, 0, bundle.start, bundle.attempt, items, work)
    base = os.path.join(tempfile.gettempdir(), f"{TEMPORARY_PREFIX}{os.getpid()}-{next(_numbers)}")
    place = Place(base, b"", bundle.batch, bundle.start, bundle.attempt, bundle.stream)
    results = Results([])
    cpu, wall = time.thread_time(), time.perf_counter()
    try:
        with InThread(place, results.values, 0):
            run_bite(order, 0, len(items), chunk_context(order), results)
    except BaseException as error:  # noqa: BLE001  # an interrupt: what tasks raise is their result
        results.values.extend(Failure(error) for _ in range(len(items) - len(results.values)))
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    if os.path.isdir(base):
        shutil.rmtree(base, ignore_errors=True)
    before = time.perf_counter()
    values, outcomes = _pack(results.values)
    failed = sum(1 for value in results.values if isinstance(value, Failure))
    spent += time.perf_counter() - before
    return Done(values, outcomes, results.details, len(items), failed, wall, cpu, spent)


_numbers = itertools.count()


def _pack(values: list[Any]) -> tuple[bytes | None, list[tuple[int, Any]]]:
    if not any(value.__class__ is Failure for value in values):
        try:
            return cloudpickle.dumps(values, PROTOCOL), []
        except BaseException:  # noqa: BLE001, S110  # one by one, so that it is that task's own failure
            pass
    return None, [_pack_one(value) for value in values]


def _pack_one(value: Any) -> tuple[int, Any]:
    if isinstance(value, Failure):
        return _pack_error(value.error)
    try:
        return VALUE, cloudpickle.dumps(value, PROTOCOL)
    except BaseException as error:  # noqa: BLE001  # its own pickling may raise anything
        error.add_note(UNSENDABLE_RESULT + type(value).__qualname__)
        return _pack_error(error)


def _pack_error(error: BaseException) -> tuple[int, Any]:
    import traceback  # only where a task failed

    text = "".join(traceback.format_exception(error))
    for traveller in (error, Remade(error)):
        try:
            packed = cloudpickle.dumps((with_causes(error, traveller), text), PROTOCOL)
            if isinstance(loads(packed)[0], BaseException):
                return ERROR, packed
        except BaseException:  # noqa: BLE001, S112  # its own pickling may raise anything
            continue
    kind = type(error)
    return STAND_IN, (f"{kind.__module__}.{kind.__qualname__}", _text(error), text)


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:TEXT_LETTERS]
    except BaseException:  # noqa: BLE001  # its own __str__ may raise anything
        return type(error).__name__


class _Functions:
    """The functions that this process has loaded, the latest used last."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Callable[..., Any]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, bundle: Bundle, body: bytes) -> Callable[..., Any] | None:
        """Return a bundle's function, None where it is not here.

        Raises:
            AwayError: A module that it needs is not here, or another one.
        """
        with self._lock:
            found = self._held.get(bundle.key)
            if found is not None:
                self._held.move_to_end(bundle.key)
                return found
            if not (body and bundle.key):
                return None
            _compare(bundle.marks)
            made: Callable[..., Any] = loads(body)
            self._held[bundle.key] = made
            if len(self._held) > FUNCTIONS_KEPT:
                self._held.popitem(last=False)
            return made


_functions = _Functions()
_started: dict[str, object] = {}
_starting = threading.Lock()


def _begin_afresh(origin: tuple[str, int]) -> None:
    """Have no two processes draw the same: an engine may have forked them from one."""
    if _started.get("pid") == os.getpid() or origin == (platform.node(), os.getpid()):
        return
    import random

    random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()
    _started["pid"] = os.getpid()


def _begin(first: bytes) -> None:
    """Run the initializer, once in each process.

    Raises:
        AwayError: It failed.
    """
    if not first:
        return
    key = f"{os.getpid()}-{zlib.crc32(first)}"
    with _starting:
        if key not in _started:
            try:
                initializer, arguments = loads(first)
            except BaseException as error:
                message = f"the initializer cannot be loaded there, got {_text(error)}"
                raise AwayError(message) from error
            _started[key] = try_initializer(initializer, arguments)
    if _started[key]:
        message = f"the initializer failed there, got {_started[key]}"
        raise AwayError(message)


def _compare(marks: dict[str, str]) -> None:
    """Compare the modules that a function needs with those of the caller.

    Raises:
        AwayError: One is not here, or is another one.
    """
    for name, mark in marks.items():
        try:
            importlib.import_module(name)
        except BaseException as error:
            message = f"module {name} cannot be imported there, got {_text(error)}"
            raise AwayError(message) from error
        here = mark_of(name)
        if here != mark:
            message = f"module {name} is another one there, got {here}, here it is {mark}"
            raise AwayError(message)


def mark_of(name: str) -> str:
    """Return what tells the version of a loaded module: its own word, or its source's checksum."""
    module = sys.modules[name]
    version = getattr(module, "__version__", None)
    if isinstance(version, str):
        return version
    try:
        with open(str(module.__file__), "rb") as file:
            return f"{zlib.crc32(file.read()):08x}"
    except (OSError, AttributeError):
        return ""
