"""Brings an exception over that its own pickling does not bring over, or not whole.

Most such have an `__init__` that does not take its `args`. It is made anew without that, with the
same `args` and attributes, so that whoever catches its type in a loop catches it here. The same
holds for those in a group, and for the causes of one, which pickle leaves behind.
"""

from adaptive_exec.program.c_pickle import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHAIN_MAX = 20
"""Causes of causes that come along."""
_PROTOCOL = 5
"""Of pickle, as in `system.pickles`."""


class Remade:
    """Travels in the place of an exception and arrives as that.

    Args:
        error: The exception; its `args` and attributes must travel by themselves.
    """

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> "tuple[Any, ...]":
        error = self._error
        if isinstance(error, BaseExceptionGroup):
            parts = [fitting(one) for one in error.exceptions]
            return regroup, (type(error), error.message, parts, dict(vars(error)))
        return remake, (type(error), error.args, dict(vars(error)))


class Chained:
    """Travels in the place of an exception that has causes, and arrives as that with them.

    Args:
        error: The exception.
        traveller: What travels for it by itself.
        depth: How many have it for a cause.
    """

    def __init__(self, error: BaseException, traveller: object, depth: int = 0) -> None:
        self._error = error
        self._traveller = traveller
        self._depth = depth

    def __reduce__(self) -> "tuple[Any, ...]":
        error, depth = self._error, self._depth + 1
        links = [_link(one, depth) for one in (error.__cause__, error.__context__)]
        return chain, (self._traveller, *links, error.__suppress_context__)


def _link(error: BaseException | None, depth: int) -> object:
    if error is None or depth > CHAIN_MAX:
        return None
    return with_causes(error, fitting(error), depth)


def with_causes(error: BaseException, traveller: object, depth: int = 0) -> object:
    """Return what travels for an exception with those that led to it."""
    if error.__cause__ is None and error.__context__ is None:
        return traveller
    return Chained(error, traveller, depth)


def fitting(error: BaseException) -> object:
    """Return what can travel for an exception: itself, or made anew, or nothing."""
    for traveller in (error, Remade(error)):
        try:
            if isinstance(loads(dumps(traveller, _PROTOCOL)), BaseException):
                return traveller
        except BaseException:  # noqa: BLE001, S112  # its own pickling or unpickling may raise anything
            continue
    return None


def remake(
    kind: "type[BaseException]", args: "tuple[Any, ...]", attributes: "dict[str, Any]"
) -> BaseException:
    """Make an exception without calling its `__init__`."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(attributes)
    return error


def regroup(
    kind: "type[Any]", message: str, parts: "list[Any]", attributes: "dict[str, Any]"
) -> BaseException:
    """Make a group of exceptions anew."""
    make: Any = kind.__new__
    error: BaseException = make(kind, message, parts)
    error.args = (message, parts)
    vars(error).update(attributes)
    return error


def chain(
    error: BaseException,
    cause: BaseException | None,
    context: BaseException | None,
    suppress: bool,  # noqa: FBT001  # a fact
) -> BaseException:
    """Give an exception those that led to it."""
    error.__cause__ = cause
    error.__context__ = context
    error.__suppress_context__ = suppress
    return error
