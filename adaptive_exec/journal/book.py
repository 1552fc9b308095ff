"""An executor's journal: what it reads before tasks run, and writes before results are delivered.

One `Book` per executor, used by the driver's thread and by whoever pulls input. Trouble with the
file ends the book, never the run: from then on every task is to be run, and nothing is written.
Decides nothing about tasks but whether their result is known.
"""

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from adaptive_exec.config import MIB
from adaptive_exec.journal.checks import explain
from adaptive_exec.journal.claims import Claims
from adaptive_exec.journal.keys import KEY_BYTES, FunctionName
from adaptive_exec.journal.lives import LIFE_SECONDS
from adaptive_exec.journal.rows import FoundRow, prepare, read_found
from adaptive_exec.journal.store import DONE, FAILED, Store, StoredRow
from adaptive_exec.system.identity import this_process

GROUP_SECONDS: Final = 0.1
"""Seconds that finished results may wait for the journal, so that many share a transaction."""
GROUP_BYTES_MAX: Final = 16 * MIB
"""Bytes of results in a transaction of the journal, from which it waits no longer."""
TRACE_SECONDS: Final = 10.0
"""Seconds after which a journal gets a new picture of its run; one takes 10 ms and 60 KB."""
FIRST_TRACE_SECONDS: Final = 1.0
"""Seconds after which it gets the first."""
COMMIT_SHARE: Final = 0.05
"""Share of the loop's time that writing groups into the journal may take where they may wait."""

RUN, KNOWN, AWAY = 0, 1, 2
"""What is to be done with a task: run it, take its result from the journal, or wait for the
instance that runs it."""
_OFFSET_BITS: Final = 16
"""Bits of a place that say which task of a row it is; a chunk has at most 16,384 tasks."""
_ROWS_KEPT: Final = 4
"""Rows that were read and may be wanted again, since neighbours lie in one row."""


class Book:
    """The journal of one executor.

    Args:
        path: The file; made if it is not there.
        retries_failed: Run again what failed in earlier runs.
        accepts_change: Use the results of functions whose source has changed since.

    Raises:
        JournalError: The journal cannot be used.
    """

    def __init__(
        self, path: Path, *, retries_failed: bool = False, accepts_change: bool = False
    ) -> None:
        self.path = path
        self.trouble = ""
        self.commit_at = float("inf")
        self._store = Store(path, this_process())
        self._claims = Claims(self._store)
        self._retries_failed = retries_failed
        self._accepts_change = accepts_change
        self._lock = threading.Lock()
        self._places: dict[bytes, int] = {}
        self._accused: dict[bytes, int] = {}
        self._functions: dict[bytes, int] = {}
        self._read_to = self._own_to = 0
        self._rows: OrderedDict[int, tuple[Any, ...]] = OrderedDict()
        self._group: list[StoredRow] = []
        self._group_bytes = 0
        self._commit_seconds = 0.0
        self._committed_at = 0.0
        self._life_at = time.monotonic() + LIFE_SECONDS
        self._is_closed = False
        self._trace_at = time.monotonic() + FIRST_TRACE_SECONDS
        self.before_close: Callable[[Book], object] | None = None
        self.make_trace: Callable[[], bytes] | None = None
        try:
            self._refresh()
        except sqlite3.Error as error:
            self._store.close()
            raise explain(path, error) from error

    @property
    def has_log(self) -> bool:
        """True with a write-ahead log, False with a rollback journal."""
        return self._store.has_log

    @property
    def file_system(self) -> str:
        """Type of the file system that the journal is on, `""` where unknown."""
        return self._store.file_system

    @property
    def known_tasks(self) -> int:
        """How many tasks had their result in the journal at the last look."""
        return len(self._places)

    def refresh(self) -> None:
        """Take in what was written until now, by this run's other batches too."""
        with self._lock:
            if not self.trouble:
                self._try(self._refresh)

    def enter_function(self, function: Callable[..., Any]) -> tuple[int, bytes]:
        """Return the id and the digest of a function.

        Raises:
            JournalError: Its source has changed since its results were written.
            TypeError: It has no content that a key could be made of.
        """
        name = FunctionName(function)
        with self._lock:
            number = self._functions.get(name.digest, 0)
            if self.trouble or number:
                return number, name.digest
            try:
                number = self._store.enter_function(
                    name.digest, name.text, name.source, accepts_change=self._accepts_change
                )
            except sqlite3.Error as error:
                self._fail(error)
            self._functions[name.digest] = number
        return number, name.digest

    def admit(self, keys: Sequence[bytes | None]) -> tuple[list[int], dict[int, FoundRow]]:
        """Say what is to be done with tasks, and claim those that are to be run here.

        Args:
            keys: The key of each, None for one without.

        Returns:
            The fate of each, and what is known of those KNOWN, by offset.
        """
        with self._lock:
            fates = [RUN] * len(keys)
            if self.trouble or not any(keys):
                return fates, {}
            self._try(lambda: self._sort(keys, fates))
            found = {}
            for offset in [at for at, fate in enumerate(fates) if fate == KNOWN]:
                known = self._find(keys[offset])
                if known is None:
                    fates[offset] = RUN
                else:
                    found[offset] = known
        return fates, found

    def look_again(self, keys: Mapping[int, bytes]) -> tuple[dict[int, FoundRow], list[int]]:
        """Look what has become of tasks that another instance runs.

        Args:
            keys: Their keys, by index.

        Returns:
            What is known of those that are done, and those that are to be run here now.
        """
        with self._lock:
            if self.trouble:
                return {}, list(keys)
            if not self._try(self._follow_if_changed):
                return {}, list(keys)
            waiting = [key for key in keys.values() if key not in self._places]
            is_one_done = len(waiting) < len(keys)
            free: list[bytes] = []
            if not self._try(lambda: free.extend(self._free(waiting))):
                return {}, list(keys)
        if not is_one_done and not free:
            return {}, []
        indices = list(keys)
        fates, found = self.admit([keys[index] for index in indices])
        freed = [index for index, fate in zip(indices, fates, strict=True) if fate == RUN]
        return {indices[offset]: known for offset, known in found.items()}, freed

    def read_said(self, place: tuple[int, int]) -> bytes | None:
        """Return what a task of this place has said, packed; None where that was not kept."""
        found: list[bytes | None] = [None]
        with self._lock:
            if not self.trouble:
                self._try(lambda: found.append(self._store.read_said(*place)))
        return found[-1]

    def lack(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return keys with None in the place of those whose result is known."""
        with self._lock:
            return [None if key in self._places else key for key in keys]

    def accuse(self, keys: Sequence[bytes]) -> None:
        """Hold it against tasks that they ran when their program was killed.

        Args:
            keys: Those without a result; what a living run has claimed is left to that.
        """
        with self._lock:
            if not self.trouble:
                self._try(lambda: self._accuse(keys))

    def times_accused(self, key: bytes) -> int:
        """Return how often a task ran when its program was killed."""
        return self._accused.get(key, 0)

    def add(self, row: StoredRow) -> None:
        """Put finished tasks into the group that is written next."""
        with self._lock:
            if self.trouble:
                return
            now = time.monotonic()
            if not self._group:
                wait = self._commit_seconds / COMMIT_SHARE
                self.commit_at = min(self._committed_at + wait, now + GROUP_SECONDS)
            self._group.append(row)
            self._group_bytes += _size_of(row)
            if self._group_bytes >= GROUP_BYTES_MAX:
                self.commit_at = now

    def commit(self) -> None:
        """Write the group; from then on its results outlive this process."""
        with self._lock:
            group, self._group = self._group, []
            self._group_bytes = 0
            self.commit_at = float("inf")
            if not group or self.trouble:
                return
            before = time.monotonic()
            self._try(lambda: self._write(group))
            self._committed_at = time.monotonic()
            self._commit_seconds = self._committed_at - before

    def show_life(self, now: float) -> None:
        """Leave a sign of life, for those who can see neither our process nor our lock."""
        if now >= self._trace_at:
            self._keep_trace()
        if now < self._life_at:
            return
        self._life_at = now + LIFE_SECONDS
        with self._lock:
            if not self.trouble:
                self._try(self._store.show_life)

    def close(self) -> None:
        """Write what is left, end this run, and close the file."""
        self.commit()
        if not self._is_closed:
            self._keep_trace()
        if self.before_close is not None and not self._is_closed:
            self.before_close(self)
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self.trouble = self.trouble or "it is closed"
                self._store.close()

    def _keep_trace(self) -> None:
        """Write what the run looked like until now, for who looks into the journal."""
        self._trace_at = time.monotonic() + TRACE_SECONDS
        if self.make_trace is None or self.trouble:
            return
        try:
            body = self.make_trace()
        except Exception:  # noqa: BLE001  # no memory, or it changed meanwhile: the next one will do
            return
        with self._lock:
            if not self.trouble:
                self._try(lambda: self._store.keep_trace(body))

    # with the lock held

    def _try(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: Exception) -> None:
        self.trouble = str(explain(self.path, error))

    def _refresh(self) -> None:
        """Take in everything that was written, by this run too."""
        for number, keys, marks in self._store.keys_after(self._own_to, of_others=False):
            self._take_in(number, keys, marks)
            self._own_to = number
        self._read_to = max(self._read_to, self._own_to)
        self._claims.follow(KEY_BYTES)
        self._claims.clear_gone()

    def _accuse(self, keys: Sequence[bytes]) -> None:
        if keys:
            with self._store.transaction():
                self._claims.follow(KEY_BYTES)
                free = [key for key in keys if not self._claims.is_held(key)]
                self._store.accuse(free)
        self._accused = self._store.accused()

    def _follow(self) -> None:
        """Take in what others have written since the last time."""
        self._claims.follow(KEY_BYTES)
        for number, keys, marks in self._store.keys_after(self._read_to, of_others=True):
            self._take_in(number, keys, marks)
            self._read_to = number

    def _free(self, keys: Sequence[bytes]) -> list[bytes]:
        """Return those of some keys that no living run has claimed."""
        free = [key for key in keys if not self._claims.is_held(key)]
        self._claims.clear_gone()
        return free

    def _follow_if_changed(self) -> None:
        if self._store.has_changed():
            self._follow()

    def _take_in(self, number: int, keys: bytes, marks: bytes) -> None:
        for offset, mark in enumerate(marks):
            key = keys[offset * KEY_BYTES : (offset + 1) * KEY_BYTES]
            if mark == DONE or (mark == FAILED and not self._retries_failed):
                self._places[key] = number << _OFFSET_BITS | offset
            else:
                self._places.pop(key, None)
        self._claims.forget(keys, KEY_BYTES)

    def _sort(self, keys: Sequence[bytes | None], fates: list[int]) -> None:
        """Find the fate of tasks, and claim those to be run, in one transaction."""
        store = self._store
        with store.transaction():
            if store.has_changed():
                self._follow()
            mine = []
            for offset, key in enumerate(keys):
                if key is None:
                    continue
                if key in self._places:
                    fates[offset] = KNOWN
                elif self._claims.is_held(key):
                    fates[offset] = AWAY
                else:
                    mine.append(key)
            if mine:
                store.add_claim(b"".join(mine))

    def _find(self, key: bytes | None) -> FoundRow | None:
        """Read what is known of a task; None when it cannot be read, so that the task runs."""
        assert key is not None, "what is known has a key"
        place = self._places[key]
        number, offset = place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1)
        try:
            return read_found(self._store, self._row(number), number, offset)
        except Exception:  # noqa: BLE001  # unpickling runs the user's code, which may have changed since
            del self._places[key]
            return None

    def _row(self, number: int) -> tuple[Any, ...]:
        row = self._rows.get(number)
        if row is None:
            row = self._rows[number] = prepare(self._store.read_row(number))
            if len(self._rows) > _ROWS_KEPT:
                self._rows.popitem(last=False)
        return row

    def _write(self, group: list[StoredRow]) -> None:
        with self._store.transaction():
            self._store.add_rows(group)


def _size_of(row: StoredRow) -> int:
    outlying = sum(memoryview(part.body).nbytes for _, part in row.outlying)
    return len(row.body) + outlying + sum(len(said) for _, said in row.said or ())
