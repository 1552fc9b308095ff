"""Objects of `multiprocessing` that only processes forked from the program have, too.

A lock, a queue, a value: what it stands for is not in its pickle. In a worker that was forked from
the caller after it was made it is simply there, and is sent by its number in memory, which is the
same on both sides of a fork. Elsewhere it is refused. Imports nothing that is not there.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOMES = frozenset({
    "multiprocessing.synchronize", "multiprocessing.sharedctypes", "multiprocessing.queues",
    "multiprocessing.connection",
})  # fmt: skip
HEAP = "multiprocessing.heap"
_SILENT = "multiprocessing.connection"
"""Its objects do not refuse to be pickled themselves, nor do ctypes in shared memory."""


class Inherited:
    """What workers have from a fork of their program.

    Args:
        objects: The objects, by their numbers.
        takes_all: True while the fork is still to be made: whatever is asked for is noted.
    """

    def __init__(self, objects: "dict[int, Any] | None" = None, *, takes_all: bool = False) -> None:
        self.objects: dict[int, Any] = {} if objects is None else objects
        self._takes_all = takes_all

    def has(self, value: object) -> bool:
        """Say whether workers have this very object."""
        if self._takes_all:
            self.objects.setdefault(id(value), value)
        return self.objects.get(id(value), self) is value


NOTHING = Inherited()


def comes_by_fork(value: object, kind: type) -> bool:
    """Say whether an object means the same in another process only where that is a fork."""
    if kind.__module__ in HOMES:
        return True
    return (
        type(kind).__module__ == "_ctypes"
        and type(getattr(value, "_wrapper", None)).__module__ == HEAP
    )


def refuse(value: object, kind: type) -> None:
    """Refuse what would be pickled in silence, and would be another one elsewhere.

    Raises:
        TypeError: It is such a one.
    """
    if kind.__module__ == _SILENT or kind.__module__ not in HOMES:
        message = f"{kind.__qualname__} objects are shared between processes through a fork only"
        raise TypeError(message)
    del value
