"""Batches of rows as tasks: DataFrames, read from a table a few rows at a time.

Of Parquet only the columns that are asked for are read, a row group's part at a time, and types and
index come through as they were written. Other tables give what their cells are, of CSV text.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final

from adaptive_exec.cards.cells import Row, RowTask, make_cell, make_row
from adaptive_exec.cards.packed import open_seekable

READ_ROWS: Final = 8192
"""Rows of a Parquet file that are decoded at once, at most."""
_PANDAS: Final = b"pandas"
"""Where a schema keeps what pandas told of index and types."""


@dataclass(frozen=True, slots=True)
class RowsTask(RowTask):
    """The same for a batch of DataFrames, of which the function makes many rows."""

    def __call__(self, task: object) -> list[Row]:
        """Run one task and return its rows."""
        return make_rows(self.function(self.decode(task)))


def make_rows(value: object) -> list[Row]:
    """Make rows of what a function returned for many.

    Args:
        value: A DataFrame, whose index becomes columns where it has a name; a list of mappings; or
            what makes one row.

    Returns:
        Plain cells by column.

    >>> make_rows([{"a": 1}, {"a": 2}])
    [{'a': 1}, {'a': 2}]
    """
    if hasattr(value, "to_dict") and hasattr(value, "reset_index"):
        frame: Any = value
        if any(name is not None for name in frame.index.names):
            frame = frame.reset_index()
        frame = frame.astype(object).where(frame.notna(), None)
        value = frame.to_dict("records")
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        return [{str(name): make_cell(cell) for name, cell in one.items()} for one in value]
    return [make_row(value)]


def decode_arrow(task: object) -> object:
    """Make the DataFrame that Arrow's bytes are."""
    import pyarrow as pa

    assert isinstance(task, bytes)
    with pa.ipc.open_stream(task) as stream:
        return stream.read_pandas()


@dataclass(frozen=True, slots=True)
class DecodeRecords:
    """Makes a DataFrame of a list of records.

    Args:
        decode: Turns each into a dictionary.
    """

    decode: Callable[[object], object]

    def __call__(self, task: object) -> object:
        """Return the function's argument."""
        import pandas as pd

        assert isinstance(task, list)
        return pd.DataFrame([self.decode(record) for record in task])


def read_arrow(
    path: Path, columns: Sequence[str] | None, size: int, limit: int | None
) -> Iterator[bytes]:
    """Yield a Parquet file's rows, `size` at a time, as Arrow's bytes.

    Args:
        path: The file.
        columns: The columns to read, beside those of the index; None is all.
        size: Rows of a batch; the last one may have fewer.
        limit: Rows at most; None is all.
    """
    import pyarrow as pa
    from pyarrow import parquet

    waiting: list[Any] = []
    left, given = limit, 0
    with open_seekable(path) as source, parquet.ParquetFile(source) as file:
        parts = file.iter_batches(
            batch_size=min(size, READ_ROWS),
            columns=None if columns is None else list(columns),
            use_pandas_metadata=True,
            use_threads=False,
        )
        for part in parts:
            one = part if left is None else part.slice(0, left)
            left = None if left is None else left - one.num_rows
            waiting.append(one)
            table = pa.Table.from_batches(waiting)
            while table.num_rows >= size:
                yield _packed(table.slice(0, size), given)
                table, given = table.slice(size), given + size
            waiting = table.to_batches()
            if left == 0:
                break
        if sum(each.num_rows for each in waiting):
            yield _packed(pa.Table.from_batches(waiting), given)


def grouped(
    records: Callable[[], Iterator[object]], size: int, limit: int | None
) -> Iterator[list[object]]:
    """Yield records, `size` at a time.

    Args:
        records: Opens the input.
        size: Records of a batch; the last one may have fewer.
        limit: Records at most; None is all.
    """
    rest = itertools.islice(records(), limit)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def count_batches(rows: int | None, size: int, limit: int | None) -> int | None:
    """Return how many batches there are, None where it is not known.

    >>> count_batches(25, 10, None), count_batches(25, 10, 12), count_batches(None, 10, 5)
    (3, 2, None)
    """
    if rows is None:
        return None
    return ceil((rows if limit is None else min(rows, limit)) / size)


def _packed(table: Any, before: int) -> bytes:
    """Write rows as Arrow's bytes.

    Args:
        table: The rows.
        before: How many rows of the file were before them.
    """
    import pyarrow as pa

    table = _with_index(table, before)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def _with_index(table: Any, before: int) -> Any:
    """Have an index that is only told of, as a range, go on where the batch before ended."""
    told = table.schema.metadata or {}
    if _PANDAS not in told:
        return table
    described = json.loads(told[_PANDAS])
    for index in described["index_columns"]:
        if isinstance(index, dict) and index.get("kind") == "range":
            index["start"] += before * index["step"]
            index["stop"] = index["start"] + table.num_rows * index["step"]
    return table.replace_schema_metadata({**told, _PANDAS: json.dumps(described).encode()})
