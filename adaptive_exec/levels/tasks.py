"""Run the tasks of a chunk one after the other: the innermost loop, the same at every level.

A task's own exception is a result. Nothing here knows of levels, events or transport.
"""

import opcode
import signal
import traceback
from collections.abc import Callable, Sequence
from contextvars import Context
from time import perf_counter, thread_time
from types import TracebackType
from typing import Any

from adaptive_exec.levels.base import FULL, ONE, ChunkOrder, Failure, Results, Work
from adaptive_exec.program.contexts import own_context, run_in
from adaptive_exec.program.seeds import Lent
from adaptive_exec.program.shares import has_any, unwrap

_RAISE = opcode.opmap["RAISE_VARARGS"]


def chunk_context(order: ChunkOrder) -> Context | None:
    """Return the context for the tasks of a map's chunk; each submitted call has its own."""
    caller = None if order.work.style == FULL else order.work.caller
    return None if caller is None else own_context(caller.context)


def run_bite(
    order: ChunkOrder, at: int, count: int, context: Context | None, results: Results
) -> None:
    """Run some tasks of a chunk in this thread, with what their callers had.

    Args:
        order: The chunk.
        at: How many of its tasks have run.
        count: How many are to run, at most.
        context: That of a map's chunk.
        results: Grows by one outcome per task.

    Raises:
        KeyboardInterrupt: As in `run_tasks`.
    """
    items = order.items[at : at + count]
    if order.work.stream is not None:
        _run_seeded(order, at, count, context, results)
        return
    if has_any():
        items = [unwrap(item) for item in items]
    if order.work.style != FULL:
        run_in(context, run_tasks, order.work, items, results)
        return
    for offset, item in enumerate(items):
        caller = order.caller_of(order.start + at + offset)
        own = None if caller is None else own_context(caller.context)
        run_in(own, run_tasks, order.work, (item,), results)


def _run_seeded(
    order: ChunkOrder, at: int, count: int, context: Context | None, results: Results
) -> None:
    """Run tasks with their own random streams, and give the caller's generators back after it."""
    stream = order.work.stream
    assert stream is not None, "asked only where there is a seed"
    lent = Lent()
    work = order.work._replace(stream=None)
    try:
        for index in range(at, min(at + count, len(order.items))):
            lent.set(stream, order.start + index)
            run_bite(order._replace(work=work), index, 1, context, results)
    finally:
        lent.give_back()


def run_tasks(work: Work, items: Sequence[Any], results: Results) -> None:
    """Run every item and append its outcome to `results`.

    Args:
        work: What to call, and how.
        items: One per task.
        results: Grows by one outcome per task.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C, which reaches tasks in the main thread only. The
        task that it
            met has no outcome then; the ones before have theirs.
    """
    if work.detailed:
        _run_detailed(work, items, results)
    elif work.style == ONE:
        _run_ones(_function(work), items, results.values)
    else:
        _run_calls(work, items, results.values)


def try_initializer(initializer: Callable[..., Any], initargs: tuple[Any, ...]) -> str:
    """Run the user's initializer; return its traceback where it failed, else an empty text."""
    try:
        initializer(*initargs)
    except BaseException:  # noqa: BLE001  # whatever the user's code raises breaks the level
        return traceback.format_exc()
    return ""


def call_item(work: Work, item: Any) -> Any:
    """Call one item; its exception passes."""
    if work.style == ONE:
        return _function(work)(item)
    if work.style == FULL:
        function, args, kwargs = item
        return function(*args, **kwargs)
    return _function(work)(*item)


def _run_ones(function: Callable[[Any], Any], items: Sequence[Any], values: list[Any]) -> None:
    append = values.append
    for item in items:
        try:
            append(function(item))
        except BaseException as error:  # noqa: BLE001  # whatever the task raises is its result
            append(_fail(error))


def _run_calls(work: Work, items: Sequence[Any], values: list[Any]) -> None:
    for item in items:
        try:
            values.append(call_item(work, item))
        except BaseException as error:  # noqa: BLE001  # whatever the task raises is its result
            values.append(_fail(error))


def _run_detailed(work: Work, items: Sequence[Any], results: Results) -> None:
    details = results.details if results.details is not None else []
    results.details = details
    for item in items:
        cpu_before, before = thread_time(), perf_counter()
        _run_calls(work, (item,), results.values)
        details.append((perf_counter() - before, thread_time() - cpu_before, None))


def _fail(error: BaseException) -> Failure:
    if isinstance(error, KeyboardInterrupt) and _is_interrupt(error):
        raise error
    return Failure(error)


def is_from_signal(error: BaseException) -> bool:
    """Tell what a signal handler raised in the midst of user's code from what that code raised."""
    if isinstance(error, KeyboardInterrupt):
        return _is_interrupt(error)
    return _passed_handler(error)[0]


def _is_interrupt(error: KeyboardInterrupt) -> bool:
    """Tell an interrupt from the task's own `raise`.

    A handler in Python stands in the traceback; the default one, in C, interrupts at an instruction
    other than a raise.
    """
    is_handled, last = _passed_handler(error)
    if is_handled:
        return True
    return last is None or last.tb_frame.f_code.co_code[last.tb_lasti] != _RAISE


def _passed_handler(error: BaseException) -> tuple[bool, TracebackType | None]:
    """Say whether a signal's handler stands in a traceback; return that with its last entry."""
    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()}
    trace, last = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True, trace
        trace, last = trace.tb_next, trace
    return False, last


def _code_of(handler: object) -> object:
    """Return the code that a handler runs; None where it is not Python's."""
    if not callable(handler):
        return None
    return getattr(handler, "__code__", None) or getattr(handler.__call__, "__code__", None)


def _function(work: Work) -> Callable[..., Any]:
    assert work.function is not None, "only FULL work comes without a function"
    return work.function
