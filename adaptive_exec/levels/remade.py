"""Brings an exception over that its own pickling does not bring over.

Most such have an `__init__` that does not take its `args`. It is made anew without that, with the
same `args` and attributes, so that whoever catches its type in a loop catches it here.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Remade:
    """Travels in the place of an exception and arrives as that.

    Args:
        error: The exception; its `args` and attributes must travel by themselves.
    """

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> "tuple[Any, ...]":
        return remake, (type(self._error), self._error.args, dict(vars(self._error)))


def remake(
    kind: "type[BaseException]", args: "tuple[Any, ...]", attributes: "dict[str, Any]"
) -> BaseException:
    """Make an exception without calling its `__init__`."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(attributes)
    return error
