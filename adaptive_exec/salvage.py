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
_UNKNOWN_FUNCTION: Final = 0
"""The number of no function: a key holds which one it was, a worker's file does not."""


def take_up(book: Book) -> None:
    """Write into the journal what dead workers left beside it, and remove their files.

    Args:
        book: The journal.
    """
    if not HAS_LOCKS:
        return
    for path in glob.glob(f"{glob.escape(str(book.path))}{LEFT}*"):  # noqa: PTH207  # as texts
        _take_file(book, path)


def _take_file(book: Book, path: str) -> None:
    """Take one file up, unless its worker lives or it is not ours."""
    try:
        file = open_file(path, os.O_RDONLY)
    except OSError:  # somebody else's, or another one was first
        return
    try:
        if not try_lock(file, shared=True):
            return
        _take_records(book, os.pread(file, min(os.fstat(file).st_size, FILE_BYTES_MAX), 0))
        if not book.trouble:
            os.unlink(path)  # noqa: PTH108  # a text
    except OSError:
        return  # a file system without locks, or read-only: what is there stays
    finally:
        os.close(file)


def _take_records(book: Book, content: bytes) -> None:
    for record in read_records(content):
        names = record[0]
        keys = [names[at : at + KEY_BYTES] for at in range(0, len(names), KEY_BYTES)]
        lacking = [None if key == _NO_KEY else key for key in book.lack(keys)]
        if any(lacking):
            _take_record(book, lacking, record)
    book.commit()
    book.refresh()


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
