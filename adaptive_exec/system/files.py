"""Small files of the kernel that are read again and again and stay open meanwhile.

To open one takes memory of the kernel's; at a limit that is what its killer is called for. Where
descriptors are scarce none is kept. Decides nothing.
"""

import os
from types import ModuleType

_limits: ModuleType | None
try:
    import resource as _limits
except ImportError:  # not every system has it
    _limits = None

KEPT_SHARE = 4
"""Part of the descriptors there may be, the lower ones, that are kept open for this."""
_PLENTY = 1 << 30
"""A descriptor's number that none ever has."""


class KeptFile:
    """A file that is opened when it is read first, or before.

    Args:
        path: Where it is.
        size: The most bytes that are read of it.
    """

    __slots__ = ("_file", "_is_scarce", "_path", "_size", "_which")

    def __init__(self, path: str, size: int) -> None:
        self._path, self._size = path, size
        self._file = -1
        self._which = (0, 0)
        self._is_scarce = False

    @property
    def is_open(self) -> bool:
        """True while it is open."""
        return self._file >= 0

    def open(self) -> None:
        """Open it, unless descriptors are scarce."""
        if self._file < 0 and not self._is_scarce:
            self._file = _open(self._path)
            self._which = _identify(self._file)
            self._is_scarce = self._file >= _scarce_from()
            if self._is_scarce:
                self.close()

    def read(self) -> bytes:
        """Return what it says, nothing where it cannot be read."""
        self.open()
        if self._is_scarce:
            return read_once(self._path, self._size)
        try:
            return os.pread(self._file, self._size, 0) if self._file >= 0 else b""
        except OSError:
            return b""

    def read_on(self, start: int) -> bytes:
        """Return what it says from there on, nothing where that is its end or it is not open.

        The kernel gives long lists in parts of a page.
        """
        try:
            return os.pread(self._file, self._size, start) if self._file >= 0 else b""
        except OSError:
            return b""

    def close(self) -> None:
        """Close it, unless somebody has; it is opened again when it is read again."""
        file, self._file = self._file, -1
        if file >= 0 and _identify(file) == self._which:
            os.close(file)


def read_once(path: str, size: int) -> bytes:
    """Open, read and close a file; return nothing where that fails."""
    file = _open(path)
    if file < 0:
        return b""
    try:
        return os.read(file, size)
    except OSError:
        return b""
    finally:
        os.close(file)


def _identify(file: int) -> tuple[int, int]:
    """Name what a descriptor stands for, which may have been closed and opened by others."""
    try:
        found = os.fstat(file)
    except OSError:
        return (-1, -1)
    return found.st_dev, found.st_ino


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return -1


def _scarce_from() -> int:
    """Return the number of a descriptor from which they are scarce."""
    if _limits is None:
        return _PLENTY
    soft = int(_limits.getrlimit(_limits.RLIMIT_NOFILE)[0])
    return _PLENTY if soft == _limits.RLIM_INFINITY else soft // KEPT_SHARE
