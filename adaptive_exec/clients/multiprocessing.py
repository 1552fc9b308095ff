"""`multiprocessing.Pool`, its methods and its endings, on our executor.

Sends each task by itself, whatever chunk it travels in: what breaks ends one result. A lost worker
is an error of what it ran, where the standard pool waits for ever. Knows nothing of how tasks run.
"""

import contextlib
import multiprocessing
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from multiprocessing import pool as standard_pools
from types import GenericAlias, TracebackType
from typing import Any, ClassVar, Final, NoReturn, Self

from adaptive_exec.clients.first_calls import Starred
from adaptive_exec.clients.standard import ProcessPoolExecutor, ThreadPoolExecutor
from adaptive_exec.errors import UNSENDABLE_RESULT, UnsendableError
from adaptive_exec.executor import AdaptiveExecutor
from adaptive_exec.levels.base import Failure
from adaptive_exec.log import LOGGER
from adaptive_exec.results import note_failures, raise_final

RUN: Final = "RUN"
CLOSE: Final = "CLOSE"
TERMINATE: Final = "TERMINATE"


class _Processes(ProcessPoolExecutor):
    _traceback_kind = standard_pools.RemoteTraceback  # type: ignore[attr-defined]  # the stubs lack it


class ProcessPool(standard_pools.Pool):
    """A `multiprocessing.Pool` whose results outlive its workers.

    An instance of the standard class, for those who ask; nothing of its own working is used.

    Args:
        processes: Most processes at once; None means as many as the host affords.
        initializer: Called first in each process.
        initargs: Its arguments.
        maxtasksperchild: Tasks after which a process is replaced.
        context: A context of `multiprocessing`.
        **settings: More of the executor's, by the names of `Config`.

    Raises:
        ValueError: A number is out of range.
        TypeError: A value has the wrong type, or a setting is unknown.
    """

    def __init__(  # as in the standard library
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        **settings: Any,
    ) -> None:
        self._state = ""
        _check(processes, maxtasksperchild)
        if maxtasksperchild is not None:
            settings = {"max_tasks_per_worker": maxtasksperchild, **settings}
        self._begin(_Processes(processes, context, initializer, initargs, **settings))

    def _begin(self, executor: ProcessPoolExecutor | ThreadPoolExecutor) -> None:
        self._executor = executor
        self._takers: set[threading.Thread] = set()
        self._state = RUN

    # calls

    def apply(
        self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}
    ) -> Any:
        """Return `func(*args, **kwds)`."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(  # as in the standard library
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> "AsyncResult":
        """Have `func(*args, **kwds)` called; return its result to come."""
        self._check_running()
        result = AsyncResult(callback, error_callback)
        future = self._executor.submit(func, *args, **kwds)
        future.add_done_callback(result._end_with)  # noqa: SLF001  # its own
        return result

    def map(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """Return the list of `func`'s results; when all have ended, raise the first error."""
        return self._take_all(self._open(func, iterable, chunksize))

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """Return the same of a function that gets each item's parts as arguments."""
        return self._take_all(self._open(Starred(func), iterable, chunksize))

    def map_async(  # type: ignore[override]  # its result is of the kind of all others
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> "AsyncResult":
        """Begin what `map` does; return its list to come."""
        self._check_running()
        result = AsyncResult(callback, error_callback)
        results = self._open(func, iterable, chunksize)
        taker = threading.Thread(
            target=self._take_apart, args=(results, result), name="adaptive-pool", daemon=True
        )
        self._takers.add(taker)
        taker.start()
        return result

    def starmap_async(  # as in the standard library
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> "AsyncResult":
        """Begin what `starmap` does; return its list to come."""
        return self.map_async(Starred(func), iterable, chunksize, callback, error_callback)

    def imap(  # type: ignore[override]  # None, which the stubs allow, is refused there, too
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> "PatientIterator":
        """Return an iterator of the results, in order; the input is taken as they are."""
        return self._iterate(func, iterable, chunksize, in_order=True)

    def imap_unordered(  # type: ignore[override]  # None, which the stubs allow, is refused there, too
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> "PatientIterator":
        """Return an iterator of the results as they come."""
        return self._iterate(func, iterable, chunksize, in_order=False)

    # endings

    def close(self) -> None:
        """Take no more work."""
        if self._state == RUN:
            self._state = CLOSE
            self._executor.shutdown(wait=False)

    def terminate(self) -> None:
        """End at once: cancel what has not begun, kill what runs."""
        self._state = TERMINATE
        self._executor.kill_workers()

    def join(self) -> None:
        """Wait until all has ended, after `close` or `terminate`.

        Raises:
            ValueError: Neither was called.
        """
        if self._state == RUN:
            message = "Pool is still running"
            raise ValueError(message)
        for taker in list(self._takers):
            if taker is not threading.current_thread():
                taker.join()
        self._executor.shutdown(wait=True)

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminate()

    def __del__(self) -> None:
        if self._state == RUN:
            message = f"unclosed running multiprocessing pool {self!r}"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        kind = type(self)
        size = self._processes if self._state else 0
        return f"<{kind.__module__}.{kind.__qualname__} state={self._state} pool_size={size}>"

    def __reduce__(self) -> NoReturn:
        message = "pool objects cannot be passed between processes or pickled"
        raise NotImplementedError(message)

    # parts

    @property
    def _processes(self) -> int:
        """Say how many work at once; those who know the standard pool look here."""
        return self._executor._max_workers  # noqa: SLF001  # its own

    def _check_running(self) -> None:
        if self._state != RUN:
            message = "Pool not running"
            raise ValueError(message)

    def _open(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None
    ) -> Iterator[Any]:
        self._check_running()
        items = iterable if isinstance(iterable, (list, tuple, range)) else list(iterable)
        call: Callable[..., Iterator[Any]] = AdaptiveExecutor.map
        return call(self._executor, func, items, chunksize=chunksize or None)

    def _take_all(self, results: Iterator[Any]) -> list[Any]:
        values: list[Any] = []
        error: BaseException | None = None
        while True:
            try:
                values.extend(results)
            except Exception as failure:  # noqa: BLE001  # whatever a task raises is its result
                error = error or self._as_told(failure)
            else:
                break
        if error is not None:
            try:
                raise error
            finally:
                del error
        return values

    def _take_apart(self, results: Iterator[Any], result: "AsyncResult") -> None:
        try:
            try:
                value = self._take_all(results)
            except BaseException as error:  # noqa: BLE001  # it is what `get` raises
                result._settle(error=error)  # noqa: SLF001  # its own
            else:
                result._settle(value)  # noqa: SLF001  # its own
        finally:
            self._takers.discard(threading.current_thread())

    def _iterate(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int, *, in_order: bool
    ) -> "PatientIterator":
        self._check_running()
        if chunksize < 1:
            message = f"Chunksize must be 1+, not {chunksize}"
            raise ValueError(message)
        size = None if chunksize == 1 else chunksize
        calls = self._executor._open_map(func, (iterable,), size, None, in_order=in_order)  # noqa: SLF001  # its own
        return PatientIterator(calls, self._as_told)

    def _as_told(self, error: BaseException) -> BaseException:
        return _as_raised(self._executor._as_told(error))  # noqa: SLF001  # its own


Pool = ProcessPool


class ThreadPool(ProcessPool, standard_pools.ThreadPool):
    """A `multiprocessing.pool.ThreadPool`.

    Args:
        processes: Most threads at once; None means as many as there are cores.
        initializer: Called first in each thread.
        initargs: Its arguments.
        **settings: More of the executor's, by the names of `Config`.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **settings: Any,
    ) -> None:
        self._state = ""
        _check(processes, None)
        count = processes or os.cpu_count() or 1
        self._begin(
            ThreadPoolExecutor(count, initializer=initializer, initargs=initargs, **settings)
        )


class AsyncResult(standard_pools.AsyncResult):  # type: ignore[type-arg]  # it has none at run time
    """What a call of a pool will give.

    Args:
        callback: Called with the value, before `get` returns.
        error_callback: Called with the error.
    """

    __class_getitem__: ClassVar[Any] = classmethod(GenericAlias)

    def __init__(
        self,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        self._callback = callback
        self._error_callback = error_callback
        self._over = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None

    def ready(self) -> bool:
        """Say whether it has ended."""
        return self._over.is_set()

    def successful(self) -> bool:
        """Say whether it has ended without an error.

        Raises:
            ValueError: It has not ended.
        """
        if not self.ready():
            message = f"{self!r} not ready"
            raise ValueError(message)
        return self._error is None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or for so many seconds."""
        self._over.wait(timeout)

    def get(self, timeout: float | None = None) -> Any:
        """Return the value, or raise the error.

        Raises:
            multiprocessing.TimeoutError: It has not ended in so many seconds.
        """
        self.wait(timeout)
        if not self.ready():
            raise multiprocessing.TimeoutError
        if self._error is not None:
            raise self._error
        return self._value

    def _end_with(self, future: "Future[Any]") -> None:
        error: BaseException | None
        try:
            error = future.exception()
        except BaseException as cancelled:  # noqa: BLE001  # the pool was terminated
            error = cancelled
        if error is None:
            self._settle(future.result())
        else:
            self._settle(error=_as_raised(error))

    def _settle(self, value: Any = None, *, error: BaseException | None = None) -> None:
        self._value, self._error = value, error
        try:
            if error is None and self._callback is not None:
                self._callback(value)
            elif error is not None and self._error_callback is not None:
                self._error_callback(error)
        except Exception:  # noqa: BLE001  # a callback may raise anything
            LOGGER.exception("pool: a callback failed")
        finally:
            self._over.set()


class PatientIterator(standard_pools.IMapIterator):  # type: ignore[type-arg]  # as above
    """Results of `imap`, whose `next` may be given so many seconds.

    Args:
        calls: The map.
        tell: Makes of an error the one that is raised.
    """

    def __init__(self, calls: Any, tell: Callable[[BaseException], BaseException]) -> None:
        self._calls = calls
        self._tell = tell
        self._items: deque[Any] = deque()
        self._has_begun = self._is_over = False
        self._turn = threading.Lock()

    def next(self, timeout: float | None = None) -> Any:
        """Return the next result.

        Raises:
            multiprocessing.TimeoutError: It is not there in so many seconds; it may be asked for
                again.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._turn:
            while not self._items:
                self._fill(deadline)
            item = self._items.popleft()
        if isinstance(item, Failure):
            raise self._tell(item.error)
        return item

    __next__ = next  # noqa: A003  # the method above

    def _fill(self, deadline: float | None) -> None:
        if self._is_over:
            raise StopIteration
        if not self._has_begun:
            self._has_begun = True
            self._calls.begin_to_take()
        try:
            block = self._calls.take(deadline)
        except TimeoutError:
            raise multiprocessing.TimeoutError from None
        if block is None:
            self._is_over = True
            self._calls.settle()
            raise_final(self._calls)
            return
        note_failures(block, self._calls)
        self._items.extend(block.results.values)
        self._calls.taken(block.results.count)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was never made whole
            if not self._has_begun:
                self._calls.detach()
            elif not self._is_over:
                self._calls.drop()


def _as_raised(error: BaseException) -> BaseException:
    """Return what pickling an argument raised, or the standard error of a result's pickling."""
    for note in getattr(error, "__notes__", ()):
        if note.startswith(UNSENDABLE_RESULT):
            return _unsent(error, note.removeprefix(UNSENDABLE_RESULT))
    cause = error.__cause__
    if isinstance(error, UnsendableError) and isinstance(cause, Exception):
        if isinstance(error, type(cause)):
            return error
        cause.add_note(str(error))
        return cause
    return error


def _unsent(error: BaseException, kind: str) -> BaseException:
    told: BaseException = standard_pools.MaybeEncodingError(error, kind)  # type: ignore[attr-defined]  # the stubs lack it
    told.__cause__ = error
    return told


def _check(processes: int | None, maxtasksperchild: object) -> None:
    if processes is not None and processes < 1:
        message = "Number of processes must be at least 1"
        raise ValueError(message)
    if maxtasksperchild is None:
        return
    if not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0:
        message = "maxtasksperchild must be a positive int or None"
        raise ValueError(message)
