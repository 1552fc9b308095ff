"""The part of an output: rows as they come, for whoever looks meanwhile, and after a kill.

Holds a bounded buffer and writes whole lines, in time also while no row comes; of CSV, a row with
a column that was not there before makes the part anew with one more. When a run ends well the
output itself takes the part's place.
"""

import csv
import io
import json
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from adaptive_exec.cards.cells import Cell, Row
from adaptive_exec.cards.tables import FIELD_BYTES_MAX

PART_SUFFIX: Final = ".part"
"""What the name of an output's part ends in."""
PART_BYTES: Final = 256 * 1024
"""Bytes of rows that wait to be written at once."""
TICK_SECONDS: Final = 0.02
"""Seconds between two looks at whether rows wait, at least."""
JOIN_SECONDS: Final = 5.0
"""Seconds that the end of a part waits for the thread that writes in time."""


class LivePart:
    """The part of one output.

    Args:
        output: The output; of Parquet the part is JSON lines, since a cut-off file has no footer.
        key: The first column.
        flush_seconds: How long a row may wait. The thread that sees to it begins with the first
            row: workers were forked then, and it is in none of them.
    """

    def __init__(self, output: Path, key: str, flush_seconds: float) -> None:
        self.path = part_of(output)
        self._is_csv = output.suffix.lower() == ".csv"
        self._columns = [key]
        self._wait_seconds = max(TICK_SECONDS, flush_seconds)
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None
        self._lines: list[bytes] = []
        self._size = 0
        self._file = self.path.open("wb", buffering=0)
        if self._is_csv:
            csv.field_size_limit(FIELD_BYTES_MAX)
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
        """Take a row, and write what waits where it is much."""
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._write_in_time, daemon=True)
            with suppress(RuntimeError, MemoryError):  # no thread to be had: rows wait for others
                self._ticker.start()
        with self._lock:
            if self._is_csv:
                new = [name for name in row if name not in self._columns and name != "error"]
                if new:
                    self._widen(new)
                self._keep(_csv_line([row.get(name) for name in self._header]))
            else:
                self._keep(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            if self._size >= PART_BYTES:
                self._flush()

    def close(self) -> None:
        """Write what waits, and close the file, which stays."""
        self._over.set()
        if self._ticker is not None and self._ticker.is_alive():
            self._ticker.join(JOIN_SECONDS)
        with self._lock:
            self._close()

    def drop(self) -> None:
        """Remove the part: the output is there."""
        with self._lock:
            self._lines = []
        self.close()
        self.path.unlink(missing_ok=True)

    @property
    def _header(self) -> list[str]:
        return [*self._columns, "error"]

    def _write_in_time(self) -> None:
        while not self._over.wait(self._wait_seconds):
            with (
                self._lock,
                suppress(OSError),
            ):  # a full disk is met again by whoever adds or closes
                self._flush()

    def _flush(self) -> None:
        if self._file.closed:
            return
        text = b"".join(self._lines)
        self._lines, self._size = [text], len(text)
        while self._lines[0]:
            self._lines[0] = self._lines[0][self._file.write(self._lines[0]) :]
        self._lines, self._size = [], 0

    def _close(self) -> None:
        try:
            self._flush()
        finally:
            self._file.close()

    def _keep(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)

    def _widen(self, new: list[str]) -> None:
        """Write the part anew with more columns."""
        self._close()
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
