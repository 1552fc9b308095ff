"""The front door: `adaptive_executor` and the `concurrent.futures.Executor` behind it.

Builds the parts, checks what the caller gives, and owns no policy.
"""

import contextlib
import itertools
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sized
from concurrent.futures import Executor, Future
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, ParamSpec, Self, TypeVar, Unpack

from adaptive_exec.calls import MapCalls, number_function
from adaptive_exec.config import MIB, Config, Size, make_config, settings_text
from adaptive_exec.core.events import BatchDropped, BatchOpened, JournalOpened
from adaptive_exec.core.plan import SMALL_BATCH_TASKS, BatchShape, make_plan
from adaptive_exec.display import Display
from adaptive_exec.engine.loop import Driver
from adaptive_exec.engine.ports import LedgerBook
from adaptive_exec.errors import UnsendableError
from adaptive_exec.host.delegated import NO_PLACE, find_place
from adaptive_exec.host.survey import believe_limit, take_snapshot
from adaptive_exec.levels.base import FULL, ONE, STAR, Carried, Work
from adaptive_exec.levels.functions import (
    PROGRAM,
    PackedFunction,
    are_large,
    pack_function,
    pack_or_raise,
    parts_of,
)
from adaptive_exec.levels.interrupts import hold_interrupts
from adaptive_exec.levels.sequential import SequentialRunner
from adaptive_exec.levels.thread import ThreadRunner
from adaptive_exec.levels.unsendable import explain_function, explain_item
from adaptive_exec.measures import Sizer
from adaptive_exec.program.captured import Captured
from adaptive_exec.program.contexts import caller_context
from adaptive_exec.program.inherited import NOTHING, Inherited
from adaptive_exec.program.seeds import Stream
from adaptive_exec.program.settings import Surroundings, read_settings
from adaptive_exec.program.shares import Shared, hold
from adaptive_exec.results import ResultIterator, make_outcomes
from adaptive_exec.sources import Pulled, Slices
from adaptive_exec.specs import ISOLATED
from adaptive_exec.submits import SubmitCalls
from adaptive_exec.system.stdio import fill_standard

CAPTURED_CHARACTERS_MAX: Final = 1 * MIB
"""Characters kept of each of a task's streams, and log records' messages, with `capture`; of more
the beginning is kept."""

TYPE_CHECKING = False
if TYPE_CHECKING:  # these bring SQLite, or JSON, which are loaded where they are asked for
    from adaptive_exec.drawing.shown import ShownReport
    from adaptive_exec.journal.book import Book as JournalBook
    from adaptive_exec.records import Records
    from adaptive_exec.typed import Map, MapOutcomes, Options

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T")
_SUBMITS = 0
"""Id of the batch of all submitted calls."""
_UNPORTABLE = -1
"""Id of the batch of submitted calls whose function cannot be sent to a process."""
PRELOAD_BYTES = 65_536
"""Bytes of a submitted function, packed, that is loaded before workers are forked: it is code."""
PROGRAM_LETTERS = 120
"""Letters of the command line that others are shown of an instance."""
ASYNC_TASKS_PER_WORKER: Final = 4
"""Items that `amap` has on their way for each worker. Source: own choice; the next ones are there
when a task ends, and an input is not run away with."""
_COPIED = (list, tuple, dict, set, frozenset)


class Progress(NamedTuple):
    """How far an executor has come.

    Attributes:
        done: Tasks with an outcome.
        failed: Those of them whose outcome is an error, of their own or of this package's.
        level: Where tasks ran last, `""` before the first.
        workers: Workers there are now.
        in_flight: Chunks that are with workers now.
        memory_used_bytes: Memory in use under the limit at the last look.
        memory_limit_bytes: The memory limit in force.
    """

    done: int
    failed: int
    level: str
    workers: int
    in_flight: int
    memory_used_bytes: int
    memory_limit_bytes: int


def adaptive_executor(  # pyright: ignore[reportGeneralTypeIssues]  # `tasks` by name is another
    tasks: object = None, /, **settings: "Unpack[Options]"
) -> "AdaptiveExecutor":
    """Make an executor that runs on the best level that the host affords right now.

    Args:
        tasks: How much work will come, a hint: a sized collection (its length is read), a number,
            an iterable without length or None. It is never consumed. A number is given by name,
            `tasks=3`: elsewhere a bare one means workers.
        **settings: By the names of `Config`: levels, max_workers, task_timeout, ...

    Returns:
        The executor; use it in a `with` statement.

    Raises:
        TypeError: `tasks` has the wrong type or is a bare number, or a setting is unknown.
        ValueError: A setting is out of range.

    >>> with adaptive_executor(tasks=3) as ex:
    ...     list(ex.map(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    return AdaptiveExecutor(tasks, **settings)


adaptive_executor.__doc__ = (adaptive_executor.__doc__ or "").replace(
    "By the names of `Config`: levels, max_workers, task_timeout, ...\n",
    "Any of these, by name, with their defaults:\n\n" + settings_text(indent=12) + "\n",
)


class AdaptiveExecutor(Executor):
    """A `concurrent.futures.Executor` whose batches always finish; see `adaptive_executor`."""

    _make_future: "Callable[[], Future[Any]]" = Future
    _expects_fork = False

    def __init__(  # pyright: ignore[reportGeneralTypeIssues]  # as above
        self, tasks: object = None, /, **settings: "Unpack[Options]"
    ) -> None:
        _check_not_bare(tasks)
        self._hint = count_tasks(settings.pop("tasks", tasks))
        self._has_begun = False
        self._config = make_config(settings)
        self._preload: dict[int, PackedFunction] = {}
        with contextlib.suppress(OSError):  # no descriptor is left, and what needs one will say so
            fill_standard()
        self._journal = _open_journal(self._config)
        self._inherited = Inherited()
        runners = _runners(self._config, self._preload, self._inherited)
        self._told = self._config.task_memory
        self._says_sizes = callable(self._told) or self._config.size is not None
        if callable(self._told):  # who decides is told of each task
            self._config = self._config._replace(task_memory=None)
        self._driver = Driver(
            self._config,
            take_snapshot,
            runners,
            _open_book,
            self._journal,
            believe_limit=believe_limit,
        )
        if self._journal is not None:
            self._driver.post(_describe(self._journal))
            self._journal.make_trace = partial(_pack_report, self._driver, self._config)
        self._display: Display | None = None
        self._submits: SubmitCalls | None = None
        self._opened: dict[int, SubmitCalls] = {}
        self._streams = itertools.count()
        self._batches = itertools.count(_SUBMITS + 1)
        self._newest_batch = _SUBMITS
        self._shares: weakref.WeakSet[Shared[Any]] = weakref.WeakSet()
        self._opening = threading.RLock()  # a finalizer that runs within may submit something
        self._finalizer = weakref.finalize(self, _let_finish, self._driver)
        self._finalizer.atexit = False

    # concurrent.futures.Executor

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Schedule `fn(*args, **kwargs)`; never waits while a thread can be started.

        Args:
            fn: What to call.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Returns:
            A Future of its result.

        Raises:
            TypeError: `fn` is not callable.
            RuntimeError: The executor is shut down, or belongs to the process this one was forked
            from.
        """
        _check_function(fn)
        self._driver.gate.check()
        return self._submit_calls(fn).submit(fn, args, kwargs)

    def with_options(self, *, task_memory: Size | Callable[..., Size]) -> "WithOptions":
        """Return a door to the same executor for calls that take so much memory each.

        Args:
            task_memory: Size that a call takes, or a function of its arguments that returns it.

        Returns:
            Something with a `submit`.

        Raises:
            TypeError: It is neither a size nor a function.
            ValueError: The size is out of range.
        """
        checked = Config(task_memory=task_memory).task_memory
        return WithOptions(self, self._sizer(0, checked))

    def _submit_told(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], sizer: Sizer
    ) -> "Future[Any]":
        _check_function(fn)
        self._driver.gate.check()
        return self._submit_calls(fn).submit(fn, args, kwargs, sizer)

    def _sizer(
        self, kind: int, told: Size | Callable[..., Size] | None, *, for_order: bool = False
    ) -> Sizer:
        """Return what measures each task as the user says."""
        limit = self._driver.snapshot_host().limit_bytes
        size = self._config.size
        return Sizer(kind, size=size, task_memory=told, limit_bytes=limit, for_order=for_order)

    def _number(
        self, fn: Callable[..., Any], packed: PackedFunction | None, length: int | None
    ) -> tuple[int, Sizer | None]:
        """Return a function's number, and what measures all tasks of an input of it."""
        kind = number_function(fn, packed)
        sizer = self._sizer_of_all(kind) if self._says_sizes else None
        if sizer is None and self._goes_by_size(length):
            told = self._told if callable(self._told) else None
            sizer = self._sizer(kind, told, for_order=True)
        return kind, sizer

    def _goes_by_size(self, length: int | None) -> bool:
        return self._config.order is not None and length is not None

    def _sizer_of_all(self, kind: int) -> Sizer | None:
        """Return what measures every task, None where the user says nothing of each."""
        if not (kind and self._says_sizes):
            return None
        return self._sizer(kind, self._told if callable(self._told) else None)

    if TYPE_CHECKING:  # as type checkers read them, which do not look at what follows
        map: Map  # type: ignore[assignment]  # its results are the function's, not anything
        map_unordered: Map
        outcomes: MapOutcomes
    else:

        def map(
            self,
            fn: Callable[..., Any],
            *iterables: Iterable[Any],
            timeout: float | None = None,
            chunksize: int | None = None,
            buffersize: int | None = None,
        ) -> ResultIterator[Any]:
            """Call `fn` with an item of each iterable, in parallel; results keep the input's order.

            Args:
                fn: What to call.
                *iterables: Inputs, pulled lazily, cut at the shortest.
                timeout: Seconds from now in which every result must be there, None for no limit.
                chunksize: Tasks per message; None to have it measured.
                buffersize: Most tasks pulled whose result was not taken; None for a bound by count
                    and bytes.

            Returns:
                An iterator of results. It raises a failed task's exception at its place and can be
                advanced past it.

            Raises:
                TypeError: `fn` is not callable, or an input is not iterable.
                ValueError: `chunksize` or `buffersize` is below 1.
                RuntimeError: The executor is shut down.
            """
            calls = self._open_map(fn, iterables, chunksize, buffersize, in_order=True)
            return ResultIterator(calls, timeout)

        def map_unordered(
            self,
            fn: Callable[..., Any],
            *iterables: Iterable[Any],
            timeout: float | None = None,
            chunksize: int | None = None,
            buffersize: int | None = None,
        ) -> ResultIterator[Any]:
            """Like `map`, but results come as they are finished."""
            calls = self._open_map(fn, iterables, chunksize, buffersize, in_order=False)
            return ResultIterator(calls, timeout)

        def outcomes(
            self,
            fn: Callable[..., Any],
            *iterables: Iterable[Any],
            timeout: float | None = None,
            chunksize: int | None = None,
            buffersize: int | None = None,
        ) -> ResultIterator[Any]:
            """Like `map_unordered`, but yields an `Outcome` per task and never raises for one."""
            calls = self._open_map(
                fn, iterables, chunksize, buffersize, in_order=False, detailed=True
            )
            return ResultIterator(calls, timeout, partial(make_outcomes, captured=calls.captured))

    def amap(
        self,
        fn: Callable[[A], T],
        source: Iterable[A] | AsyncIterable[A],
        /,
        *,
        buffersize: int | None = None,
    ) -> AsyncIterator[T]:
        """Call `fn` with each item, in parallel; for `async for`, in the order of the input.

        Args:
            fn: What to call.
            source: Input, iterable or asynchronously so; taken as results are.
            buffersize: Most items taken whose result was not yielded; None for 4 per worker.

        Returns:
            An asynchronous iterator. It ends at the first exception; who closes or cancels it
            cancels what has not begun, and ends what runs in processes.

        Raises:
            TypeError: `fn` is not callable.
            ValueError: `buffersize` is below 1.
        """
        from adaptive_exec.asynchronous import hand_out  # brings asyncio

        _check_function(fn)
        _check_sizes(None, buffersize)
        width = buffersize or ASYNC_TASKS_PER_WORKER * self._max_workers
        return hand_out(partial(self._submit_beside, fn), source, width, self._let_go)

    async def _submit_beside(self, fn: Callable[..., Any], item: Any) -> "Future[Any]":
        """Submit a call; the first one, which may start processes, beside the loop."""
        if self._submits is not None:
            return self.submit(fn, item)
        import asyncio

        step = partial(self.submit, fn, item)
        return await asyncio.get_running_loop().run_in_executor(None, step)

    def _let_go(self, futures: "list[Future[Any]]") -> None:
        """End calls that nobody waits for."""
        if self._submits is not None:
            self._submits.let_go(futures)

    def _make_captured(self, *, is_taken: bool) -> Captured | None:
        """Return where what tasks say is kept, None where nobody asks for it."""
        has_place = is_taken or self._journal is not None
        if not (self._config.capture and has_place):
            return None
        return Captured(CAPTURED_CHARACTERS_MAX, is_taken=is_taken)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # as in the base class
        """Take no more work; finish what was taken on and free every resource.

        Args:
            wait: Return only when all is done; else at once, and the work goes on.
            cancel_futures: Cancel what has not begun.
        """
        if self._driver.is_foreign:
            return
        self._driver.stop(cancel=cancel_futures)
        if wait:
            self._driver.wait_finished()
            self._hide_progress()
            self._end_shares()

    def _cancel_all_but(self, keep: int) -> None:
        """Let nothing in any more; cancel what has not begun, but for so many submitted calls."""
        self._driver.gate.see("shut down")
        for batch, calls in list(self._driver.batches.items()):
            if calls is self._submits:
                self._submits.cancel(keep)
            else:
                calls.cancel()
                self._driver.post(BatchDropped(time.monotonic(), batch))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        """Shut down; after an error pull no more of generators, after a Ctrl-C end at once."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.kill_workers()
        else:
            self._cut_inputs(kind)
            self.shutdown(wait=True)
        return False

    def _cut_inputs(self, kind: type[BaseException] | None) -> None:
        """Where the block has failed, end inputs that may be endless: nobody waits for more."""
        if kind is not None and not self._driver.is_foreign:
            for calls in list(self._driver.batches.values()):
                calls.cut_input()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        """Shut down beside the loop; after a cancellation or a Ctrl-C end at once."""
        import asyncio  # 60 ms, which only a program that has it already asks for

        self._cut_inputs(kind)
        is_cut = kind is not None and not issubclass(kind, Exception)
        end = self.kill_workers if is_cut else self.shutdown
        await asyncio.get_running_loop().run_in_executor(None, end)
        return False

    def kill_workers(self) -> None:
        """End at once: cancel what has not begun, kill what runs, as in Python 3.14.

        Tasks that run in threads of this process cannot be killed; they go on, and nobody waits for
        them.
        """
        with hold_interrupts():  # a second Ctrl-C waits, else workers would be left behind
            if not self._driver.is_foreign:
                self._driver.terminate()
                self._hide_progress()
                self._end_shares()

    terminate_workers = kill_workers

    # more than the base class

    def share(self, value: T) -> Shared[T]:
        """Have an object that many tasks need travel once.

        It is copied here and now, large buffers into memory that all workers map. Its handle goes
        as an argument, also in lists, tuples, sets and dictionaries, and the function gets the
        object; in this process the object itself. It lives as long as the handle, or the executor.

        Args:
            value: What to share; what becomes of it later does not show in workers.

        Returns:
            The handle.

        Raises:
            UnsendableError: It cannot be sent to workers.
        """
        if ISOLATED not in self._config.ladder:
            return hold(value)
        try:
            handle = PROGRAM.share(value)
        except Exception as error:
            raise explain_item(ONE, value, error, arguments="value") from error
        self._shares.add(handle)
        return handle

    def _end_shares(self) -> None:
        for handle in list(self._shares):
            handle.release()

    @property
    def _max_workers(self) -> int:
        """As in the pools of `concurrent.futures`; dask and others read it."""
        return self._config.max_workers or self._driver.snapshot_host().usable_cores

    def __repr__(self) -> str:
        """Say where tasks run, how many have ended, and whether more may come."""
        now, state = self.progress_now(), self._driver.gate.state
        where = f"{now.level}, {now.workers} workers" if now.level else "no tasks yet"
        done = f"{now.done} tasks done, {now.failed} of them failed"
        return f"<AdaptiveExecutor: {state}, {where}, {done}>"

    @property
    def report(self) -> "ShownReport":
        """What was done so far and why; print it, or have it drawn: `to_html(path)` and others."""
        return _make_report(self._driver, self._config)

    def why(self, what: "int | str | Future[Any]" = "", /) -> str:
        """Say in words, with numbers, why something is as it is; print it.

        Args:
            what: The number of a task in the newest `map`, a Future of `submit`, `"level"`,
                `"worker 3"`, `"now"`; `""` for all that was decided.

        Returns:
            Lines.

        Raises:
            TypeError: It is something else.
            ValueError: The text names none of these.

        >>> with adaptive_executor(tasks=2) as ex:
        ...     list(ex.map(abs, [-1, -2]))
        ...     print(ex.why("level").splitlines()[0])
        [1, 2]
        levels: thread; 0 degrades, 0 restores
        """
        from adaptive_exec.asking import look_at_running, tell

        report, driver = self.report, self._driver
        if isinstance(what, str) and not what.strip().isdecimal():
            return "\n".join(tell(report, what))
        batch, index = self._find_task(what)
        if index is None:
            return "this call is over, or it is none of this executor's"
        answer = look_at_running(lambda: driver.ask_task(report, batch, index))
        return "\n".join(answer)

    def _find_task(self, what: "int | str | Future[Any]") -> tuple[int, int | None]:
        """Return batch and number of a task; None for one that is not to be found."""
        if isinstance(what, Future):
            return _SUBMITS, None if self._submits is None else self._submits.find(what)
        if not isinstance(what, bool) and isinstance(what, (int, str)):
            return self._newest_batch, int(what)
        message = f"what must be a task's number, a Future or a text, got {what!r}; name a task"
        raise TypeError(message)

    def progress_now(self) -> Progress:
        """Say how far the executor has come."""
        return _read_progress(self._driver)

    def _show_progress(self, total: int | None) -> None:
        """Begin to show progress, with the first work that comes, where the caller asked for it."""
        if not self._config.progress or self._display is not None:
            return
        driver = self._driver
        self._display = Display(
            "adaptive_exec", total, lambda: _read_progress(driver), driver.finished.is_set
        )
        self._display.__enter__()

    def _hide_progress(self) -> None:
        display, self._display = self._display, None
        if display is not None:
            display.__exit__(None, None, None)

    def _is_told_of_few(self) -> bool:
        return self._hint is not None and self._hint < SMALL_BATCH_TASKS

    def _submit_calls(self, first: Callable[..., Any]) -> SubmitCalls:
        if self._submits is not None:
            return self._submits
        with self._opening:  # one thread opens it, the others wait for that
            if self._submits is None:
                self._driver.gate.check()
                self._show_progress(self._hint)
                self._preload_for_submits(first)
                self._take_snapshot(BatchShape(self._hint), _SUBMITS)
                made = _make_submits(
                    self._driver,
                    self._config,
                    self._open_records(_SUBMITS, FULL),
                    self._next_stream(),
                    make_future=self._make_future,
                )
                made.sizer = self._sizer_of_all(1)
                # A finalizer or a signal's handler that submits may come at any line: it opens
                # the same one, whole, and to open it once more changes nothing.
                calls = self._opened.setdefault(_SUBMITS, made)
                _admit_submits(self._driver, calls, self._hint)
                self._submits = calls
        return self._submits

    def _begin(
        self,
        shape: BatchShape,
        batch: int,
        function: Callable[..., Any],
        packed: PackedFunction | None,
        refusal: UnsendableError | None,
    ) -> tuple[PackedFunction | None, UnsendableError | None]:
        """Fork this process for workers, if it is to have some, also for what only a fork brings.

        Args:
            shape: What is known of the first batch but whether it can travel.
            batch: Its id.
            function: What it calls.
            packed: The same as it travels.
            refusal: Why it does not.

        Returns:
            How it travels now, or why it does not.
        """
        wanted = Inherited(takes_all=True)
        hoped = packed if refusal is None else pack_function(function, wanted)
        shape = shape._replace(portable=hoped is not None)
        self._take_snapshot(shape, batch, function, hoped, wanted)
        is_there = wanted.objects.keys() <= self._inherited.objects.keys()
        return (hoped, None) if hoped is not None and is_there else (packed, refusal)

    def _take_snapshot(
        self,
        shape: BatchShape,
        batch: int,
        function: Callable[..., Any] | None = None,
        packed: PackedFunction | None = None,
        wanted: Inherited = NOTHING,
    ) -> None:
        """Fork this process for workers, before the first batch begins, if it is to have some.

        Args:
            shape: What is known of the batch.
            batch: Its id.
            function: What it calls; None where that differs from task to task.
            packed: The same as it travels.
            wanted: What it needs that only a fork brings.
        """
        with self._opening:
            if self._has_begun:
                return
            self._has_begun = True
        if self._config.start not in (None, "snapshot") or ISOLATED not in self._config.ladder:
            return
        host = self._driver.snapshot_host()
        plan = make_plan(shape, host, self._config)
        if plan.level == ISOLATED:
            calls = {} if packed is None else {batch: (function, packed)}
            room_bytes = host.available_bytes
            self._driver.prepare(
                ISOLATED,
                lambda runner: runner.take_snapshot(
                    plan.workers, room_bytes, calls, wanted, is_expected=self._expects_fork
                ),
            )

    def _next_stream(self) -> Stream | None:
        """Return what random streams of the next batch's tasks are told by."""
        seed = self._config.seed
        return None if seed is None else (seed, next(self._streams))

    def _preload_for_submits(self, first: Callable[..., Any]) -> None:
        """Have a zygote load the first call's function, so that what it imports is there once."""
        if ISOLATED not in self._config.ladder:
            return
        if getattr(first, "__closure__", None) and not _is_importable(first):
            return  # a closure may hold gigabytes, and travels with each call
        if are_large(parts_of(first)):
            return
        packed = pack_function(first)
        if packed is not None and not packed.is_large and packed.size <= PRELOAD_BYTES:
            self._preload[_SUBMITS] = packed

    def _open_records(
        self,
        batch: int,
        style: int,
        function: Callable[..., Any] | None = None,
        captured: Captured | None = None,
    ) -> "Records | None":
        """Open the journal's side of a batch."""
        if self._journal is None or self._journal.trouble:
            return None
        from adaptive_exec.journal.section import Section  # brings SQLite
        from adaptive_exec.records import Records

        section = Section(self._journal)
        key, post = self._config.key, self._driver.post
        records = Records(section, batch, style, key, post, captured=captured)
        if function is not None:
            records.know(function)
        return records

    def _open_books(
        self, batch: int, style: int, function: Callable[..., Any], *, is_taken: bool
    ) -> "tuple[Records | None, Captured | None]":
        """Open a map's side of the journal, and what keeps what its tasks say."""
        captured = self._make_captured(is_taken=is_taken)
        return self._open_records(batch, style, function, captured), captured

    def _open_map(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        chunksize: int | None,
        buffersize: int | None,
        *,
        in_order: bool,
        detailed: bool = False,
    ) -> MapCalls:
        _check_function(fn)
        _check_sizes(chunksize, buffersize)
        source, is_easy = _make_source(iterables)
        style = ONE if len(iterables) == 1 else STAR
        packed, refusal = _pack(fn, self._config, self._inherited)
        length = _count_input(iterables)
        self._driver.gate.check()
        total = self._hint if length is None else length
        settings = None if packed is None and refusal is None else read_settings()
        with self._opening:
            self._show_progress(total)
        batch = self._newest_batch = next(self._batches)
        records, captured = self._open_books(batch, style, fn, is_taken=detailed)
        is_detailed = detailed or records is not None
        is_announced = length is not None and self._is_told_of_few()
        if not self._has_begun:
            shape = BatchShape(total, announced=is_announced)
            packed, refusal = self._begin(shape, batch, fn, packed, refusal)
        caller = Surroundings(settings if packed is not None else None, caller_context())
        work = Work(
            batch,
            style,
            fn,
            packed,
            is_detailed,
            self._config.task_timeout,
            self._driver.folders.base,
            refusal=refusal,
            caller=caller,
            stream=self._next_stream(),
            may_be_cut=chunksize is None,
            carried=None if self._config.cluster is None else _carry(fn),
        )
        kind, sizer = self._number(fn, packed, length)
        calls = MapCalls(
            self._driver,
            work,
            source,
            is_easy=is_easy,
            in_order=in_order,
            records=records,
            captured=captured,
            kind=kind,
            sizer=sizer,
        )
        opened = BatchOpened(
            time.monotonic(),
            batch,
            total,
            chunk_tasks=chunksize,
            buffer_tasks=buffersize,
            portable=packed is not None,
            recorded=records is not None,
            kind=kind,
            announced=is_announced,
            sized=sizer is not None,
            refusal="" if refusal is None else str(refusal),
            largest_first=self._goes_by_size(length),
            at_hand=is_easy,
        )
        self._driver.admit(opened, calls)
        self._driver.pump_if_alone()
        try:
            calls.serve_pulls()
        except BaseException:  # Ctrl-C: nobody will take the results
            calls.drop()
            raise
        return calls


class WithOptions:
    """A door to an executor for calls of which something is said beforehand."""

    def __init__(self, executor: AdaptiveExecutor, sizer: Sizer) -> None:
        self._executor = executor
        self._sizer = sizer

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Schedule `fn(*args, **kwargs)`; as the executor's own."""
        return self._executor._submit_told(fn, args, kwargs, self._sizer)  # noqa: SLF001  # its own door


def _make_report(driver: Driver, config: Config) -> "ShownReport":
    try:
        from adaptive_exec.drawing.shown import show_report  # few ask for it

        return show_report(driver.trace.report(), config, driver.snapshot_host())
    except MemoryError:  # the sums need no more of it, and can be printed
        sums: Any = driver.trace.report()
        return sums  # type: ignore[no-any-return]  # a report without ways to draw it


def _pack_report(driver: Driver, config: Config) -> bytes:
    from adaptive_exec.drawing.shown import pack_report

    return pack_report(_make_report(driver, config))


def _read_progress(driver: Driver) -> Progress:
    trace, host = driver.trace, driver.snapshot_host()
    return Progress(
        done=trace.tasks + trace.lost_tasks + trace.recalled_tasks,
        failed=trace.failed_tasks + trace.lost_tasks,
        level=trace.levels[-1] if trace.levels else "",
        workers=driver.count_workers(),
        in_flight=driver.count_in_flight(),
        memory_used_bytes=host.used_bytes,
        memory_limit_bytes=host.limit_bytes,
    )


def count_tasks(tasks: object) -> int | None:
    """Read the hint that `adaptive_executor` gets; never consumes it.

    Returns:
        The number of tasks, None when it cannot be known.

    Raises:
        TypeError: It is neither a collection, an iterable, a whole number nor None.
        ValueError: It is a negative number.

    >>> count_tasks([10, 20]), count_tasks(7), count_tasks(iter(()))
    (2, 7, None)
    """
    if tasks is None:
        return None
    if isinstance(tasks, (bool, str, bytes)):
        raise TypeError(_HINT_ERROR.format(tasks))
    if isinstance(tasks, Sized):
        return len(tasks)
    if hasattr(tasks, "__index__"):
        return _check_number(tasks.__index__())
    if isinstance(tasks, Iterable):
        return None
    raise TypeError(_HINT_ERROR.format(tasks))


_HINT_ERROR = (
    "tasks must be a collection, an iterable or a number of tasks, got {!r}; "
    "leave it out when unknown"
)


def _check_not_bare(tasks: object) -> None:
    """Refuse a number without a name: to `ProcessPoolExecutor(2)` it means workers."""
    if hasattr(tasks, "__index__") and not isinstance(tasks, (bool, Sized)):
        message = (
            f"a bare number may mean tasks or workers, got {tasks!r}; "
            f"write tasks={tasks!r} or max_workers={tasks!r}"
        )
        raise TypeError(message)


def _check_number(number: int) -> int:
    if number < 0:
        message = f"tasks must be 0 or more, got {number}; leave it out when unknown"
        raise ValueError(message)
    return number


def _check_function(fn: object) -> None:
    if not callable(fn):
        message = f"fn must be callable, got {fn!r}; pass the function itself, not its result"
        raise TypeError(message)


def _is_importable(fn: Callable[..., Any]) -> bool:
    found: object = sys.modules.get(getattr(fn, "__module__", None) or "")
    for name in getattr(fn, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is fn and getattr(fn, "__module__", None) != "__main__"


def _check_sizes(chunksize: object, buffersize: object) -> None:
    for name, value in (("chunksize", chunksize), ("buffersize", buffersize)):
        if value is None:
            continue
        if not isinstance(value, int):
            message = f"{name} must be an integer or None, got {value!r}; leave it out"
            raise TypeError(message)
        if value < 1:
            message = f"{name} must be >= 1, got {value}; leave it out to have it measured"
            raise ValueError(message)


def _make_submits(
    driver: Driver,
    config: Config,
    records: "Records | None",
    stream: Stream | None,
    *,
    make_future: "Callable[[], Future[Any]]",
) -> SubmitCalls:
    may_run_here = config.fallback is not None and config.ladder != (ISOLATED,)
    may_run_here &= not config.keeps_out
    timeout, base = config.task_timeout, driver.folders.base
    work = Work(_SUBMITS, FULL, None, None, records is not None, timeout, base, stream=stream)
    return SubmitCalls(
        driver,
        work,
        local=_UNPORTABLE if may_run_here else None,
        sends=ISOLATED in config.ladder,
        records=records,
        make_future=make_future,
    )


def _admit_submits(driver: Driver, submits: SubmitCalls, hint: int | None) -> None:
    now, is_recorded = time.monotonic(), submits.work.detailed
    driver.admit(BatchOpened(now, _SUBMITS, hint, single=True, recorded=is_recorded), submits)
    driver.pump_if_alone()


def _open_journal(config: Config) -> "JournalBook | None":
    journal = config.journal
    if journal is None:
        return None
    assert not isinstance(journal, str), "the configuration has made a Journal of it"
    from pathlib import Path  # 5 ms, which only a journal is worth

    from adaptive_exec.journal.book import Book as JournalBook  # brings SQLite
    from adaptive_exec.salvage import clear_up, take_up

    book = JournalBook(
        Path(journal.path),
        retries_failed=journal.retry_failed,
        accepts_change=journal.accept_changed,
    )
    take_up(book)
    book.before_close = clear_up
    return book


def _describe(book: "JournalBook") -> JournalOpened:
    return JournalOpened(time.monotonic(), book.known_tasks, book.file_system, book.has_log)


def _make_source(iterables: tuple[Iterable[Any], ...]) -> tuple[Slices | Pulled, bool]:
    """Return the source of a map's arguments, and whether any thread may pull from it."""
    if len(iterables) == 1:
        (items,) = iterables
        if isinstance(items, range) or type(items) is tuple:
            return Slices(items), True
        if type(items) in _COPIED:
            return Slices(list(items)), True
        return Pulled(iter(items)), False
    copies = [list(items) if type(items) in _COPIED else items for items in iterables]
    is_easy = all(type(items) in (list, range) for items in copies)
    return Pulled(iter(zip(*copies))), is_easy  # noqa: B905  # cut at the shortest, as in map


def _count_input(iterables: tuple[Iterable[Any], ...]) -> int | None:
    lengths = [len(items) for items in iterables if isinstance(items, Sized)]
    return min(lengths, default=None)


def _pack(
    fn: Callable[..., Any], config: Config, born: Inherited
) -> tuple[PackedFunction | None, UnsendableError | None]:
    """Pack a function for processes, or say why it cannot be."""
    if ISOLATED not in config.ladder:
        return None, None
    try:
        return pack_or_raise(fn, born), None
    except Exception as error:  # noqa: BLE001  # a __reduce__ may raise anything
        return None, explain_function(fn, error)


def _runners(
    config: Config, preload: dict[int, PackedFunction], inherited: Inherited
) -> dict[str, Any]:
    first = (config.initializer, config.initargs)
    return {
        "sequential": lambda driver: SequentialRunner(driver, *first),
        "thread": lambda driver: ThreadRunner(
            driver,
            *first,
            inner_threads=config.inner_threads,
            cores=driver.snapshot_host().usable_cores,
        ),
        "process": lambda driver: _process_runner(driver, config, preload, inherited),
        "cluster": lambda driver: _cluster_runner(driver, config),
    }


def _carry(fn: Callable[..., Any]) -> Carried | None:
    """Pack a function for an engine's workers."""
    from adaptive_exec.levels.bundles import carry  # brings cloudpickle

    return carry(fn)


def _cluster_runner(driver: Driver, config: Config) -> Any:
    from adaptive_exec.levels.cluster import ClusterRunner  # brings cloudpickle

    first = (config.initializer, config.initargs)
    may_repeat = config.retries > 0
    return ClusterRunner(driver, config.cluster, config.cluster_wait, *first, may_repeat=may_repeat)


def _process_runner(
    driver: Driver, config: Config, preload: dict[int, PackedFunction], inherited: Inherited
) -> Any:
    from adaptive_exec.levels.process import (
        ProcessRunner,  # hosts without sockets have no such level
    )

    cores = driver.snapshot_host().usable_cores
    return ProcessRunner(
        driver,
        driver.waiter,
        config,
        cores,
        lambda: _find_preloads(driver, preload),
        inherited=inherited,
        groups=_find_groups(config),
    )


def _find_groups(config: Config) -> Any:
    """Return what makes a control group for each worker; None where they are not to have any."""
    if config.wall not in ("auto", "hard") or sys.platform != "linux":
        return None
    is_asked = config.wall == "hard"
    place = find_place(is_asked=is_asked)
    if place is None and not is_asked:
        return None
    from adaptive_exec.levels.own_groups import OwnGroups

    return OwnGroups(**(place or NO_PLACE)._asdict(), may_swap=config.count_swap)


def _find_preloads(driver: Driver, first: dict[int, PackedFunction]) -> dict[int, PackedFunction]:
    """Return the function that a zygote is to load: the newest map's, else the first call's.

    A large one is not among them: each worker takes its own from shared memory and lets go of it,
    while what was there when a worker was forked is never collected.
    """
    newest = driver.newest_function()
    if newest is None:
        return dict(first)
    batch, packed = newest
    return {} if packed.is_large else {batch: packed}


def _open_book() -> LedgerBook:
    from adaptive_exec.ledger.leases import Ledger  # 2 ms that an executor without workers saves

    name = sys.argv[0].rpartition("/")[2]
    return Ledger(" ".join([name, *sys.argv[1:]]).strip()[:PROGRAM_LETTERS])


def _let_finish(driver: Driver) -> None:
    """An executor was dropped without shutdown: let its work finish, then free everything."""
    if not driver.is_foreign:
        driver.post_stop()
