"""Writing rows to a file that is either whole or not there: CSV, JSON lines, Parquet with pyarrow.

Rows come from a spool, in the order of the tasks, so the bytes are the same at every level and
number of workers. A file is written beside its place and moved there at the end; moving is what
makes it visible.
"""

import csv
import errno
import importlib.util
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from adaptive_exec.cards.cells import Row
from adaptive_exec.cards.spool import Spool

PARQUET_GROUP_ROWS: Final = 10_000
"""Rows of one group of a Parquet file: what is held in memory while writing."""
SUFFIXES: Final = (".csv", ".jsonl", ".ndjson", ".parquet", ".pq")
PARQUET_SUFFIXES: Final = (".parquet", ".pq")
BLAS_VARIABLE: Final = "OPENBLAS_NUM_THREADS"


def check_output(path: Path, *, force: bool) -> None:
    """Refuse a place that cannot be written, before any work.

    Args:
        path: Where the rows shall go; its suffix is one of `SUFFIXES`.
        force: Replace a file that is there.

    Raises:
        ValueError: The place is taken, in a folder that is not there, or of an unknown form.
    """
    if path.suffix.lower() not in SUFFIXES:
        message = f"output must end in {', '.join(SUFFIXES)}, got {str(path)!r}; rename it"
        raise ValueError(message)
    if path.suffix.lower() in PARQUET_SUFFIXES and not can_write_parquet():
        message = (
            f"Parquet needs pyarrow, got output {str(path)!r}; install adaptive-exec[tables], "
            "or write .csv"
        )
        raise ValueError(message)
    if path.exists() and not path.is_file():
        message = f"output is not a regular file, got {str(path)!r}; give another name"
        raise ValueError(message)
    if path.exists() and not force:
        message = f"output exists, got {str(path)!r}; give another name, or --force to replace it"
        raise ValueError(message)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        message = (
            f"output folder is not there or not writable, got {str(path.parent)!r}; make it, "
            "or give another"
        )
        raise ValueError(message)


def can_write_parquet() -> bool:
    """Tell whether pyarrow is installed, without importing it."""
    return importlib.util.find_spec("pyarrow") is not None


def write_table(spool: Spool, path: Path, columns: Sequence[str]) -> None:
    """Write a spool's rows as its suffix says.

    Args:
        spool: The rows.
        path: The file, replaced when all is written.
        columns: The columns, in order.

    Raises:
        OSError: The disk refused; nothing is left behind.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        write_csv(spool.rows(), path, columns)
    elif suffix in PARQUET_SUFFIXES:
        write_parquet(spool, path, columns)
    else:
        write_json_lines(spool.rows(), path, columns)


def write_csv(
    rows: Iterator[Row], path: Path, columns: Sequence[str], *, seconds: float | None = None
) -> None:
    """Write rows as CSV: UTF-8, lines end with a line feed, None is an empty cell.

    Args:
        rows: The rows, in order.
        path: The file, replaced when all is written.
        columns: The columns, in order.
        seconds: Stop after this long, with what is written by then; None writes all.
    """
    end = None if seconds is None else time.monotonic() + seconds
    with _replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([row.get(column) for column in columns])
            if end is not None and time.monotonic() > end:
                break
        _sync(file)


def write_json_lines(rows: Iterator[Row], path: Path, columns: Sequence[str]) -> None:
    """Write rows as JSON lines; a row has the columns that it has, in the order of all.

    Args:
        rows: The rows, in order.
        path: The file, replaced when all is written.
        columns: The columns, in order.
    """
    with _replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        for row in rows:
            one = {column: row[column] for column in columns if column in row}
            file.write(json.dumps(one, ensure_ascii=False) + "\n")
        _sync(file)


def write_parquet(spool: Spool, path: Path, columns: Sequence[str]) -> None:
    """Write a spool's rows as Parquet, a group of rows at a time.

    Args:
        spool: The rows, and the kinds of their columns.
        path: The file, replaced when all is written.
        columns: The columns, in order.

    Raises:
        BlockingIOError: No thread can be started, without which Arrow cannot be loaded.
    """
    with _loading_arrow():
        import pyarrow as pa
        from pyarrow import parquet

    kinds = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    casts = {column: _cast(spool.kind(column)) for column in columns}
    schema = pa.schema([(column, kinds[spool.kind(column)]) for column in columns])
    rows = spool.rows()
    # As an open file: pyarrow takes no path with bytes that are no text.
    with (
        _replacing(path) as part,
        part.open("wb") as file,
        parquet.ParquetWriter(file, schema) as writer,
    ):
        while group := list(itertools.islice(rows, PARQUET_GROUP_ROWS)):
            arrays = {
                column: [None if (cell := row.get(column)) is None else cast(cell) for row in group]
                for column, cast in casts.items()
            }
            writer.write_table(pa.table(arrays, schema=schema))


@contextmanager
def _loading_arrow() -> Iterator[None]:
    """Load it only where threads can be had, and NumPy beside it with one of its own.

    Without a thread Arrow ends the process; OpenBLAS, which NumPy loads, sends it SIGINT (0.3.30).
    """
    try:
        one = threading.Thread(target=bool)
        one.start()
        one.join()
    except (RuntimeError, MemoryError) as error:
        raise BlockingIOError(errno.EAGAIN, f"Arrow needs threads: {error}") from error
    before = os.environ.get(BLAS_VARIABLE)
    os.environ[BLAS_VARIABLE] = "1"
    try:
        yield
    finally:
        del os.environ[BLAS_VARIABLE]
        if before is not None:
            os.environ[BLAS_VARIABLE] = before


def _cast(kind: type) -> Callable[[object], object]:
    return kind


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a place beside `path`; move it there at the end, or remove it if anything failed."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _sync(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())
