"""The pid file of a supervisor: who it is, and which copies it runs.

The first line is the supervisor's pid, the second names the boot and the namespaces in which the
numbers mean something, each other line is `<number> <pid> <start ticks>` of a copy. The file is
locked as long as its owner lives, so a line in a file that nobody locks is a copy that a dead
supervisor may have left. A file that is not ours alone is refused: who could write into it could
have any process of ours ended.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from adaptive_exec.system.identity import is_same_running, started_at, this_process
from adaptive_exec.system.locks import is_at, try_lock
from adaptive_exec.system.private import open_file

_PLACE: Final = b"in "
_FILE_BYTES_MAX: Final = 1 << 20
"""Bytes that are read; 1024 copies take 32 KiB."""
_OPENINGS_MAX: Final = 100
"""Times that the file is opened anew because its owner removed it between two calls of ours."""


class PidEntry(NamedTuple):
    """A copy in the file: with its start a pid names a process for good."""

    pid: int
    started: int


class PidFileTakenError(Exception):
    """Another supervisor holds the file; the message says which."""


class PidFileForeignError(Exception):
    """What lies in the file's place is none of ours; the message says what."""


class PidFile:
    """Owns the pid file from its making to `close`.

    Args:
        path: Where it is.

    Raises:
        PidFileTakenError: Another supervisor holds it.
        PidFileForeignError: A file of another kind lies there.
        NotOursError: It is another user's, a link, or writable by others.
        OSError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = _open_locked(str(path))
        try:
            text = os.pread(self._descriptor, _FILE_BYTES_MAX, 0)
            _check_kind(path, text)
        except BaseException:
            os.close(self._descriptor)
            raise
        self.left_behind = [entry for entry in _entries(text) if _runs(entry)]
        self.write({})

    def write(self, copies: Mapping[int, int]) -> None:
        """Write who runs.

        Args:
            copies: Pids by the number of the copy.
        """
        lines = [b"%d" % os.getpid(), _place()]
        lines += [b"%d %d %d" % (number, pid, started_at(pid)) for number, pid in copies.items()]
        text = b"".join(line + b"\n" for line in lines)
        with contextlib.suppress(OSError):  # a full disk ends no copy
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))

    def close(self) -> None:
        """Remove the file and let it go."""
        with contextlib.suppress(OSError):
            if is_at(str(self._path), self._descriptor):
                self._path.unlink()
        os.close(self._descriptor)


def _runs(entry: PidEntry) -> bool:
    """Say whether this very process still runs."""
    return is_same_running(this_process()._replace(pid=entry.pid, started=entry.started))


def _open_locked(path: str) -> int:
    for _ in range(_OPENINGS_MAX):
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            _take(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # its owner removed it between our two calls
    message = f"{path!r} is removed again and again"
    raise OSError(message)


def _take(path: str, descriptor: int) -> None:
    if try_lock(descriptor):
        return
    owner = os.pread(descriptor, 32, 0).split(b"\n")[0].decode(errors="replace")
    message = (
        f"another supervisor is at work, got pid {owner or 'unknown'} in {path!r}; "
        f"stop it, or give --pid-file another name"
    )
    raise PidFileTakenError(message)


def _check_kind(path: Path, text: bytes) -> None:
    """Refuse to write over what is no pid file."""
    if text and not text.split(b"\n")[0].isdigit():
        message = f"no pid file of a supervisor, got {str(path)!r}; give --pid-file another name"
        raise PidFileForeignError(message)


def _place() -> bytes:
    here = this_process()
    return _PLACE + f"{here.boot} {here.space}".encode()


def _entries(text: bytes) -> list[PidEntry]:
    """Read the copies; none of another boot or namespace, where the numbers are others'."""
    _, place, *lines = [*text.splitlines(), b"", b""]
    if place != _place():
        return []
    found = []
    for line in lines:
        words = line.split()
        if len(words) == 3 and all(word.isdigit() for word in words):  # noqa: PLR2004  # number, pid, start
            found.append(PidEntry(int(words[1]), int(words[2])))
    return found
