"""`process_map` and `thread_map`: a list of results and a bar, called as tqdm's.

The bar is tqdm's where that is installed, else the executor's own. Arguments of the bar, of the
pool and settings of the executor may stand side by side; they have no name in common.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any, Final

from adaptive_exec.clients.standard import ProcessPoolExecutor, ThreadPoolExecutor
from adaptive_exec.config import Config

POOLS: Final = ("max_workers", "mp_context", "max_tasks_per_child", "thread_name_prefix")
"""What tqdm hands on to the pool."""
BARS: Final = frozenset({
    "ascii", "bar_format", "colour", "delay", "desc", "disable", "dynamic_ncols", "file", "gui",
    "initial", "leave", "lock_args", "maxinterval", "mininterval", "miniters", "ncols", "nrows",
    "position", "postfix", "smoothing", "tqdm_class", "unit", "unit_divisor", "unit_scale",
    "write_bytes",
})  # fmt: skip
"""What tqdm's bars take. Source: tqdm 4, `tqdm.std.tqdm`."""


def process_map(fn: Callable[..., Any], *iterables: Iterable[Any], **named: Any) -> list[Any]:
    """Return `list(map(fn, *iterables))`, computed in processes, and show a bar.

    Args:
        fn: What to call.
        *iterables: Inputs, cut at the shortest.
        **named: `max_workers`, `chunksize` (None or 1: it is measured), `timeout`, `buffersize`,
            `mp_context`, `max_tasks_per_child`; `total`, `desc` and whatever else tqdm's bar takes;
            `tqdm_class`; settings of the executor. `lock_name` is understood and not needed: what
            workers print comes through this program.

    Raises:
        TypeError: A name is unknown.
        BrokenProcessPool: A worker was lost and its task may not run again.
    """
    return _map(ProcessPoolExecutor, fn, iterables, named)


def thread_map(fn: Callable[..., Any], *iterables: Iterable[Any], **named: Any) -> list[Any]:
    """Return `list(map(fn, *iterables))`, computed in threads, and show a bar.

    Args:
        fn: What to call.
        *iterables: Inputs, cut at the shortest.
        **named: As those of `process_map`; `thread_name_prefix`.

    Raises:
        TypeError: A name is unknown.
    """
    return _map(ThreadPoolExecutor, fn, iterables, named)


def _map(
    kind: Callable[..., ProcessPoolExecutor | ThreadPoolExecutor],
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    named: dict[str, Any],
) -> list[Any]:
    mapping = {"timeout": named.pop("timeout", None), "buffersize": named.pop("buffersize", None)}
    chunksize = named.pop("chunksize", None)
    named.pop("lock_name", None)
    pool = {name: named.pop(name) for name in (*POOLS, *Config._fields) if name in named}
    total = named.pop("total", None)
    if total is None:
        total = _count(iterables)
    make_bar = named.pop("tqdm_class", None) or _find_bar()
    if make_bar is None:
        _check_bar(named)
        if not (named.get("disable") or pool.get("progress")):
            pool |= {"progress": True, "tasks": total}
    with kind(**pool) as executor:
        results = executor.map(fn, *iterables, chunksize=chunksize or 1, **mapping)
        if make_bar is None:
            return list(results)
        with make_bar(total=total, **{"smoothing": 0.0, **named}) as bar:
            return [_count_up(bar, value) for value in results]


def _count_up(bar: Any, value: Any) -> Any:
    bar.update()
    return value


def _count(iterables: tuple[Iterable[Any], ...]) -> int | None:
    lengths = [operator.length_hint(items, -1) for items in iterables]
    return min((length for length in lengths if length >= 0), default=None)


def _find_bar() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm


def _check_bar(named: dict[str, Any]) -> None:
    """Refuse what is nobody's, as a bar would."""
    for name in named:
        if name not in BARS:
            message = (
                f"unknown argument, got {name!r}; give settings of the executor, of the pool or "
                f"of tqdm's bar"
            )
            raise TypeError(message)
