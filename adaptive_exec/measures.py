"""What a task's arguments show of its size: numbers, lengths, bytes of arrays, sizes of files.

Only what Python's own types and arrays say is asked, which takes 1 to 2 us a task; a file that an
argument names is asked for with one call of the system. Runs apart from the driver's thread. Which
of the numbers tells anything is found by trying, in `core/memory/sizes`.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

from adaptive_exec.config import Size, parse_size
from adaptive_exec.core.memory.sizes import NUMBERS_MAX, Measure
from adaptive_exec.levels.base import FULL, ONE
from adaptive_exec.log import LOGGER
from adaptive_exec.sources import GONE

TYPE_CHECKING = False

_LONG = frozenset({bytes, bytearray, set, frozenset})
_NESTED = frozenset({list, tuple})
PATH_LETTERS = 1024
"""Letters of the longest text that is looked at as the path of a file."""


class Sizer:
    """Measures the tasks of one batch, or of submitted calls.

    Args:
        kind: The number of the function.
        size: The user's function of a task's arguments, None to look at these.
        task_memory: The same for the memory that it takes; or the size itself.
        limit_bytes: What fractions of that refer to.
        for_order: All tasks are looked at, since the largest are to begin first.
    """

    def __init__(
        self,
        kind: int = 0,
        *,
        size: Callable[..., Any] | None = None,
        task_memory: Callable[..., Any] | Size | None = None,
        limit_bytes: int = 0,
        for_order: bool = False,
    ) -> None:
        self._for_order = for_order
        self._kind = kind
        self._size = size
        self._task_memory = task_memory
        self._limit_bytes = limit_bytes
        self._has_failed = False

    @property
    def is_told(self) -> bool:
        """Whether the user says what each task takes."""
        return self._task_memory is not None

    @property
    def is_asked(self) -> bool:
        """Whether every task is looked at, whatever it takes."""
        return self._for_order or self._size is not None or self._task_memory is not None

    def measure_all(self, items: Sequence[Any], style: int) -> tuple[Measure | None, ...]:
        """Measure the items of a map, each called as its style says."""
        if style == ONE:
            return tuple(None if item is GONE else self.measure((item,), {}) for item in items)
        assert style != FULL, "submitted calls are measured one by one"
        return tuple(None if item is GONE else self.measure(item, {}) for item in items)

    def measure(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, kind: int | None = None
    ) -> Measure | None:
        """Measure one call; a function of the user's that raises is told of once, and left out."""
        kind = self._kind if kind is None else kind
        numbers: tuple[float, ...] = ()
        told = None
        try:
            if self._size is not None:
                numbers = (float(self._size(*args, **kwargs)),)
            if self._task_memory is not None:
                told = self._told_bytes(args, kwargs)
            if self._size is None:
                numbers = numbers_of((*args, *kwargs.values()) if kwargs else args)
        except Exception as error:  # noqa: BLE001  # the user's functions and objects may raise anything
            self._tell(error)
        return Measure(kind, numbers, told)

    def _told_bytes(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        size = self._task_memory
        if callable(size):
            size = size(*args, **kwargs)
        assert size is not None, "asked only where it was told"
        return parse_size("task_memory", size, limit_bytes=self._limit_bytes)

    def _tell(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            LOGGER.warning(
                "size: a function of the user's failed, got %s: %s; its task counts as unknown",
                type(error).__name__,
                error,
            )


def numbers_of(values: Sequence[Any]) -> tuple[float, ...]:
    """Return what arguments show of a task's size; a short sequence counts as its items.

    >>> numbers_of((b"abc", 7, "no such file"))
    (3.0, 7.0, 12.0)
    >>> numbers_of(((150, 20),))
    (150.0, 20.0)
    """
    numbers: list[float] = []
    for value in values:
        kind: type = type(value)
        if kind in _NESTED and len(value) <= NUMBERS_MAX:
            numbers.extend(map(_number_of, value))
        elif kind is dict and len(value) <= NUMBERS_MAX:
            numbers.extend(map(_number_of, value.values()))
        else:
            numbers.append(_number_of(value))
        if len(numbers) >= NUMBERS_MAX:
            break
    return tuple(numbers[:NUMBERS_MAX])


def _number_of(value: Any) -> float:
    kind: type = type(value)
    if kind is int or kind is float:
        return float(abs(value)) if -1e300 < value < 1e300 else 0.0  # noqa: PLR2004  # a float can hold it
    if kind is str:
        return _file_bytes(value, len(value))
    if kind in _LONG or kind in _NESTED or kind is dict:
        return float(len(value))
    return _number_of_object(value, kind)


def _number_of_object(value: Any, kind: type) -> float:
    """Return the bytes of an array or a file, or how many things it holds."""
    package = str(kind.__module__).partition(".")[0]
    if package in {"numpy", "pandas", "polars", "pyarrow", "torch", "xarray", "scipy", "cupy"}:
        return _array_size(value)
    if package == "pathlib":
        return _file_bytes(value, 0)
    own: object = kind.__getattribute__
    if own is object.__getattribute__:  # else it is the user's code
        held = getattr(value, "__dict__", None)
        if isinstance(held, dict):
            return sum(map(_shallow, list(held.values())[:NUMBERS_MAX]))
    return 0.0


def _array_size(value: Any) -> float:
    for name in ("nbytes", "size", "__len__"):
        found = getattr(value, name, None)
        if name == "__len__" and found is not None:
            found = found()
        if found.__class__ is int:
            return float(found)
    try:
        return abs(float(value))  # a number of NumPy's
    except (TypeError, ValueError):
        return 0.0


def _shallow(value: Any) -> float:
    kind = value.__class__
    if kind in _LONG or kind in _NESTED or kind in {str, dict}:
        return float(len(value))
    if kind is int or kind is float:
        return abs(value) if -1e300 < value < 1e300 else 0.0  # noqa: PLR2004  # as above
    return _array_size(value) if kind.__module__.startswith(("numpy", "pandas")) else 0.0


def _file_bytes(value: Any, otherwise: int) -> float:
    """Return the size of a file that an argument names, else how long the text is."""
    if value.__class__ is str and (len(value) > PATH_LETTERS or "\0" in value or not value):
        return float(otherwise)
    try:
        return float(os.stat(value).st_size)  # noqa: PTH116  # pathlib is slow to import
    except (OSError, ValueError):
        return float(otherwise)
