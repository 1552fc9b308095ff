"""Reading the user's table, lazily: CSV, JSON lines, Parquet, or a list of lines.

The parent reads records and no more; turning a record into the function's argument is left to the
worker, so a bad record is the error of its own task and not the end of the run. What can be known
beforehand (a missing file, a missing column, an unknown form) is refused before any work.
"""

import csv
import difflib
import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adaptive_exec.cards.cells import unchanged

COUNT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a file up to which its records are counted before the run: about a second of reading."""
FIELD_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of the longest field of a CSV file; the csv module's own bound, 128 KiB, is too small for
texts."""
PARQUET_ROWS: Final = 1024
"""Rows of a Parquet file read at once."""
FORMS: Final = {
    ".csv": "CSV",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".parquet": "Parquet",
    ".pq": "Parquet",
}
"""Form by suffix; any other suffix is a list of lines."""
REFUSED: Final = {
    ".json": "JSON lines (.jsonl)",
    ".xlsx": "CSV",
    ".tsv": "CSV",
    ".gz": "uncompressed",
}
"""Suffixes that look like a table but are none of the forms, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is there and can be read.

    Attributes:
        path: The file.
        form: `"CSV"`, `"JSON lines"`, `"Parquet"` or `"lines"`.
        records: Opens the file and yields its records.
        decode: Turns a record into the function's argument, in the worker.
        count: How many records there are; None where counting would take long.
    """

    path: Path
    form: str
    records: Callable[[], Iterator[object]]
    decode: Callable[[object], object]
    count: int | None


def open_table(path: Path, column: str | None) -> Table:
    """Check a table and say how to read it.

    Args:
        path: The file; its suffix tells the form.
        column: The column whose cell is the function's argument; None passes the whole record as a
            dictionary.

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
    if path.suffix.lower() in REFUSED:
        message = (
            f"input has no form that is read, got {str(path)!r}; write it as "
            f"{REFUSED[path.suffix.lower()]}"
        )
        raise ValueError(message)
    form = FORMS.get(path.suffix.lower(), "lines")
    try:
        return _OPENERS[form](path, column)
    except (OSError, UnicodeError, csv.Error) as error:
        message = (
            f"input cannot be read as {form}, got {str(path)!r} ({error}); mend it, or give another"
        )
        raise ValueError(message) from error


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


def _open_csv(path: Path, column: str | None) -> Table:
    csv.field_size_limit(FIELD_BYTES_MAX)

    def records() -> Iterator[list[str]]:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file)
            next(reader, None)
            yield from (record for record in reader if record)

    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        header = tuple(next(csv.reader(file), ()))
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
    return Table(path, "CSV", records, DecodeCsv(header, place), _count(path, records))


def _open_json(path: Path, column: str | None) -> Table:
    def records() -> Iterator[bytes]:
        return _lines(path)

    first = next(records(), None)
    if first is not None:
        try:
            value = json.loads(first)
        except ValueError as error:
            message = (
                f"input is not JSON lines, got {first[:80]!r} in {str(path)!r} ({error}); one "
                "object per line"
            )
            raise ValueError(message) from error
        if column is not None:
            _place(column, list(value) if isinstance(value, dict) else [], path)
    return Table(path, "JSON lines", records, DecodeJson(column), _count(path, records))


def _open_lines(path: Path, column: str | None) -> Table:
    if column is not None:
        message = (
            f"a list of lines has no columns, got column {column!r} for {str(path)!r}; leave "
            "--column out"
        )
        raise ValueError(message)

    def records() -> Iterator[bytes]:
        return _lines(path)

    return Table(path, "lines", records, decode_line, _count(path, records))


def _open_parquet(path: Path, column: str | None) -> Table:
    if importlib.util.find_spec("pyarrow") is None:
        message = (
            f"Parquet needs pyarrow, got {str(path)!r}; install adaptive-exec[tables], or give CSV"
        )
        raise ValueError(message)
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:  # the footer only: columns and the number of rows
            names, count = list(file.schema_arrow.names), int(file.metadata.num_rows)
    except ValueError as error:  # pyarrow's ArrowInvalid
        raise OSError(str(error)) from error
    wanted = None if column is None else [names[_place(column, names, path)]]

    def records() -> Iterator[object]:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=wanted):
                rows = batch.to_pylist() if column is None else batch.column(0).to_pylist()
                yield from rows

    return Table(path, "Parquet", records, unchanged, count)


_OPENERS: Final = {
    "CSV": _open_csv,
    "JSON lines": _open_json,
    "Parquet": _open_parquet,
    "lines": _open_lines,
}


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines that are not blank, without their ends."""
    with path.open("rb") as file:
        for number, line in enumerate(file):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            if text.strip():
                yield text.rstrip(b"\r\n")


def _place(column: str, names: list[str], path: Path) -> int:
    if column in names:
        return names.index(column)
    near = difflib.get_close_matches(column, names, n=1, cutoff=0.0)
    hint = (
        f"did you mean {near[0]!r}? there are {', '.join(names[:20])}"
        if near
        else "it has no columns"
    )
    message = f"input has no column, got {column!r} for {str(path)!r}; {hint}"
    raise ValueError(message)


def _count(path: Path, records: Callable[[], Iterator[object]]) -> int | None:
    if path.stat().st_size > COUNT_BYTES_MAX:
        return None
    return sum(1 for _ in records())
