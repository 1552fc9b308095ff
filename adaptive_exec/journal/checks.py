"""What lies where a journal shall be: nothing, a journal, or something that must not be touched.

Looks at the file before SQLite does, so that a foreign file is never opened for writing. What is
wrong is a `JournalError` that says how to go on.
"""

import glob
import sqlite3
from pathlib import Path
from struct import Struct
from typing import Final

from adaptive_exec.errors import JournalError

APPLICATION_ID: Final = 0x61457831
"""`aEx1`, in the place that SQLite gives to applications. Source: sqlite.org/fileformat.html."""
FORMAT: Final = 2
"""The version of the tables; raised by a change that older versions cannot read."""

_MAGIC: Final = b"SQLite format 3\0"
_HEAD_BYTES: Final = 100
"""Bytes of the head of a database. Source: SQLite's file format, "The Database Header"."""
_PAGE_BYTES: Final = Struct(">H")
_NUMBER: Final = Struct(">I")
_PAGE_BYTES_AT, _PAGES_AT, _FORMAT_AT, _APPLICATION_AT = 16, 28, 60, 68
"""Where the numbers stand in the first page. Source: sqlite.org/fileformat.html, 1.3."""


def look_at(path: Path) -> bool:
    """Look at what lies at a path, without changing it.

    Args:
        path: Where the journal is to be.

    Returns:
        True when there is a journal of ours; False when there is nothing, or an empty file.

    Raises:
        JournalError: There is something else, or a journal that cannot be used.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError:
        _check_folder(path)
        return False
    except OSError as error:
        raise explain(path, error) from error
    if not head:
        return False
    _check_head(path, head)
    return True


def remove_journal(path: Path) -> None:
    """Remove a journal of ours with what belongs to it.

    Raises:
        JournalError: It is none, or cannot be removed.
    """
    if not look_at(path):
        return
    try:
        for what in ("run", "left"):
            for beside in path.parent.glob(f"{glob.escape(path.name)}-{what}-*"):
                beside.unlink(missing_ok=True)
        for ending in ("-wal", "-shm", "-journal", ""):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    except OSError as error:
        raise explain(path, error) from error


def explain(path: Path, error: Exception) -> JournalError:
    """Make of what the system or SQLite raised the error that says what to do.

    Args:
        path: The journal.
        error: What was raised.
    """
    text = str(error) or type(error).__name__
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind = _KINDS.get(code, "unusable")
    if isinstance(error, PermissionError):
        kind = "read-only"
    return JournalError(str(path), kind, text)


_KINDS: Final = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "read-only",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
}


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise JournalError(str(path), "unusable", f"there is no folder {path.parent}")


def _check_head(path: Path, head: bytes) -> None:
    if not head.startswith(_MAGIC[: len(head)]):
        raise JournalError(str(path), "foreign", "it is no SQLite file")
    if len(head) < _HEAD_BYTES:
        raise JournalError(str(path), "truncated", f"it ends after {len(head)} bytes")
    application, version = _number(head, _APPLICATION_AT), _number(head, _FORMAT_AT)
    if application != APPLICATION_ID:
        raise JournalError(str(path), "foreign", f"its application id is {application:#x}")
    if version > FORMAT:
        raise JournalError(str(path), "newer", f"its format is {version}, known is {FORMAT}")
    size, pages = path.stat().st_size, _number(head, _PAGES_AT)
    (page_bytes,) = _PAGE_BYTES.unpack_from(head, _PAGE_BYTES_AT)
    expected = pages * (65_536 if page_bytes == 1 else page_bytes)
    # After a crash the missing pages may stand in the log, from which SQLite mends the file.
    if size < expected and not _has_log(path):
        raise JournalError(str(path), "truncated", f"it has {size} of {expected} bytes")


def _number(head: bytes, at: int) -> int:
    number: int = _NUMBER.unpack_from(head, at)[0]
    return number


def _has_log(path: Path) -> bool:
    logs = [path.with_name(path.name + ending) for ending in ("-wal", "-journal")]
    return any(log.exists() and log.stat().st_size for log in logs)
