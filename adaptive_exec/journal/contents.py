"""What is inside a journal: how many tasks, what became of them, what they took; one by one, too.

Reads only. A task that was run more than once counts by its last outcome.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adaptive_exec.core.report import FailureKind
from adaptive_exec.errors import JournalError, traceback_of
from adaptive_exec.journal.checks import explain
from adaptive_exec.journal.keys import KEY_BYTES
from adaptive_exec.journal.lives import Lives
from adaptive_exec.journal.rows import prepare, read_found
from adaptive_exec.journal.store import DONE, FAILED, UNKEPT, Store
from adaptive_exec.program.captured import unpack_said

_UNSAID = (None, None, None)
_WORDS = {DONE: "done", FAILED: "failed", UNKEPT: "not kept"}


@dataclass(frozen=True, slots=True)
class ContentEntry:
    """One task in a journal.

    Attributes:
        key: Its key, in hexadecimal digits.
        function: The name of its function.
        status: `"done"`, `"failed"`, or `"not kept"` for a value that could not be stored.
        value: What it returned; None where it failed, was not kept, or cannot be read here.
        cause: Type and message of what it failed with; None where it has a value.
        wall_seconds: Duration; None where unknown.
        cpu_seconds: Processor time; None where unknown.
        peak_bytes: Growth of its worker's memory; None where unknown.
        attempt: The how-manieth execution it was.
        level: Where it ran.
        worker: Which worker there.
        at: Unix seconds at which it was written.
        stdout: What it printed, where that was kept (`capture`); else None.
        stderr: What it wrote to standard error, in the same way.
        log: The messages of its log records, one in a line, in the same way.
    """

    key: str
    function: str
    status: str
    value: Any
    cause: str | None
    wall_seconds: float | None
    cpu_seconds: float | None
    peak_bytes: int | None
    attempt: int
    level: str
    worker: int
    at: float
    stdout: str | None = None
    stderr: str | None = None
    log: str | None = None


@dataclass(slots=True)
class JournalSummary:
    """All tasks of a journal together.

    Attributes:
        functions: How many tasks each function has.
        statuses: How many tasks have which status.
        causes: How many failed with which type of exception.
        levels: How many ran where.
        wall_seconds: Sum of their durations.
        longest_seconds: The longest.
        peak_bytes: The highest growth of memory, None where none is known.
        runs: How many runs have written into it.
        live_runs: How many of them still live, or are not proved to be gone.
    """

    functions: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)
    wall_seconds: float = 0.0
    longest_seconds: float = 0.0
    peak_bytes: int | None = None
    runs: int = 0
    live_runs: int = 0

    def add(self, entry: ContentEntry) -> None:
        """Count a task."""
        self.functions[entry.function] += 1
        self.statuses[entry.status] += 1
        self.levels[entry.level or "none"] += 1
        if entry.status == "failed" and entry.cause:
            self.causes[entry.cause.partition(":")[0]] += 1
        self.wall_seconds += entry.wall_seconds or 0.0
        self.longest_seconds = max(self.longest_seconds, entry.wall_seconds or 0.0)
        if entry.peak_bytes is not None:
            self.peak_bytes = max(entry.peak_bytes, self.peak_bytes or 0)


class Contents:
    """A journal that is looked into.

    Args:
        path: The file.

    Raises:
        JournalError: There is no journal, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = Store(path, None, is_reader=True)

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def summary(self) -> JournalSummary:
        """Sum all tasks up, without reading their values."""
        summary = JournalSummary()
        for entry in self.entries(with_values=False):
            summary.add(entry)
        runs = self._store.open_runs()
        gone = Lives(self._path, has_locks=self._store.has_locks).find_gone(runs)
        summary.runs = self._store.count_runs()
        summary.live_runs = len(runs) - len(gone)
        return summary

    def entries(self, *, with_values: bool) -> Iterator[ContentEntry]:
        """Yield the tasks in the order in which they were written.

        Args:
            with_values: False to leave the values out, which are then None.

        Raises:
            JournalError: The file is damaged.
        """
        try:
            functions, last = self._store.functions(), self.last_rows()
            for number in self._store.row_numbers():
                row = self._store.read_row(number)
                yield from self._entries_of(number, row, functions, last, with_values=with_values)
        except sqlite3.Error as error:
            raise explain(self._path, error) from error

    def failures(self) -> list[FailureKind]:
        """Return what tasks failed with, by type, with the traceback of the first of each.

        Raises:
            JournalError: The file is damaged.
        """
        found: dict[str, FailureKind] = {}
        try:
            last = self.last_rows()
            for number in self._store.row_numbers():
                row = self._store.read_row(number)
                if FAILED in row[6]:
                    self._add_failures(found, number, row, last)
        except sqlite3.Error as error:
            raise explain(self._path, error) from error
        return list(found.values())

    def _add_failures(
        self,
        found: dict[str, FailureKind],
        number: int,
        row: tuple[Any, ...],
        last: dict[bytes, int],
    ) -> None:
        keys, marks = row[5], row[6]
        prepared = prepare(row)
        for offset in [at for at, mark in enumerate(marks) if mark == FAILED]:
            if last.get(keys[offset * KEY_BYTES : (offset + 1) * KEY_BYTES], number) != number:
                continue
            kind, _, text = str(prepared[3][offset][3] or "unknown").partition(": ")
            known = found.get(kind)
            if known is None:
                found[kind] = FailureKind(kind, 1, text, self._story(prepared, number, offset))
            else:
                found[kind] = known._replace(count=known.count + 1)

    def _story(self, prepared: tuple[Any, ...], number: int, offset: int) -> str:
        """Return the traceback of a failed task, `""` where it cannot be read here."""
        try:
            error = read_found(self._store, prepared, number, offset).error
        except sqlite3.Error:
            raise
        except Exception:  # noqa: BLE001  # its class may not be importable here
            return ""
        if error is None:
            return ""
        return str(getattr(error, "stack", "")) or traceback_of(error)

    def pictures(self) -> list[tuple[int, float, bytes]]:
        """Return run, Unix seconds and packed report of what runs looked like, the latest last.

        Raises:
            JournalError: The file is damaged.
        """
        try:
            return self._store.read_traces()
        except sqlite3.Error as error:
            raise explain(self._path, error) from error

    def last_rows(self) -> dict[bytes, int]:
        """Return the row that has each key last."""
        last: dict[bytes, int] = {}
        for number, keys, _ in self._store.keys_after(0, of_others=False):
            for at in range(0, len(keys), KEY_BYTES):
                last[keys[at : at + KEY_BYTES]] = number
        return last

    def _entries_of(
        self,
        number: int,
        row: tuple[Any, ...],
        functions: dict[int, str],
        last: dict[bytes, int],
        *,
        with_values: bool,
    ) -> Iterator[ContentEntry]:
        function, level, worker, attempt, at, keys, marks, *_ = row
        prepared = prepare(row)
        for offset, mark in enumerate(marks):
            key = keys[offset * KEY_BYTES : (offset + 1) * KEY_BYTES]
            if last.get(key, number) != number:  # it may have come after the look at all keys
                continue
            *detail, cause = prepared[3][offset]
            is_read = with_values and mark == DONE
            value = self._read(prepared, number, offset) if is_read else None
            said = self._read_said(number, offset) if with_values else _UNSAID
            name = functions.get(function, "")
            common = (*detail, attempt, level, worker, at, *said)
            yield ContentEntry(key.hex(), name, _WORDS[mark], value, cause, *common)

    def _read_said(self, number: int, offset: int) -> tuple[str | None, str | None, str | None]:
        packed = self._store.read_said(number, offset)
        if packed is None:
            return _UNSAID
        try:
            out, err, records = unpack_said(packed)
            return out, err, "\n".join(record.getMessage() for record in records)
        except Exception:  # noqa: BLE001  # a message's own formatting may raise anything
            return _UNSAID

    def _read(self, prepared: tuple[Any, ...], number: int, offset: int) -> Any:
        try:
            return read_found(self._store, prepared, number, offset).value
        except sqlite3.Error:
            raise
        except Exception:  # noqa: BLE001  # its class may not be importable here
            return None


def count_kept(path: Path) -> int:
    """Count the tasks of which a journal has a result.

    Args:
        path: The file.

    Returns:
        How many; 0 where it cannot be read.
    """
    try:
        contents = Contents(path)
    except JournalError:
        return 0
    try:
        return len(contents.last_rows())
    except sqlite3.Error:
        return 0
    finally:
        contents.close()
