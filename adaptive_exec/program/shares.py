"""Handles of objects that tasks take as arguments, and that arrive as the objects.

What a handle stands for is copied once, when it is made, into memory that all workers map. Where
tasks run in the caller's own process they get the object itself.
"""

from itertools import count

from adaptive_exec.program.spaces import SHARED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, NoReturn, TypeVar

    from adaptive_exec.program.spaces import Key

    T = TypeVar("T")
else:  # `typing` costs each zygote 5 ms
    T = None

    class Generic:
        """Stands for what only type checkers need."""

        __slots__ = ()

        def __class_getitem__(cls, _: object) -> type:
            """Return the class itself, whatever it is of."""
            return cls


DEPTH = 8
"""Levels of lists, tuples, sets and dictionaries in which tasks in this process find handles."""


class Shared(Generic[T]):
    """Stands for an object in the arguments of tasks; made by `AdaptiveExecutor.share`.

    Attributes:
        value: The object itself, here in the caller.
    """

    __slots__ = ("__weakref__", "_held", "_key", "value")

    def __init__(self, value: "T", number: int, held: object) -> None:
        self.value = value
        self._key = SHARED, str(number)
        self._held = held
        _alive.add(number)

    def __repr__(self) -> str:
        """Say of what it is a handle."""
        return f"<Shared {type(self.value).__name__}>"

    @property
    def key(self) -> "Key":
        """By what workers know the object."""
        return self._key

    @property
    def is_over(self) -> bool:
        """Whether its executor has ended, or never had workers."""
        return self._held is None

    def release(self) -> None:
        """Hold the copy for workers no longer."""
        self._held = None

    def __reduce__(self) -> "NoReturn":
        """Refuse to travel otherwise than to a worker."""
        message = "a shared handle travels only to workers of its program, in what tasks are given"
        raise TypeError(message)

    def __del__(self) -> None:
        _alive.discard(int(self._key[1]))


def hold(value: "T") -> "Shared[T]":
    """Make a handle where there are no workers."""
    return Shared(value, next(_without_workers), None)


_without_workers = count(-1, -1)
_alive: set[int] = set()


def has_any() -> bool:
    """Say whether there are handles in this process."""
    return bool(_alive)


def unwrap(value: "Any", depth: int = DEPTH) -> "Any":
    """Put objects in the place of their handles, in collections of the built-in types, too."""
    kind = value.__class__
    if kind is Shared:
        return value.value
    if not depth:
        return value
    if kind is dict:
        made = {unwrap(key, depth - 1): unwrap(one, depth - 1) for key, one in value.items()}
        pairs = zip((*made, *made.values()), (*value, *value.values()), strict=False)
        is_same = len(made) == len(value) and all(left is right for left, right in pairs)
        return value if is_same else made
    if kind in (list, tuple, set, frozenset):
        items = [unwrap(one, depth - 1) for one in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else kind(items)
    return value
