"""The standard pools' faces: their constructors, their errors, their classes, on our executor.

`ProcessPoolExecutor` always runs tasks in processes, `ThreadPoolExecutor` always in threads. Each
is an instance of the standard class as well, for those who ask; nothing of that class's own working
is used. What breaks here costs its tasks, not the pool; only a failed initializer ends that.
"""

import itertools
import multiprocessing
import os
import sys
import threading
import weakref
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future
from concurrent.futures import process as standard_processes
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.process import ProcessPoolExecutor as StandardProcesses
from concurrent.futures.thread import BrokenThreadPool
from concurrent.futures.thread import ThreadPoolExecutor as StandardThreads
from functools import lru_cache, partial
from typing import Any, Final

from adaptive_exec.clients.first_calls import run_logged
from adaptive_exec.engine.lanes import CALL_BACK
from adaptive_exec.errors import AdaptiveExecError, InitializerError, traceback_of
from adaptive_exec.executor import AdaptiveExecutor
from adaptive_exec.levels.functions import pack_function
from adaptive_exec.results import ResultIterator

STARTS: Final = {"fork": "snapshot", "spawn": "fresh", "forkserver": "fresh"}
"""Start methods of `multiprocessing`, and ours that do the same for tasks."""
THREADS_MAX: Final = 32
"""Threads of a pool that nobody gave a number. Source: `concurrent.futures.thread`."""
THREADS_MORE: Final = 4
"""Threads beyond the cores. Source: `concurrent.futures.thread`."""
CALLBACK_SECONDS: Final = 1.0
"""Seconds that the end of a map waits at most for callbacks. Source: own choice; one that moves a
bar takes microseconds."""


class _PoolFace(AdaptiveExecutor):
    """What both pools have in common."""

    _broken_kind: type[BrokenExecutor]
    _broken: InitializerError | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Schedule `fn(*args, **kwargs)`; return a Future of its result.

        Raises:
            BrokenExecutor: The initializer has failed.
            RuntimeError: The pool is shut down.
        """
        self._check_whole()
        return super().submit(fn, *args, **kwargs)

    def map(  # type: ignore[override]  # a generator, as in the standard pools
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Generator[Any, None, None]:
        """Return a generator of `fn`'s results, in order; it ends at the first exception.

        Args:
            fn: What to call.
            *iterables: Inputs, cut at the shortest.
            timeout: Seconds from now in which every result must be there, None for no limit.
            chunksize: Tasks per message; 1, the default, has it measured.
            buffersize: Most tasks pulled whose result was not taken.

        Raises:
            BrokenExecutor: The initializer has failed.
            RuntimeError: The pool is shut down.
        """
        _check_buffersize(buffersize)
        self._check_whole()
        if "submit" in self.__dict__ or type(self).submit is not _PoolFace.submit:
            return self._after_callbacks(self._map_by_submit(fn, iterables, timeout, chunksize))
        size = None if chunksize == 1 else chunksize
        results = super().map(
            fn, *iterables, timeout=timeout, chunksize=size, buffersize=buffersize
        )
        return self._hand_on(results)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # as in the base class
        """Take no more work; finish what was taken on and free every resource.

        Args:
            wait: Return only when all is done; else at once, and the work goes on.
            cancel_futures: Cancel what has not begun; as many calls as there may be workers count
                as begun.
        """
        if cancel_futures and not self._driver.is_foreign:
            self._cancel_all_but(self._max_workers)
        super().shutdown(wait)

    def _after_callbacks(self, results: Generator[Any, None, None]) -> Generator[Any, None, None]:
        """Hand results on; let callbacks of their futures be through at the end, as those count."""
        try:
            yield from results
        finally:
            self._driver.lanes.settle(CALLBACK_SECONDS, CALL_BACK)

    def _map_by_submit(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int,
    ) -> Generator[Any, None, None]:
        """Map as the standard pools do: who has put a `submit` of their own here counts on it."""
        del chunksize
        return Executor.map(self, fn, *iterables, timeout=timeout)  # type: ignore[return-value]  # it is a generator

    def _check_whole(self) -> None:
        if self._broken is not None:
            raise self._as_told(self._broken)

    def _hand_on(self, results: ResultIterator[Any]) -> Generator[Any, None, None]:
        try:
            yield from results
        except AdaptiveExecError as error:
            raise self._as_told(error) from error.__cause__
        except Exception as error:
            self._as_told(error)
            raise
        finally:
            results.close()

    def _as_told(self, error: BaseException) -> BaseException:
        """Return an error as those who know the standard pool expect it."""
        if isinstance(error, InitializerError):
            self._broken = error
        return _break(error, self._broken_kind)


class ProcessPoolExecutor(_PoolFace, StandardProcesses):  # type: ignore[misc]  # what theirs says of `map` is narrower
    """The standard pool of processes, on an executor that outlives its workers.

    Args:
        max_workers: Most processes at once; None means as many as the host affords.
        mp_context: A context of `multiprocessing`: `fork` forks this program, `spawn` and
            `forkserver` start afresh, unless only a fork can have the initializer's arguments;
            None forks where that is safe.
        initializer: Called first in each process.
        initargs: Its arguments.
        max_tasks_per_child: Tasks after which a process is replaced.
        **settings: More of the executor's, by the names of `Config`.

    Raises:
        ValueError: A number is out of range.
        TypeError: A value has the wrong type, or a setting is unknown.
    """

    _broken_kind = BrokenProcessPool
    _traceback_kind: Callable[[str], BaseException] | None = getattr(
        standard_processes, "_RemoteTraceback", None
    )

    def __init__(  # as in the standard library
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        **settings: Any,
    ) -> None:
        _check_max_workers(max_workers)
        _check_initializer(initializer)
        start = _start_by_rules(mp_context, max_tasks_per_child)
        if initializer is not None:
            start = _way_for(start, initializer, initargs)
            initializer, initargs = run_logged, (initializer, *initargs)
        given: dict[str, Any] = {
            "start": start,
            "isolate": True,
            "levels": "process",
            "max_workers": max_workers,
            "max_tasks_per_worker": max_tasks_per_child,
            "initializer": initializer,
            "initargs": initargs,
        }
        said = {name: value for name, value in given.items() if value is not None}
        AdaptiveExecutor.__init__(self, **said, **settings)
        self._expects_fork = default_method() == "fork"
        pool: weakref.ref[_PoolFace] = weakref.ref(self)
        self._make_future = lambda: _PoolFuture(pool)

    def _map_by_submit(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int,
    ) -> Generator[Any, None, None]:
        return StandardProcesses.map(  # type: ignore[return-value]  # it is a generator
            self, fn, *iterables, timeout=timeout, chunksize=chunksize
        )

    def _as_told(self, error: BaseException) -> BaseException:
        _show_traceback(error, self._traceback_kind)
        return super()._as_told(error)


class ThreadPoolExecutor(_PoolFace, StandardThreads):  # type: ignore[misc, override]  # as above
    """The standard pool of threads, on an executor that counts memory.

    Args:
        max_workers: Most threads at once; None means 4 more than there are cores, 32 at most.
        thread_name_prefix: What the names of its threads begin with.
        initializer: Called first in each thread.
        initargs: Its arguments.
        **settings: More of the executor's, by the names of `Config`.

    Raises:
        ValueError: A number is out of range.
        TypeError: A value has the wrong type, or a setting is unknown.
    """

    _broken_kind = BrokenThreadPool
    _numbers = itertools.count()

    def __init__(  # as in the standard library
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **settings: Any,
    ) -> None:
        if max_workers is None:
            max_workers = min(THREADS_MAX, _count_cores() + THREADS_MORE)
        _check_max_workers(max_workers)
        _check_initializer(initializer)
        prefix = thread_name_prefix or f"ThreadPoolExecutor-{next(self._numbers)}"
        self._named = _Named(prefix)
        first = () if initializer is None else (initializer, *initargs)
        given: dict[str, Any] = {
            "levels": "thread",
            "max_workers": max_workers,
            "initializer": self._named,
            "initargs": first,
        }
        AdaptiveExecutor.__init__(self, **given, **settings)
        pool: weakref.ref[_PoolFace] = weakref.ref(self)
        self._make_future = lambda: _PoolFuture(pool)

    @property
    def _threads(self) -> set[threading.Thread]:  # type: ignore[override]  # as in the standard pool
        return self._named.threads()


class _PoolFuture(Future):  # type: ignore[type-arg]  # cannot be subscripted where it is a base
    """A Future whose errors are the standard pool's."""

    def __init__(self, pool: "weakref.ref[_PoolFace]") -> None:
        super().__init__()
        self._pool = pool

    def set_exception(self, exception: BaseException | None) -> None:
        """Set an error, as those who know the standard pool expect it."""
        pool = self._pool()
        if exception is not None and pool is not None:
            exception = pool._as_told(exception)  # noqa: SLF001  # its own
        super().set_exception(exception)
        del pool, exception  # this frame would be held by the traceback


class _Named:
    """Gives threads their names: the lowest number that none of those alive has."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self._known: dict[int, weakref.ref[threading.Thread]] = {}

    def __call__(self, initializer: Callable[..., object] | None = None, *initargs: Any) -> None:
        thread = threading.current_thread()
        with self._lock:
            number = next(k for k in itertools.count() if not self._has(k))
            self._known[number] = weakref.ref(thread)
        thread.name = f"{self._prefix}_{number}"
        if initializer is not None:
            run_logged(initializer, *initargs)

    def threads(self) -> set[threading.Thread]:
        """Return those that have begun and live."""
        found = [one() for one in list(self._known.values())]
        return {one for one in found if one is not None and one.is_alive()}

    def _has(self, number: int) -> bool:
        known = self._known.get(number)
        thread = None if known is None else known()
        return thread is not None and thread.is_alive()


def _break(error: BaseException, base: type[BrokenExecutor]) -> BaseException:
    """Return the same error as one that those who catch a broken pool catch."""
    if not (isinstance(error, AdaptiveExecError) and isinstance(error, BrokenExecutor)):
        return error
    if isinstance(error, base):
        return error
    broken = _remake(type(error), base, error.args, error.__dict__)
    broken.__cause__ = error.__cause__
    broken.__context__ = error.__context__
    broken.__traceback__ = error.__traceback__
    return broken


def _remake(
    kind: type[AdaptiveExecError],
    base: type[BrokenExecutor],
    args: tuple[object, ...],
    facts: dict[str, object],
) -> BaseException:
    kinds: Any = (kind, base)
    broken = _broken_of(*kinds)
    error = broken.__new__(broken)
    error.args = args
    error.__dict__.update(facts)
    return error


@lru_cache(maxsize=32)
def _broken_of(kind: type[AdaptiveExecError], base: type[BrokenExecutor]) -> type[BaseException]:
    """Make the class of our errors that are the standard pool's, too."""

    def reduce(self: BaseException) -> tuple[object, ...]:
        return _remake, (kind, base, self.args, self.__dict__)

    body = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__reduce__": reduce}
    return type(kind.__name__, (kind, base), body)


def _show_traceback(error: BaseException, kind: Callable[[str], BaseException] | None) -> None:
    """Have the worker's traceback be told by the class that the standard pool tells it by."""
    text = traceback_of(error)
    if text and kind is not None:
        error.__cause__ = kind(f'\n"""\n{text}"""')


def default_method() -> str:
    """Return what starts processes where nothing is said, and leave that open to be set."""
    return multiprocessing.get_start_method(allow_none=True) or next(
        iter(multiprocessing.get_all_start_methods())
    )


def start_of(context: Any) -> str | None:
    """Return how workers start in a context of `multiprocessing`; None where it is all the same."""
    if sys.platform != "linux":
        return None
    if context is not None:
        return STARTS.get(context.get_start_method(allow_none=False))
    chosen = multiprocessing.get_start_method(allow_none=True)
    return None if chosen in {None, "fork"} else "fresh"


def _start_by_rules(context: Any, max_tasks_per_child: Any) -> str | None:
    """Return how workers start, by the rules of the standard pool."""
    if max_tasks_per_child is None:
        return start_of(context)
    method = None if context is None else context.get_start_method(allow_none=False)
    if not isinstance(max_tasks_per_child, int):
        message = "max_tasks_per_child must be an integer"
        raise TypeError(message)
    if max_tasks_per_child <= 0:
        message = "max_tasks_per_child must be >= 1"
        raise ValueError(message)
    if method == "fork":
        message = (
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; "
            "supply a different mp_context."
        )
        raise ValueError(message)
    return "fresh" if sys.platform == "linux" else None


def _way_for(
    start: str | None, initializer: Callable[..., object], initargs: tuple[Any, ...]
) -> str | None:
    """Return how workers start that get these arguments: a queue comes to those that are forked."""
    if start != "fresh" or pack_function(partial(initializer, *initargs)) is not None:
        return start
    return None


def _check_max_workers(max_workers: int | None) -> None:
    if max_workers is not None and max_workers <= 0:
        message = "max_workers must be greater than 0"
        raise ValueError(message)


def _check_initializer(initializer: object) -> None:
    if initializer is not None and not callable(initializer):
        message = "initializer must be a callable"
        raise TypeError(message)


def _check_buffersize(buffersize: Any) -> None:
    if buffersize is None:
        return
    if not isinstance(buffersize, int):
        message = "buffersize must be an integer or None"
        raise TypeError(message)
    if buffersize < 1:
        message = "buffersize must be None or > 0"
        raise ValueError(message)


def _count_cores() -> int:
    count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    return count() or 1
