"""The pid file of a supervisor: who it is, and which copies it runs.

The first line is the supervisor's pid, each other line `<number> <pid> <start ticks>` of a copy.
The file is locked as long as its owner lives, so a line in a file that nobody locks is a copy that
a dead supervisor may have left.
"""

import contextlib
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from adaptive_exec.host.process_memory import read_process
from adaptive_exec.host.reading import whole


class Entry(NamedTuple):
    """A copy in the file: with its start a pid names a process for good."""

    pid: int
    started_ticks: int | None


class PidFileTakenError(Exception):
    """Another supervisor holds the file; the message says which."""


class PidFile:
    """Owns the pid file from its making to `close`.

    Args:
        path: Where it is.

    Raises:
        PidFileTakenError: Another supervisor holds it.
        OSError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = _open_locked(path)
        text = os.pread(self._descriptor, 1 << 20, 0)
        self.left_behind = [entry for entry in _entries(text) if is_alive(entry)]
        self.write({})

    def write(self, copies: Mapping[int, int]) -> None:
        """Write who runs.

        Args:
            copies: Pids by the number of the copy.
        """
        lines = [str(os.getpid())]
        for number, pid in sorted(copies.items()):
            process = read_process(pid)
            ticks = process.started_ticks if process else None
            lines.append(f"{number} {pid} {'?' if ticks is None else ticks}")
        text = "".join(f"{line}\n" for line in lines).encode()
        with contextlib.suppress(OSError):  # a full disk ends no copy
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))

    def close(self) -> None:
        """Remove the file and let it go."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._descriptor)


def is_alive(entry: Entry) -> bool:
    """Whether this very process still runs."""
    process = read_process(entry.pid)
    if process is None or process.state == "Z":
        return False
    return entry.started_ticks is not None and process.started_ticks == entry.started_ticks


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file_at(path, descriptor):
                return descriptor
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).split(b"\n")[0].decode(errors="replace")
            os.close(descriptor)
            message = (
                f"another supervisor is at work, got pid {owner or 'unknown'} in {str(path)!r}; "
                f"stop it, or give --pid-file another name"
            )
            raise PidFileTakenError(message) from None
        os.close(descriptor)  # its owner removed it between our two calls


def _is_file_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _entries(text: bytes) -> list[Entry]:
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        pid = whole(words[1]) if len(words) == 3 else None  # noqa: PLR2004  # number, pid, ticks
        if pid:
            found.append(Entry(pid, whole(words[2])))
    return found
