"""What a function returned, turned into a row of plain cells; this part runs in the workers.

A cell is None or a plain bool, int, float or str, so that a row costs little to send, is the same
at every level, and can be written to any table. What has no row is the task's own error.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Cell = None | bool | int | float | str
Row = dict[str, Cell]

_PLAIN: Final = frozenset({type(None), bool, int, float, str})
_BASES: Final = (bool, int, float, str)


@dataclass(frozen=True, slots=True)
class RowTask:
    """The function of a batch of rows: decode the task, call the user's function, make a row.

    Args:
        function: The user's function, of one argument.
        decode: Turns what was read into that argument.
    """

    function: Callable[..., object]
    decode: Callable[[object], object]

    def __call__(self, task: object) -> Row | list[Row]:
        """Run one task and return its row."""
        return make_row(self.function(self.decode(task)))


def unchanged(task: object) -> object:
    """Decode nothing: the task is the argument."""
    return task


def make_row(value: object) -> Row:
    """Make a row of what a function returned.

    Args:
        value: A mapping, whose keys become columns, or anything else, which becomes the column
            `value`.

    Returns:
        Plain cells by column.

    Raises:
        UnicodeEncodeError: A text cannot be written as UTF-8.
    """
    if isinstance(value, Mapping):
        return {str(name): make_cell(cell) for name, cell in value.items()}
    return {"value": make_cell(value)}


def make_cell(value: object) -> Cell:
    """Make a plain cell of any value.

    Args:
        value: Plain values stay, NumPy scalars become Python's, lists and dictionaries become JSON,
            sets sorted JSON.

    Returns:
        None, bool, int, float or str.

    Raises:
        UnicodeEncodeError: A text cannot be written as UTF-8.
    """
    if isinstance(value, str):
        value.encode()  # a lone surrogate fails here, in the task that made it, not in the writer
    if type(value) in _PLAIN:
        return value  # type: ignore[return-value]  # exactly one of the plain types
    for base in _BASES:
        if isinstance(value, base):
            return base(value)
    return _unwrap(value)


def _unwrap(value: object) -> Cell:
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode()
    if isinstance(value, set | frozenset):
        return _json(sorted(value, key=repr))
    if isinstance(value, dict | list | tuple):
        return _json(value)
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return make_cell(value.item())
    return make_cell(str(value))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, default=str)
