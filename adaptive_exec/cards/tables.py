"""Reading the user's table, lazily: CSV, TSV, JSON lines, Parquet, or a list of lines.

The parent reads records and no more; turning a record into the function's argument is left to the
worker, so a bad record is the error of its own task and not the end of the run. What can be known
beforehand (a missing file, a missing column, an unknown form) is refused before any work.
"""

import csv
import importlib.util
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from adaptive_exec.cards.cells import unchanged
from adaptive_exec.cards.nearest import nearest
from adaptive_exec.cards.packed import (
    can_unpack,
    inner_suffix,
    open_bytes,
    open_seekable,
    open_text,
)

COUNT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a file up to which its records are counted before the run: about a second of reading."""
FIELD_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of the longest field of a CSV file; the csv module's own bound, 128 KiB, is too small for
texts."""
PARQUET_ROWS: Final = 1024
"""Rows of a Parquet file read at once."""
FORMS: Final = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".parquet": "Parquet",
    ".pq": "Parquet",
}
"""Form by suffix; any other suffix is a list of lines."""
REFUSED: Final = {
    ".json": "JSON lines (.jsonl)",
    ".xlsx": "CSV",
    ".zip": ".gz",
    ".bz2": ".gz",
    ".xz": ".gz",
}
"""Suffixes that look like a table but are none of the forms, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is there and can be read.

    Attributes:
        path: The file.
        form: `"CSV"`, `"TSV"`, `"JSON lines"`, `"Parquet"` or `"lines"`.
        records: Opens the file and yields its records.
        decode: Turns a record into the function's argument, in the worker.
        count: How many records there are; None where counting would take long.
        names: Its columns; empty where it has none, or is JSON lines of something else.
    """

    path: Path
    form: str
    records: Callable[[], Iterator[object]]
    decode: Callable[[object], object]
    count: int | None
    names: tuple[str, ...] = ()


def open_table(
    path: Path, column: str | None, *, columns: Sequence[str] | None = None, form: str | None = None
) -> Table:
    """Check a table and say how to read it.

    Args:
        path: The file; its suffix tells the form, the one before it where it is `.gz` or `.zst`.
        column: The column whose cell is the function's argument; None passes the whole record as a
            dictionary.
        columns: Columns that must be there, and the only ones that are read of Parquet.
        form: The form, whatever the suffix says.

    Returns:
        The table.

    Raises:
        ValueError: The file, its form or the column is not there; the message names it and the way
            out.
    """
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "does not exist"
        message = (
            f"input {what}, got {str(path)!r}; give the path of a CSV, JSON lines, Parquet or "
            "text file"
        )
        raise ValueError(message)
    suffix = inner_suffix(path)
    if form is None and suffix in REFUSED:
        message = (
            f"input has no form that is read, got {str(path)!r}; write it as {REFUSED[suffix]}"
        )
        raise ValueError(message)
    if not can_unpack(path):
        message = (
            f"input needs a library to be unpacked, got {str(path)!r}; install zstandard, or "
            "write it as .gz"
        )
        raise ValueError(message)
    form = form or FORMS.get(suffix, "lines")
    try:
        table = _OPENERS[form](path, column, columns)
        for name in columns or ():
            if table.names or form != "JSON lines" or table.count != 0:
                _place(name, list(table.names), path)
        return table
    except (OSError, EOFError, zlib.error, UnicodeError, csv.Error) as error:
        message = (
            f"input cannot be read as {form}, got {str(path)!r} ({error}); mend it, or give another"
        )
        raise ValueError(message) from error


def is_parquet(path: Path, form: str | None) -> bool:
    """Tell whether a file is read as Parquet: by its form, else by its suffix."""
    return (form or FORMS.get(inner_suffix(path))) == "Parquet"


@dataclass(frozen=True, slots=True)
class DecodeCsv:
    """Makes a dictionary, or one cell, of a CSV record.

    Args:
        header: Names of the columns.
        place: Which cell is the argument; None for all of them.
    """

    header: tuple[str, ...]
    place: int | None

    def __call__(self, record: object) -> object:
        """Return the function's argument."""
        assert isinstance(record, list)
        if len(record) != len(self.header):
            message = (
                f"record must have {len(self.header)} cells like the header, got "
                f"{len(record)}; mend the file"
            )
            raise ValueError(message)
        for cell in record:
            # Bytes that are not UTF-8 were carried as surrogates; they end here, in their own task.
            cell.encode()
        if self.place is not None:
            return record[self.place]
        return dict(zip(self.header, record, strict=True))


@dataclass(frozen=True, slots=True)
class DecodeJson:
    """Makes an object, or one of its values, of a line of JSON.

    Args:
        column: The key whose value is the argument; None for the whole.
    """

    column: str | None

    def __call__(self, record: object) -> object:
        """Return the function's argument."""
        assert isinstance(record, bytes)
        value = json.loads(record)
        if self.column is None:
            return value
        if not isinstance(value, dict) or self.column not in value:
            message = f"line has no column {self.column!r}, got {record[:80]!r}; mend the file"
            raise ValueError(message)
        return value[self.column]


def decode_line(record: object) -> object:
    """Return a line as text."""
    assert isinstance(record, bytes)
    return record.decode()


def _open_csv(
    path: Path, column: str | None, _columns: Sequence[str] | None, *, form: str = "CSV"
) -> Table:
    csv.field_size_limit(FIELD_BYTES_MAX)
    delimiter = "," if form == "CSV" else "\t"

    def records() -> Iterator[list[str]]:
        with open_text(path) as file:
            reader = csv.reader(file, delimiter=delimiter)
            next(reader, None)
            yield from (record for record in reader if record)

    with open_text(path) as file:
        header = tuple(next(csv.reader(file, delimiter=delimiter), ()))
    for name in header:
        name.encode()  # raises where the header is not UTF-8
    if not header:
        message = (
            f"input has no header line, got {str(path)!r}; write the names of the columns in "
            "its first line"
        )
        raise ValueError(message)
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        message = f"input has a column twice, got {twice!r} in {str(path)!r}; rename one of them"
        raise ValueError(message)
    place = None if column is None else _place(column, list(header), path)
    return Table(path, form, records, DecodeCsv(header, place), _count(path, records), header)


def _open_json(path: Path, column: str | None, _columns: Sequence[str] | None) -> Table:
    def records() -> Iterator[bytes]:
        return _lines(path)

    first = next(records(), None)
    names: tuple[str, ...] = ()
    if first is not None:
        try:
            value = json.loads(first)
        except ValueError as error:
            message = (
                f"input is not JSON lines, got {first[:80]!r} in {str(path)!r} ({error}); one "
                "object per line"
            )
            raise ValueError(message) from error
        names = tuple(value) if isinstance(value, dict) else ()
        if column is not None:
            _place(column, list(names), path)
    return Table(path, "JSON lines", records, DecodeJson(column), _count(path, records), names)


def _open_lines(path: Path, column: str | None, columns: Sequence[str] | None) -> Table:
    column = column or next(iter(columns or ()), None)
    if column is not None:
        message = (
            f"a list of lines has no columns, got column {column!r} for {str(path)!r}; leave "
            "--column out"
        )
        raise ValueError(message)

    def records() -> Iterator[bytes]:
        return _lines(path)

    return Table(path, "lines", records, decode_line, _count(path, records))


def _open_parquet(path: Path, column: str | None, columns: Sequence[str] | None) -> Table:
    if importlib.util.find_spec("pyarrow") is None:
        message = (
            f"Parquet needs pyarrow, got {str(path)!r}; install adaptive-exec[tables], or give CSV"
        )
        raise ValueError(message)
    from pyarrow import parquet

    try:
        with open_seekable(path) as source, parquet.ParquetFile(source) as file:
            # The footer only: columns and the number of rows.
            names, count = list(file.schema_arrow.names), int(file.metadata.num_rows)
    except ValueError as error:  # pyarrow's ArrowInvalid
        raise OSError(str(error)) from error
    wanted = [names[_place(name, names, path)] for name in columns or ()] or None
    if column is not None:
        wanted = [names[_place(column, names, path)]]

    def records() -> Iterator[object]:
        with open_seekable(path) as source, parquet.ParquetFile(source) as file:
            # Without threads: they would stand in the way of a snapshot of this process.
            for batch in file.iter_batches(
                batch_size=PARQUET_ROWS, columns=wanted, use_threads=False
            ):
                rows = batch.to_pylist() if column is None else batch.column(0).to_pylist()
                yield from rows

    return Table(path, "Parquet", records, unchanged, count, tuple(names))


_Opener = Callable[[Path, str | None, Sequence[str] | None], Table]
_OPENERS: Final[Mapping[str, _Opener]] = {
    "CSV": _open_csv,
    "TSV": partial(_open_csv, form="TSV"),
    "JSON lines": _open_json,
    "Parquet": _open_parquet,
    "lines": _open_lines,
}


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines that are not blank, without their ends."""
    with open_bytes(path) as file:
        for number, line in enumerate(file):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            if text.strip():
                yield text.rstrip(b"\r\n")


def _place(column: str, names: list[str], path: Path) -> int:
    if column in names:
        return names.index(column)
    hint = nearest(column, names) if names else "it has no columns"
    message = f"input has no column, got {column!r} for {str(path)!r}; {hint}"
    raise ValueError(message)


def _count(path: Path, records: Callable[[], Iterator[object]]) -> int | None:
    if path.stat().st_size > COUNT_BYTES_MAX:
        return None
    return sum(1 for _ in records())
