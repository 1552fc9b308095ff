"""Rows that come in any order, kept on disk and read back in the order of the tasks.

Memory stays flat however far the outcomes run ahead of a slow task. The two files have no name, so
nothing is left over whatever ends the process. The columns are learned on the way: in the order in
which the tasks, by number, show them first, so they do not depend on which task was finished first.
"""

import pickle
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from adaptive_exec.cards.cells import Cell, Row
from adaptive_exec.cards.distinct import distinct

_ENTRY: Final = struct.Struct("<q")
"""One entry of the index: where the row begins, plus one; zero where there is no row."""
INT64_MAX: Final = 2**63 - 1
"""The largest whole number that SQLite keeps. Source: its INTEGER, of 8 bytes."""


class Spool:
    """Rows by number.

    Args:
        folder: An existing folder on the disk that the result will be on.
        unique: Columns that make a row's key; of rows with one key the first is read back.
    """

    def __init__(self, folder: Path, unique: Sequence[str] = ()) -> None:
        self._unique = unique
        self._rows: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by close()
        self._index: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by close()
        self._end = 0
        self._length = 0
        self._first_seen: dict[str, tuple[int, int]] = {}
        self._kinds: dict[str, set[type]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close both files, which ends them."""
        self._rows.close()
        self._index.close()

    def add(self, number: int, row: Row | list[Row]) -> None:
        """Keep a row, or the rows of one task.

        Args:
            number: Position of the task in the batch, from 0.
            row: Its cells, or those of each.
        """
        for one in row if isinstance(row, list) else [row]:
            self._learn(number, one)
        record = pickle.dumps(row, protocol=pickle.HIGHEST_PROTOCOL)
        self._rows.seek(self._end)
        self._rows.write(record)
        self._index.seek(number * _ENTRY.size)
        self._index.write(_ENTRY.pack(self._end + 1))
        self._end += len(record)
        self._length = max(self._length, number + 1)

    def rows(self) -> Iterator[Row]:
        """Yield the rows that are there, in the order of the tasks."""
        return distinct(self._all_rows(), self._unique) if self._unique else self._all_rows()

    def _all_rows(self) -> Iterator[Row]:
        for number in range(self._length):
            found = self.rows_of(number)
            if isinstance(found, list):
                yield from found
            elif found is not None:
                yield found

    def rows_of(self, number: int) -> Row | list[Row] | None:
        """Return one task's row or rows, None where there is none."""
        if number >= self._length:
            return None
        self._index.seek(number * _ENTRY.size)
        (entry,) = _ENTRY.unpack(self._index.read(_ENTRY.size))
        if not entry:
            return None
        self._rows.seek(entry - 1)
        found: Row | list[Row] = pickle.load(self._rows)
        return found

    @property
    def columns(self) -> list[str]:
        """The columns of all rows, in the order in which the tasks show them first."""
        return sorted(self._first_seen, key=self._first_seen.__getitem__)

    def kind(self, column: str) -> type:
        """Return the narrowest of bool, int, float and str that holds every cell of a column."""
        kinds = self._kinds.get(column, set()) - {type(None)}
        if len(kinds) == 1:
            return next(iter(kinds))
        return float if kinds == {int, float} else str

    def _learn(self, number: int, row: Row) -> None:
        for place, (column, cell) in enumerate(row.items()):
            seen = (number, place)
            if seen < self._first_seen.setdefault(column, seen):
                self._first_seen[column] = seen
            self._kinds.setdefault(column, set()).add(_kind_of(cell))


def _kind_of(cell: Cell) -> type:
    if type(cell) is int and not -INT64_MAX <= cell <= INT64_MAX:
        return str
    return type(cell)
