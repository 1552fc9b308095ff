"""The part of an output: rows as they come, for whoever looks meanwhile, and after a kill.

Holds a bounded buffer and writes whole lines; of CSV, a row with a column that was not there before
makes the part anew with one more. When a run ends well the output itself takes the part's place.
"""

import csv
import io
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from adaptive_exec.cards.cells import Cell, Row

PART_SUFFIX: Final = ".part"
"""What the name of an output's part ends in."""
PART_BYTES: Final = 256 * 1024
"""Bytes of rows that wait to be written at once."""


class LivePart:
    """The part of one output.

    Args:
        output: The output; of Parquet the part is JSON lines, since a cut-off file has no footer.
        key: The first column.
        flush_seconds: How long a row may wait; it is written with the next one after that.
    """

    def __init__(self, output: Path, key: str, flush_seconds: float) -> None:
        self.path = part_of(output)
        self._is_csv = output.suffix.lower() == ".csv"
        self._columns = [key]
        self._flush_seconds = flush_seconds
        self._lines: list[bytes] = []
        self._size = 0
        self._file = self.path.open("wb", buffering=0)
        self._flushed_at = time.monotonic()
        if self._is_csv:
            self._keep(_csv_line(self._header))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, row: Row) -> None:
        """Take a row, and write what has waited long enough or is much."""
        if self._is_csv:
            new = [name for name in row if name not in self._columns and name != "error"]
            if new:
                self._widen(new)
            self._keep(_csv_line([row.get(name) for name in self._header]))
        else:
            self._keep(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        is_late = time.monotonic() - self._flushed_at >= self._flush_seconds
        if is_late or self._size >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        text = memoryview(b"".join(self._lines))
        while text:
            text = text[self._file.write(text) :]
        self._lines, self._size = [], 0
        self._flushed_at = time.monotonic()

    def close(self) -> None:
        """Write what waits, and close the file, which stays."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def drop(self) -> None:
        """Remove the part: the output is there."""
        self._lines = []
        self.close()
        self.path.unlink(missing_ok=True)

    @property
    def _header(self) -> list[str]:
        return [*self._columns, "error"]

    def _keep(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)

    def _widen(self, new: list[str]) -> None:
        """Write the part anew with more columns."""
        self.close()
        before = self._header
        self._columns += new
        wider = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with (
                self.path.open(encoding="utf-8", newline="") as old,
                wider.open("wb", buffering=PART_BYTES) as file,
            ):
                file.write(_csv_line(self._header))
                records = csv.reader(old)
                next(records, None)
                for record in records:
                    row = dict(zip(before, record, strict=True))
                    file.write(_csv_line([row.get(name) for name in self._header]))
            wider.replace(self.path)
        finally:
            wider.unlink(missing_ok=True)
            self._file = self.path.open("ab", buffering=0)


def part_of(output: Path) -> Path:
    """Return where the part of an output lies.

    >>> part_of(Path("a/out.csv")).name, part_of(Path("out.parquet")).name
    ('out.csv.part', 'out.parquet.part.jsonl')
    """
    more = ".jsonl" if output.suffix.lower() in {".parquet", ".pq"} else ""
    return output.with_name(output.name + PART_SUFFIX + more)


def _csv_line(cells: Sequence[Cell]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
