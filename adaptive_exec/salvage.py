"""Results that workers left on the disk, when they and their parent were killed at once.

Taken into the journal by the next run before it asks what is to be done, and at the end by each,
since a worker that was killed alone leaves its file too, though the journal has all of it.
"""

import glob
import os
from typing import Any, Final

from adaptive_exec.journal.book import Book
from adaptive_exec.journal.keys import KEY_BYTES
from adaptive_exec.journal.rows import Ended, RowPlace, write_rows
from adaptive_exec.levels.base import Failure
from adaptive_exec.levels.exchange import take_results
from adaptive_exec.levels.frames import Frame
from adaptive_exec.levels.heads import read_outcomes
from adaptive_exec.levels.remains import LEFT, read_records
from adaptive_exec.levels.wire import RESULTS, SKIPPED, VALUE
from adaptive_exec.system.locks import HAS_LOCKS, try_lock
from adaptive_exec.system.private import open_file

FILE_BYTES_MAX: Final = 1 << 30
"""Bytes of a file that are read; a worker writes for two seconds into one."""
_NO_KEY: Final = bytes(KEY_BYTES)
_CHUNK_FIELDS: Final = 2
"""Fields of a record that says which chunk was begun."""
_UNKNOWN_FUNCTION: Final = 0
"""The number of no function: a key holds which one it was, a worker's file does not."""


def take_up(book: Book, *, accuses: bool = True) -> None:
    """Write into the journal what dead workers left beside it, and remove their files.

    Args:
        book: The journal.
        accuses: Hold it against tasks that they ran when they and their program were killed.
    """
    if not HAS_LOCKS:
        return
    begun: dict[str, tuple[int, bytes]] = {}
    for path in glob.glob(f"{glob.escape(str(book.path))}{LEFT}*"):  # noqa: PTH207  # as texts
        number, names = _take_file(book, path)
        worker = path[: path.rindex("-")]  # two files are of one
        begun[worker] = max(begun.get(worker, (0, b"")), (number, names))
    if accuses:
        book.accuse([key for _, names in begun.values() if (key := _running(book, names))])


def clear_up(book: Book) -> None:
    """Take up what is left at the end of a program that is not killed, so that nobody is blamed."""
    take_up(book, accuses=False)


def _running(book: Book, names: bytes) -> bytes | None:
    """Return the task of a chunk that ran, the first without a result."""
    keys = [names[at : at + KEY_BYTES] for at in range(0, len(names), KEY_BYTES)]
    return next((key for key in book.lack(keys) if key is not None and key != _NO_KEY), None)


def _take_file(book: Book, path: str) -> tuple[int, bytes]:
    """Take one file up, unless its worker lives or it is not ours; return its last chunk."""
    begun = (0, b"")
    try:
        file = open_file(path, os.O_RDONLY)
    except OSError:  # somebody else's, or another one was first
        return begun
    try:
        if not try_lock(file, shared=True):
            return begun
        content = os.pread(file, min(os.fstat(file).st_size, FILE_BYTES_MAX), 0)
        begun = _take_records(book, content)
        if not book.trouble:
            os.unlink(path)  # noqa: PTH108  # a text
    except OSError:
        return begun  # a file system without locks, or read-only: what is there stays
    finally:
        os.close(file)
    return begun


def _take_records(book: Book, content: bytes) -> tuple[int, bytes]:
    begun = (0, b"")
    for record in read_records(content):
        if len(record) == _CHUNK_FIELDS:
            begun = record
            continue
        names = record[0]
        keys = [names[at : at + KEY_BYTES] for at in range(0, len(names), KEY_BYTES)]
        lacking = [None if key == _NO_KEY else key for key in book.lack(keys)]
        if any(lacking):
            _take_record(book, lacking, record)
    book.commit()
    book.refresh()
    return begun


def _take_record(book: Book, keys: list[bytes | None], record: tuple[Any, ...]) -> None:
    _, attempt, lengths, counts, statuses, details, body, buffers = record
    marks = statuses or bytes(len(keys))
    head = (RESULTS, 0, 0, len(keys), lengths, counts, statuses, details, None)
    try:
        values = _values(Frame(head, body, buffers))
    except Exception:  # noqa: BLE001  # unpickling runs the user's code; the tasks run again
        return
    # What was not run, and what cannot be unpacked here and now, is run again.
    keys = [
        None if mark == SKIPPED or (mark == VALUE and value.__class__ is Failure) else key
        for key, mark, value in zip(keys, marks, values, strict=True)
    ]
    failures = {at: value.error for at, value in enumerate(values) if value.__class__ is Failure}
    ended = Ended(keys, values, failures, details)
    write_rows(RowPlace(_UNKNOWN_FUNCTION, "process", 0, attempt), ended, book.add)


def _values(frame: Frame) -> list[Any]:
    told = read_outcomes(frame)
    missing = enumerate(told.statuses or ())
    refused = {at: Failure(KeyError()) for at, status in missing if status == SKIPPED}
    return take_results(frame, told, refused).values
