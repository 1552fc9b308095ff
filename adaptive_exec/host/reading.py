"""Reads small text files of the kernel and finds numbers in them.

Every function answers None where a file is missing, refused or not understood; none raises for what
a file says.
"""

import os
import threading
from types import TracebackType
from typing import Final

from adaptive_exec.system.files import KeptFile

READ_BYTES: Final = 16 * 1024
"""Bytes asked for in one read; every file but the mount table fits (memory.stat has 4 KiB)."""
READ_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes after which a file is taken as read; a mount table with 10,000 mounts has about 2 MiB."""

_KEPT_FOLDERS: Final = ("/proc/", "/sys/")
"""Where files lie that are read with each snapshot."""
_SELDOM: Final = "/mountinfo"
"""How a file ends that is read but once, and is long."""

NUMBER_MAX: Final = 2**64
"""No number of the kernel is longer; a longer one is garbage, and too large for a float."""


class _Current(threading.local):
    """What the calling thread reads with."""

    files: "dict[str, KeptFile] | None" = None


_current: Final = _Current()


class OpenFiles:
    """Files of the kernel that stay open from one snapshot to the next, for one who takes many.

    What is read inside of the context is opened at the first time only. At a limit of memory that
    counts: to open a file takes memory of the kernel's, and may call its killer.
    """

    def __init__(self) -> None:
        self._files: dict[str, KeptFile] = {}

    def __enter__(self) -> None:
        _current.files = self._files

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _current.files = None

    def close(self) -> None:
        """Close all; what is read after that is opened again."""
        for file in self._files.values():
            file.close()
        self._files.clear()


def join(root: str, path: str) -> str:
    """Put an absolute path below a root folder.

    Args:
        root: Folder that stands for `/`.
        path: Absolute path.

    Returns:
        The path of the file to open.

    >>> join("/", "/proc/meminfo"), join("/saved/", "/proc/meminfo")
    ('/proc/meminfo', '/saved/proc/meminfo')
    """
    return root.rstrip("/") + path


def read_file(path: str) -> bytes | None:
    """Read a whole file, or None where that fails."""
    if _current.files is not None and path.startswith(_KEPT_FOLDERS):
        text = _read_kept(_current.files, path)
        if text is not None:
            return text
    # Bare descriptors: /proc/meminfo takes 11.5 us, with open() and its buffers 14.4.
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return None
    try:
        return _read_all(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _read_kept(files: dict[str, KeptFile], path: str) -> bytes | None:
    """Read a file that stays open; None where it must be read another way, if at all."""
    kept = files.get(path)
    if kept is None:
        if path.endswith(_SELDOM):
            return None
        kept = KeptFile(path, READ_BYTES)
        kept.open()
        if not kept.is_open:
            return None
        files[path] = kept
    text = kept.read()
    if text and len(text) < READ_BYTES and not kept.read_on(len(text)):
        return text
    kept.close()  # its group is gone, or it is long
    del files[path]
    return None


def _read_all(descriptor: int) -> bytes:
    text = part = os.read(descriptor, READ_BYTES)
    while part and len(text) < READ_BYTES_MAX:
        part = os.read(descriptor, READ_BYTES)
        text += part
    return text


def read_number(path: str) -> int | None:
    """Read a file that holds one whole number; None for `max` and everything else."""
    return whole(read_file(path))


def whole(text: bytes | None) -> int | None:
    r"""Turn text into a whole number from 0, or None where it is not one.

    >>> whole(b"512\n"), whole(b"max\n"), whole(b"-1\n")
    (512, None, None)
    """
    try:
        number = int(text or b"")
    except ValueError:
        return None
    return number if 0 <= number < NUMBER_MAX else None


def number_after(text: bytes | None, key: bytes) -> int | None:
    r"""Find the number that follows a key at the start of a line.

    Args:
        text: Lines such as `oom_kill 3` or `MemTotal:  24684092 kB`.
        key: The line's beginning with its separator, e.g. `b"oom_kill "`.

    Returns:
        The number without its unit, or None.

    >>> number_after(b"total_dirty 1\ndirty 2\n", b"dirty ")
    2
    """
    if text is None:
        return None
    lines = b"\n" + text
    start = lines.find(b"\n" + key)
    if start < 0:
        return None
    start += 1 + len(key)
    end = lines.find(b"\n", start)
    words = lines[start : end if end >= 0 else None].split(None, 1)
    return whole(words[0]) if words else None
