"""joblib's backend "adaptive": what is written with `n_jobs` runs on our executor.

Importing this registers it. Then `with joblib.parallel_config("adaptive"):` or
`Parallel(backend="adaptive")`, with settings of the executor beside the name. Written against what
joblib shows to those who write backends; a word of joblib's is the reverse of ours: its *batch* is
our *task*.

An executor serves one call of `Parallel` at a time and is kept warm for the next with the same
settings. What joblib waits for, its callbacks, run in a thread of their own, which nothing else
needs.
"""

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

import joblib
from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    ThreadingBackend,
)

from adaptive_exec.config import make_config
from adaptive_exec.executor import AdaptiveExecutor, adaptive_executor
from adaptive_exec.host.survey import take_snapshot
from adaptive_exec.journal.keys import digest_of
from adaptive_exec.levels.current import is_in_task
from adaptive_exec.levels.inner import INNER_THREADS, insist_on_threads
from adaptive_exec.log import LOGGER
from adaptive_exec.program.shares import Shared

NAME: Final = "adaptive"
THREADS: Final = ("thread", "sequential")
IDLE_SECONDS: Final = 300.0
"""Seconds that an executor is kept for a next call. Source: joblib keeps its workers as long."""
CALLBACK_SECONDS: Final = 5.0
"""Seconds that the end of a call waits at most for a callback of it that still runs. Source: one
takes microseconds, but asks the caller's iterator for more, which may take its time."""
IDLE_EXECUTORS_MAX: Final = 2
"""Executors that are kept at most: a program that goes to and fro has one of processes and one of
threads."""
MAX_NBYTES: Final = 1 << 20
"""Bytes from which on an array travels once per call. Source: joblib's default."""
READABLE: Final = frozenset({"r"})
"""Modes in which a task cannot write into an array that others read."""
JOBLIBS_OWN: Final = frozenset({
    "context", "context_id", "idle_worker_timeout", "max_nbytes", "mmap_mode", "temp_folder",
    "verbose",
})  # fmt: skip
"""What joblib tells every backend and is of no use here."""

Call = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]


class AdaptiveBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # it has no types
    """Runs the calls of `joblib.Parallel` on an adaptive executor.

    Args:
        nesting_level: How many calls of `Parallel` this one is within.
        inner_max_num_threads: Threads that BLAS and OpenMP may use in a worker.
        **settings: Of the executor, by the names of `Config`.

    Raises:
        TypeError: A setting is unknown.
        ValueError: A setting is out of range.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    supports_sharedmem = True
    uses_threads = False

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **settings: Any,
    ) -> None:
        make_config(settings)  # what is wrong with them is said here
        super().__init__(
            nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **settings
        )
        self.parallel: Any = None
        self._lease: _Lease | None = None
        self._jobs = self._share = 1
        self._mapping: Mapping[str, Any] = {}

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Say how many calls run at a time: 1 for None and in a worker, from the end if negative.

        Raises:
            ValueError: `n_jobs` is 0.
        """
        if n_jobs == 0:
            message = "n_jobs == 0 in Parallel has no meaning"  # as joblib says it
            raise ValueError(message)
        if n_jobs is None or is_in_task():
            return 1
        return max(_usable_cores() + 1 + n_jobs, 1) if n_jobs < 0 else int(n_jobs)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        **options: Any,
    ) -> int:
        """Take an executor for a call of `Parallel`.

        Returns:
            How many calls run at a time.

        Raises:
            FallbackToBackend: It is one: joblib's own loop is as good.
            TypeError: A setting is unknown.
            ValueError: A setting is out of range, or `n_jobs` is 0.
        """
        self.parallel = parallel
        self._jobs = self.effective_n_jobs(n_jobs)
        if self._jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        settings = {
            "max_workers": self._jobs,
            **{name: value for name, value in options.items() if name not in JOBLIBS_OWN},
            **self.backend_kwargs,
        }
        self._share = max(_usable_cores() // self._jobs, 1)
        settings.setdefault("inner_threads", self.inner_max_num_threads or self._share)
        if require == "sharedmem" or (prefer == "threads" and not settings.get("isolate")):
            settings["levels"] = THREADS
        self._mapping = options
        self._lease = self._take(settings)
        return self._jobs

    def submit(
        self, func: Any, callback: Callable[["Future[Any]"], object] | None = None
    ) -> "Future[Any]":
        """Send one batch of joblib's; its callback is called whatever becomes of it, later."""
        lease = self._lease
        future: Future[Any]
        try:
            future = _live(lease).submit(func.items, self.get_nested_backend())
        except Exception as error:  # noqa: BLE001  # joblib learns of it as of any other ending
            future = Future()
            future.set_exception(error)
        if callback is not None:
            if lease is None:
                threading.Thread(target=callback, args=(future,), daemon=True).start()
            else:
                lease.call_back(future, callback)
        return future

    def retrieve_result_callback(self, out: "Future[Any]") -> Any:
        """Return what a batch gave, or raise what ended it."""
        return out.result()

    def stop_call(self) -> None:
        """Let callbacks of the call come to their end: what they do later, the next one gets."""
        if self._lease is not None:
            self._lease.wait_for_callbacks()

    def terminate(self) -> None:
        """Keep the executor for the next call."""
        lease, self._lease = self._lease, None
        if lease is not None:
            _give_back(lease)
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002  # as in the base class
        """End what runs, with its workers; take another executor where more will come."""
        lease = self._lease
        if lease is not None:
            lease.abort()
            _drop_prepared(self.parallel)
            self._lease = self._take(lease.settings) if ensure_ready else None

    def compute_batch_size(self) -> int:
        """Say how many calls travel as one: one for a journal, which keeps each; else by time."""
        if self.backend_kwargs.get("journal") is not None:
            return 1
        return int(super().compute_batch_size())

    def _take(self, settings: dict[str, Any]) -> "_Lease":
        lease = _take(settings, self.inner_max_num_threads)
        lease.map_arrays(
            self._mapping.get("max_nbytes", MAX_NBYTES), self._mapping.get("mmap_mode", "r")
        )
        return lease

    def get_nested_backend(self) -> tuple[ParallelBackendBase, int | None]:
        """Say what a `Parallel` in a task runs on: threads within the cores of the task."""
        level = (self.nesting_level or 0) + 1
        if level > 1 or self._share == 1:
            return SequentialBackend(nesting_level=level), None
        return ThreadingBackend(nesting_level=level), self._share


class _Lease:
    """An executor while one call of `Parallel` has it, and the thread for that call's callbacks."""

    def __init__(self, settings: dict[str, Any], threads: int | None) -> None:
        self.settings = settings
        self._is_here = settings.get("levels") == THREADS
        self.threads = threads
        self.executor: AdaptiveExecutor = adaptive_executor(**self._with_key(settings))
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._aborted = threading.Event()
        self._shares: _Shares | None = None
        self._timer: threading.Timer | None = None

    def _with_key(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Have calls told apart in a journal by what they compute, not by how they travel."""
        if settings.get("journal") is None:
            return settings
        key = settings.get("key")

        def content(items: Sequence[Call], *_how: object) -> list[Any]:
            shares = self._shares
            if key is not None:
                calls = items if shares is None else shares.restore(items)
                return [(function, key(*args, **kwargs)) for function, args, kwargs in calls]
            return [_computed(*call) for call in (items if shares is None else shares.tell(items))]

        return {**settings, "key": content}

    def map_arrays(self, bytes_min: int | None, mode: str | None) -> None:
        """Have arrays from a size on travel once; None for none."""
        if bytes_min is None or mode is None or self._is_here:
            self._shares = None
        else:
            self._shares = _Shares(self.executor, bytes_min, is_writable=mode not in READABLE)

    def submit(self, items: Sequence[Call], nested: tuple[Any, int | None]) -> "Future[Any]":
        if self._shares is not None:
            items = self._shares.replace(items)
        threads = None if self._is_here else self.threads  # the caller's libraries are its own
        return self.executor.submit(_run_calls, items, *nested, threads)

    def call_back(self, future: "Future[Any]", callback: Callable[[Any], object]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=_serve,
                args=(self._calls, self._aborted),
                name="adaptive-joblib",
                daemon=True,
            )
            self._thread.start()
        calls = self._calls
        future.add_done_callback(lambda ended: calls.put((callback, ended)))

    def wait_for_callbacks(self) -> None:
        """Wait until those that were to be called by now have been."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        over = threading.Event()
        self._calls.put(over)
        over.wait(CALLBACK_SECONDS)

    def rest(self) -> None:
        """Keep nothing of the call that is over."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread = None
        if self._shares is not None:
            self._shares.clear()

    def begin_rest(self) -> None:
        self._timer = threading.Timer(IDLE_SECONDS, _drop, (self,))
        self._timer.daemon = True
        self._timer.start()

    def end_rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def abort(self) -> None:
        self._aborted.set()  # what ends from now on would be taken for the next call's
        self.executor.kill_workers()
        self.wait_for_callbacks()
        self.rest()

    def close(self) -> None:
        self.end_rest()
        self.executor.shutdown(wait=False)


class _Shares:
    """The large arrays of one call, each of which goes to workers once.

    Source: joblib's own backends map an array by identity, too; what is written into it while the
    call goes on does not reach workers.
    """

    def __init__(self, executor: AdaptiveExecutor, bytes_min: int, *, is_writable: bool) -> None:
        self._executor = executor
        self._bytes_min = bytes_min
        self._is_writable = is_writable
        self._handles: dict[int, tuple[Any, Any]] = {}
        self._origins: dict[int, Any] = {}
        self._digests: dict[int, bytes] = {}

    def replace(self, items: Sequence[Call]) -> list[Call]:
        """Put handles in the place of large arrays among the arguments themselves."""
        return _swap_all(items, self._swap)

    def tell(self, items: Sequence[Call]) -> list[Call]:
        """Put digests in the place of handles; each array is read once."""
        return _swap_all(items, self._tell)

    def restore(self, items: Sequence[Call]) -> list[Call]:
        """Put the arrays themselves back in the place of handles."""
        return _swap_all(items, lambda value: self._origins.get(id(value), value))

    def clear(self) -> None:
        self._digests.clear()
        self._origins.clear()
        for _, handle in self._handles.values():
            handle.release()
        self._handles.clear()

    def _swap(self, value: Any) -> Any:
        if _count_bytes(value) < self._bytes_min:
            return value
        known = self._handles.get(id(value))
        if known is None:
            handle = self._executor.share(self._seal(value))
            self._origins[id(handle)] = value
            known = self._handles[id(value)] = value, handle
        return known[1]

    def _tell(self, value: Any) -> Any:
        if not isinstance(value, Shared):
            return value
        known = self._digests.get(id(value))
        if known is None:
            known = self._digests[id(value)] = digest_of(self._origins[id(value)])
        return known

    def _seal(self, value: Any) -> Any:
        if self._is_writable or not hasattr(value, "setflags"):
            return value
        sealed = value.view()
        sealed.setflags(write=False)
        return sealed


def _swap_all(items: Sequence[Call], swap: Callable[[Any], Any]) -> list[Call]:
    return [
        (
            function,
            tuple(swap(value) for value in args),
            {name: swap(value) for name, value in kwargs.items()},
        )
        for function, args, kwargs in items
    ]


def _computed(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    """Leave out who watches a call: other in each run, and without a say in what comes of it.

    Source: scikit-learn 1.9 hands the fits of a search a context for callbacks, with a number drawn
    at random and the time, and beside it the search that called; `_fit_and_score` gives both to
    callbacks only.
    """
    if not any(map(_is_watching, (*args, *kwargs.values()))):
        return function, args, kwargs
    told = {name: value for name, value in kwargs.items() if not _is_watching(value)}
    told.pop("caller", None)
    return function, [value for value in args if not _is_watching(value)], told


def _is_watching(value: object) -> bool:
    return type(value).__module__.startswith("sklearn.callback.")


def _count_bytes(value: Any) -> int:
    """Say how many bytes an array or a frame has; 0 for all else."""
    package = type(value).__module__.partition(".")[0]
    if package == "numpy":
        count = getattr(value, "nbytes", 0)
    elif package == "scipy":
        count = getattr(getattr(value, "data", None), "nbytes", 0)
    elif package == "pandas" and hasattr(value, "memory_usage"):
        used = value.memory_usage(index=False)
        count = used if isinstance(used, int) else used.sum()
    else:
        count = 0
    return int(count) if hasattr(count, "__index__") else 0


def _run_calls(
    items: Sequence[Call], nested: Any, n_jobs: int | None, threads: int | None
) -> list[Any]:
    """Do the calls of one batch, where `Parallel` within them gets what is meant for them."""
    if threads is not None and {os.environ.get(name) for name in INNER_THREADS} != {str(threads)}:
        insist_on_threads(threads, INNER_THREADS)  # whatever the environment says
    with joblib.parallel_config(backend=nested, n_jobs=n_jobs):
        return [function(*args, **kwargs) for function, args, kwargs in items]


def _serve(calls: "queue.SimpleQueue[Any]", aborted: threading.Event) -> None:
    while (call := calls.get()) is not None:
        if isinstance(call, threading.Event):  # somebody waits until we are here
            call.set()
            continue
        callback, future = call
        try:
            if not aborted.is_set():
                callback(future)
        except Exception:  # noqa: BLE001  # as pools of futures do; the others are still to be called
            LOGGER.exception("a callback of joblib failed")
        del call, callback, future  # a result may be large


def _drop_prepared(parallel: Any) -> None:
    """Let go of batches that were cut and not dispatched; the next call would begin with them.

    Source: joblib 1.5 keeps them when a call is aborted, with each of its own backends, too: what
    an instance of `Parallel` is called with next has results of the call before among its own. No
    public name leads to them.
    """
    prepared = getattr(parallel, "_ready_batches", None)
    if isinstance(prepared, queue.Queue):
        with contextlib.suppress(queue.Empty):
            while True:
                prepared.get_nowait()


def _usable_cores() -> int:
    return take_snapshot().usable_cores


_idle: list[_Lease] = []
_lock = threading.Lock()


def _take(settings: dict[str, Any], threads: int | None) -> _Lease:
    with _lock:
        for lease in reversed(_idle):
            if (lease.settings, lease.threads) == (settings, threads):
                _idle.remove(lease)
                lease.end_rest()
                return lease
    return _Lease(settings, threads)


def _give_back(lease: _Lease) -> None:
    lease.rest()
    if lease.settings.get("journal") is not None:  # it is whole, and another program may take it
        lease.executor.shutdown()
        return
    with _lock:
        _idle.append(lease)
        lease.begin_rest()
        over = _idle[:-IDLE_EXECUTORS_MAX]
        del _idle[:-IDLE_EXECUTORS_MAX]
    for one in over:
        one.close()


def close_idle() -> None:
    """End the executors that are kept for a next call."""
    with _lock:
        over = _idle[:]
        _idle.clear()
    for one in over:
        one.close()


def _live(lease: _Lease | None) -> _Lease:
    if lease is None:
        message = "this call of Parallel has ended; nothing more can be dispatched by it"
        raise RuntimeError(message)
    return lease


def _drop(lease: _Lease) -> None:
    with _lock:
        if lease not in _idle:
            return
        _idle.remove(lease)
    lease.close()


def _forget() -> None:
    """Leave the executors to the process that this one was forked from."""
    global _lock  # noqa: PLW0603  # it may be held by a thread that is not here
    _lock = threading.Lock()
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
joblib.register_parallel_backend(NAME, AdaptiveBackend)
