"""The settings and the maps of an executor as type checkers and editors read them.

Nothing here is loaded while a program runs, and nothing decides: what is a setting says
`Config`, and a test holds the two together.
"""

from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any, Literal, Protocol, TypedDict, TypeVar, overload

from adaptive_exec.config import Journal, Size
from adaptive_exec.outcomes import Outcome
from adaptive_exec.results import ResultIterator

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
T = TypeVar("T")
Level = Literal["process", "thread", "sequential"]


class Options(TypedDict, total=False):
    """What `adaptive_executor` understands by name; units and defaults are in `Config`."""

    tasks: object
    levels: Literal["auto"] | Level | Iterable[Level]
    inline: bool
    fallback: Literal["thread"] | None
    max_workers: int | None
    max_in_flight: int | None
    target_memory: Size | None
    warn_memory: Size | None
    critical_memory: Size | None
    task_memory: Size | Callable[..., Size] | None
    size: Callable[..., float] | None
    order: Literal["largest"] | None
    wall: Literal["auto", "soft", "hard"] | None
    count_swap: bool
    task_timeout: float | None
    retries: int
    retry_on: tuple[type[BaseException], ...]
    seed: int | None
    isolate: bool
    max_tasks_per_worker: int | None
    max_worker_age: float | None
    max_worker_memory: Size | None
    inner_threads: int | None
    initializer: Callable[..., object] | None
    initargs: Iterable[object]
    start: Literal["snapshot", "fresh", "loky", "zygote"] | None
    journal: str | PathLike[str] | Journal | None
    key: Callable[..., object] | None
    share_host: bool
    progress: bool
    on_event: Callable[[dict[str, object]], object] | None
    relay: bool
    capture: bool
    reuse: bool
    cluster: object
    cluster_wait: float


class Map(Protocol):
    """A `map` whose results are what the function returns."""

    @overload
    def __call__(
        self,
        fn: Callable[[A], T],
        a: Iterable[A],
        /,
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[T]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B], T],
        a: Iterable[A],
        b: Iterable[B],
        /,
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[T]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C], T],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[T]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C, D], T],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        d: Iterable[D],
        /,
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[T]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C, D, E], T],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        d: Iterable[D],
        e: Iterable[E],
        /,
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[T]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., T],
        a: Iterable[Any],
        b: Iterable[Any],
        c: Iterable[Any],
        d: Iterable[Any],
        e: Iterable[Any],
        f: Iterable[Any],
        /,
        *more: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[T]: ...


class MapOutcomes(Protocol):
    """The same, with an `Outcome` for each task."""

    @overload
    def __call__(
        self,
        fn: Callable[[A], T],
        a: Iterable[A],
        /,
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[Outcome[T]]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B], T],
        a: Iterable[A],
        b: Iterable[B],
        /,
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[Outcome[T]]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C], T],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[Outcome[T]]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C, D], T],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        d: Iterable[D],
        /,
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[Outcome[T]]: ...
    @overload
    def __call__(
        self,
        fn: Callable[[A, B, C, D, E], T],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        d: Iterable[D],
        e: Iterable[E],
        /,
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[Outcome[T]]: ...
    @overload
    def __call__(
        self,
        fn: Callable[..., T],
        a: Iterable[Any],
        b: Iterable[Any],
        c: Iterable[Any],
        d: Iterable[Any],
        e: Iterable[Any],
        f: Iterable[Any],
        /,
        *more: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> ResultIterator[Outcome[T]]: ...
