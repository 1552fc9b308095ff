"""Run tasks in a thread with what belongs to the caller's: decimal's context, context variables.

Each chunk has a copy, as a process has: what a task sets there is not the caller's.
"""

import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


def caller_context() -> Context:
    """Copy what the caller has at this moment; 1 us."""
    own = own_context(copy_context())
    assert own is not None, "made of one that is there"
    return own


def own_context(context: Context | None) -> Context | None:
    """Return a copy of a context for tasks; 1 us.

    Decimal's own is an object that can be changed, which a copy shares, so that it is copied, too.
    """
    if context is None:
        return None
    own = context.copy()
    decimal: Any = sys.modules.get("decimal")
    if decimal is not None and hasattr(decimal, "setcontext"):
        own.run(lambda: decimal.setcontext(decimal.getcontext().copy()))
    return own


def run_in(
    context: Context | None, function: "Callable[_P, _R]", *args: _P.args, **kwargs: _P.kwargs
) -> "_R":
    """Call a function in a context; None for the thread's own.

    Raises:
        BaseException: Whatever it raises.
    """
    if context is None:
        return function(*args, **kwargs)
    return context.run(function, *args, **kwargs)
