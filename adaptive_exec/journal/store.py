"""The journal's file: tables of SQLite, and the statements that read and write them.

Finished tasks are appended in rows of neighbours that came together, since a row for each would
cost 30 us (an index in the order of content keys dirties a page per task), and a group of rows is
one transaction. The write-ahead log is used where it can be, a rollback journal elsewhere. Nothing
here knows of batches, and nothing is ever changed but claims and signs of life.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from adaptive_exec.errors import JournalError
from adaptive_exec.journal.checks import APPLICATION_ID, FORMAT, explain, look_at
from adaptive_exec.journal.lives import JournalRun, hold_lock, remove_locks
from adaptive_exec.journal.mounts import file_system_of, is_network
from adaptive_exec.journal.values import Part
from adaptive_exec.system.identity import Identity

BUSY_SECONDS: Final = 10.0
"""Seconds to wait for another instance that writes into the same journal; a group takes 1 ms."""

DONE, FAILED, UNKEPT = 1, 2, 3
"""What became of a task: it has its value, its exception, or a value that could not be stored."""

_SCHEMA: Final = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (id INTEGER PRIMARY KEY, machine TEXT NOT NULL, boot TEXT NOT NULL,
    space TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL, began REAL NOT NULL,
    beat INTEGER NOT NULL, ended REAL);
CREATE TABLE functions (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
    source BLOB NOT NULL);
CREATE TABLE claims (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, keys BLOB NOT NULL);
CREATE TABLE results (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, function INTEGER NOT NULL,
    at REAL NOT NULL, level TEXT NOT NULL, worker INTEGER NOT NULL, attempt INTEGER NOT NULL,
    keys BLOB NOT NULL, marks BLOB NOT NULL, facts BLOB NOT NULL, lengths BLOB, body BLOB NOT NULL);
CREATE TABLE outlying (row INTEGER NOT NULL, task INTEGER NOT NULL, place INTEGER NOT NULL,
    part INTEGER NOT NULL, codec INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (row, task, place, part)) WITHOUT ROWID;
"""
_ACCUSED: Final = """
CREATE TABLE IF NOT EXISTS accused (key BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID
"""
"""Tasks that ran when their program was killed, and how often; made when there is one."""
_SAID: Final = """
CREATE TABLE IF NOT EXISTS said (row INTEGER NOT NULL, task INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (row, task)) WITHOUT ROWID
"""
"""What tasks of a row have said, where that was kept; those that are not there were silent. Made
when there is some."""
_KEPT: Final = -1
"""Stands in the place of a task: what those of this row have said was kept."""
_TRACES: Final = """
CREATE TABLE IF NOT EXISTS traces (run INTEGER PRIMARY KEY, at REAL NOT NULL, body BLOB NOT NULL)
"""
"""What each run looked like, packed, of the last TRACES_KEPT runs; made when there is one."""
TRACES_KEPT: Final = 20
"""Runs on a journal of which a picture is kept; one takes some 60 KB."""
_FROM_FORMAT_1: Final = (
    "ALTER TABLE runs RENAME COLUMN host TO machine",
    "ALTER TABLE runs RENAME COLUMN seen TO beat",
)
"""The first format named a machine by its host name, and dated signs of life by its clock."""


@dataclass(slots=True)
class StoredRow:
    """Finished tasks that came together.

    Attributes:
        function: Id of their function.
        level: Where they ran.
        worker: Which worker there.
        attempt: The how-manieth execution it was.
        keys: Their keys, one after the other.
        marks: DONE, FAILED or UNKEPT for each.
        facts: By marshal: a list of (wall seconds, cpu seconds, peak bytes, cause) for each.
        lengths: By marshal: bytes of each pickle in `body`, -1 where it lies out of line; None when
            `body` is one pickle of all values.
        body: The pickles.
        outlying: Parts that lie out of line, each with the place of its task in the row.
        said: What tasks have said, each with its place in the row; None where that is not kept.
    """

    function: int
    level: str
    worker: int
    attempt: int
    keys: bytes
    marks: bytes
    facts: bytes
    lengths: bytes | None
    body: bytes
    outlying: list[tuple[int, Part]] = field(default_factory=list)
    said: list[tuple[int, bytes]] | None = None


class Store:
    """An open journal. Not for several threads at a time: its owner holds a lock.

    Args:
        path: The file; made if it is not there.
        process: Who opens it to run tasks; None for who does not.
        is_reader: True to look only: nothing is made or changed.

    Raises:
        JournalError: It cannot be used; the error says why and how to go on.
    """

    def __init__(self, path: Path, process: Identity | None, *, is_reader: bool = False) -> None:
        self.path = path
        is_there = look_at(path)
        if is_reader and not is_there:
            raise JournalError(str(path), "absent", "there is no journal")
        self.file_system = file_system_of(path.parent)
        self.has_log = not is_network(self.file_system)
        self._version = -1
        self._life = -1
        self.run = 0
        try:
            self._open(is_reader=is_reader)
            if process is not None and not is_reader:
                self._enter(process)
        except (sqlite3.Error, OSError) as error:
            self._abandon()
            raise explain(path, error) from error

    def _open(self, *, is_reader: bool) -> None:
        if is_reader:
            self._base = _connect_to_read(self.path)
            return
        self._base = _connect(str(self.path))
        if not self._base.execute("PRAGMA application_id").fetchone()[0]:
            self._make()
        if self._format() < FORMAT:
            self._convert()
        wanted = "wal" if self.has_log else "delete"
        (mode,) = self._base.execute(f"PRAGMA journal_mode = {wanted}").fetchone()
        self.has_log = mode == "wal"
        # With the log a crash of the host may cost the last groups, never the file; without it
        # each group is on the disk before it is delivered.
        self._base.execute(f"PRAGMA synchronous = {'NORMAL' if self.has_log else 'FULL'}")

    def _make(self) -> None:
        """Make the tables; the file's header is on the disk before any log is."""
        with self.transaction():
            if self._base.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
                return  # another instance was first
            for statement in _SCHEMA.split(";"):
                self._base.execute(statement)
            self._base.execute(f"PRAGMA user_version = {FORMAT}")
            self._base.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _format(self) -> int:
        (version,) = self._base.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _convert(self) -> None:
        """Bring the tables of an earlier format into the present one."""
        with self.transaction():
            if self._format() < FORMAT:  # else another instance was first
                for statement in _FROM_FORMAT_1:
                    self._base.execute(statement)
                self._base.execute(f"PRAGMA user_version = {FORMAT}")

    def _enter(self, process: Identity) -> None:
        """Become a run; its file is locked before anybody can know of it."""
        facts = (*process[:4], str(process.started), time.time())
        with self.transaction():
            row = self._base.execute(
                "INSERT INTO runs (machine, boot, space, pid, started, began, beat) "
                "VALUES (?, ?, ?, ?, ?, ?, 0)",
                facts,
            )
            assert row.lastrowid is not None, "a row was inserted"
            self.run = row.lastrowid
            if self.has_locks:
                self._life = hold_lock(self.path, self.run)

    @property
    def has_locks(self) -> bool:
        """True where all who use the journal see one another's locks, so not over a network."""
        return not is_network(self.file_system)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all or nothing, with nobody else writing meanwhile."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite may have taken it back itself
                self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    def has_changed(self) -> bool:
        """Say whether another connection has written since the last time this was asked."""
        (version,) = self._base.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return bool(version != before)

    # what the journal is about

    def about(self) -> dict[str, str]:
        """Return what the journal says of itself."""
        return dict(self._base.execute("SELECT name, value FROM about"))

    def set_about(self, name: str, value: str | None) -> None:
        """Note something about the journal; None forgets it."""
        with self.transaction():
            if value is None:
                self._base.execute("DELETE FROM about WHERE name = ?", (name,))
            else:
                self._base.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    def enter_function(
        self, digest: bytes, name: str, source: bytes, *, accepts_change: bool
    ) -> int:
        """Return the id of a function, entering it if it is new.

        Raises:
            JournalError: Its source is not what it was when its results were written.
        """
        with self.transaction():
            known = self._base.execute(
                "SELECT id, source FROM functions WHERE digest = ?", (digest,)
            ).fetchone()
            if known is None:
                row = self._base.execute(
                    "INSERT INTO functions (digest, name, source) VALUES (?, ?, ?)",
                    (digest, name, source),
                )
                assert row.lastrowid is not None, "a row was inserted"
                return row.lastrowid
            number, before = known
            if before != source:
                if not accepts_change:
                    raise JournalError(str(self.path), "changed", f"the source of {name} is new")
                self._base.execute("UPDATE functions SET source = ? WHERE id = ?", (source, number))
            return int(number)

    def functions(self) -> dict[int, str]:
        """Return the functions' names, by id."""
        return dict(self._base.execute("SELECT id, name FROM functions"))

    # runs

    def open_runs(self) -> dict[int, JournalRun]:
        """Return the runs that have not ended, but for this one."""
        # All columns, since the first format gave two of them other names.
        rows = self._base.execute("SELECT * FROM runs WHERE ended IS NULL AND id != ?", (self.run,))
        return {row[0]: _as_run(row) for row in rows}

    def count_runs(self) -> int:
        """Return how many runs have ever used the journal."""
        (count,) = self._base.execute("SELECT count(*) FROM runs").fetchone()
        return int(count)

    def show_life(self) -> None:
        """Leave a sign of life; who was taken as gone is there again."""
        with self.transaction():
            self._base.execute(
                "UPDATE runs SET beat = beat + 1, ended = NULL WHERE id = ?", (self.run,)
            )

    def end_runs(self, runs: list[int]) -> None:
        """Note that runs are over, and forget what they had claimed."""
        now = time.time()
        with self.transaction():
            self.drop_claims(runs)
            self._base.executemany(
                "UPDATE runs SET ended = ? WHERE id = ? AND ended IS NULL",
                [(now, run) for run in runs],
            )
        remove_locks(self.path, runs)

    # the accused

    def accuse(self, keys: list[bytes]) -> None:
        """Note that tasks ran when their program was killed; inside a transaction."""
        self._base.execute(_ACCUSED)
        self._base.executemany(
            "INSERT INTO accused VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET times = times + 1",
            [(key,) for key in keys],
        )

    def accused(self) -> dict[bytes, int]:
        """Return the tasks that ran when their program was killed, and how often that was."""
        if not self._has_table("accused"):
            return {}
        return dict(self._base.execute("SELECT key, times FROM accused"))

    # claims

    def add_claim(self, keys: bytes) -> None:
        """Claim tasks for this run; inside a transaction."""
        self._base.execute("INSERT INTO claims (run, keys) VALUES (?, ?)", (self.run, keys))

    def claims_after(self, number: int) -> list[tuple[int, int, bytes]]:
        """Return id, run and keys of the claims of others that came after one."""
        return self._base.execute(
            "SELECT id, run, keys FROM claims WHERE id > ? AND run != ? ORDER BY id",
            (number, self.run),
        ).fetchall()

    def drop_claims(self, runs: list[int]) -> None:
        """Forget the claims of runs that are over; inside a transaction."""
        self._base.executemany("DELETE FROM claims WHERE run = ?", [(run,) for run in runs])

    # results

    def add_rows(self, rows: list[StoredRow]) -> None:
        """Write rows; inside a transaction."""
        now = time.time()
        for row in rows:
            values = (row.function, now, row.level, row.worker, row.attempt)
            blobs = (row.keys, row.marks, row.facts, row.lengths, row.body)
            number = self._base.execute(_INSERT_RESULTS, (self.run, *values, *blobs)).lastrowid
            if row.outlying:
                self._base.executemany(
                    "INSERT INTO outlying VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (number, task, part.place, part.number, part.codec, part.body)
                        for task, part in row.outlying
                    ],
                )
            if row.said is not None:
                self._base.execute(_SAID)
                self._base.executemany(
                    "INSERT INTO said VALUES (?, ?, ?)",
                    [(number, task, body) for task, body in ((_KEPT, b""), *row.said)],
                )

    def keys_after(self, number: int, *, of_others: bool) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield id, keys and marks of the rows that came after one."""
        mine = self.run if of_others else -1
        yield from self._base.execute(
            "SELECT id, keys, marks FROM results WHERE id > ? AND run != ? ORDER BY id",
            (number, mine),
        )

    def read_row(self, number: int) -> tuple[Any, ...]:
        """Return function, level, worker, attempt, at, keys, marks, facts, lengths and body."""
        row: tuple[Any, ...] = self._base.execute(_SELECT_RESULTS, (number,)).fetchone()
        return row

    def row_numbers(self) -> list[int]:
        """Return the ids of all rows."""
        return [number for (number,) in self._base.execute("SELECT id FROM results ORDER BY id")]

    def read_outlying(self, row: int, task: int) -> list[tuple[int, int, bytes]]:
        """Return place, codec and bytes of what of a task lies out of line, in order."""
        return self._base.execute(
            "SELECT place, codec, body FROM outlying WHERE row = ? AND task = ? "
            "ORDER BY place, part",
            (row, task),
        ).fetchall()

    def read_said(self, row: int, task: int) -> bytes | None:
        """Return what a task has said, packed; None where that was not kept."""
        if not self._has_table("said"):
            return None
        found = dict(
            self._base.execute(
                "SELECT task, body FROM said WHERE row = ? AND task IN (?, ?)", (row, _KEPT, task)
            )
        )
        return found.get(task, b"") if found else None

    def _has_table(self, name: str) -> bool:
        known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return self._base.execute(known, (name,)).fetchone() is not None

    # what runs looked like

    def keep_trace(self, body: bytes) -> None:
        """Keep what this run looks like, in the place of what it looked like before."""
        with self.transaction():
            self._base.execute(_TRACES)
            values = (self.run, time.time(), body)
            self._base.execute("INSERT OR REPLACE INTO traces VALUES (?, ?, ?)", values)
            oldest = (self.run - TRACES_KEPT,)
            self._base.execute("DELETE FROM traces WHERE run <= ?", oldest)

    def read_traces(self) -> list[tuple[int, float, bytes]]:
        """Return run, Unix seconds and body of what is kept, the latest run last."""
        if not self._has_table("traces"):
            return []
        return self._base.execute("SELECT run, at, body FROM traces ORDER BY run").fetchall()

    # the end

    def close(self) -> None:
        """End this run and close the file; what was claimed and not done is free again."""
        with suppress(sqlite3.Error):  # a full disk: the claims are free with the process
            if self.run:
                self.end_runs([self.run])
        self._abandon()

    def _abandon(self) -> None:
        if self._life >= 0:
            os.close(self._life)
            self._life = -1
        base = getattr(self, "_base", None)
        if base is not None:
            with suppress(sqlite3.Error):
                base.close()


_INSERT_RESULTS: Final = (
    "INSERT INTO results (run, function, at, level, worker, attempt, keys, marks, facts, lengths, "
    "body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SELECT_RESULTS: Final = (
    "SELECT function, level, worker, attempt, at, keys, marks, facts, lengths, body FROM results "
    "WHERE id = ?"
)


def _as_run(row: tuple[Any, ...]) -> JournalRun:
    _, machine, boot, space, pid, started, _, beat, _ = row
    ticks = int(started) if str(started).isdecimal() else 0
    return JournalRun(Identity(machine, boot, space, pid, ticks), int(beat))


def _connect(name: str, *, is_uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(
        name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=is_uri
    )


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Open to read.

    Where there is no log, opening makes one, and only who may write takes it away again at the end.
    In a folder that cannot be written no index of the log can be made: there as a file that nobody
    changes.
    """
    has_log = path.with_name(f"{path.name}-wal").exists()
    for how in ("mode=ro" if has_log else "mode=rw", "immutable=1"):
        base = _connect(f"{path.absolute().as_uri()}?{how}", is_uri=True)
        try:
            base.execute("PRAGMA query_only = ON")
            base.execute("SELECT count(*) FROM about").fetchone()
        except sqlite3.OperationalError:
            base.close()
            if how == "immutable=1":
                raise
        else:
            return base
    raise AssertionError
