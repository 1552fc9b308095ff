"""Files that are locked as long as their owner lives, so that a death lets go of them.

The kernel lets go of a lock with the last descriptor of whoever took it, however that one ends; on
one machine that tells of every process, whichever namespace it is in. No wait without a bound.
"""

import os
import time
from typing import Final

try:
    import fcntl
except ImportError:  # as on Windows
    HAS_LOCKS = False
else:
    HAS_LOCKS = True

_POLL_SECONDS: Final = 0.001
"""Seconds between two tries of a lock that another one holds."""


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file if nobody else holds it; say whether that was so.

    Args:
        descriptor: The file.
        shared: Only keep those out who want it for themselves.

    Raises:
        OSError: The file system has no locks.
    """
    if not HAS_LOCKS:
        raise OSError(38, "this system has no flock")
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(descriptor: int, *, seconds: float) -> bool:
    """Lock an open file, waiting for whoever holds it; False when the time is over.

    Args:
        descriptor: The file.
        seconds: The bound of the wait.
    """
    deadline = time.monotonic() + seconds
    while not try_lock(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def make_locked(path: str) -> int:
    """Make a file for us alone that is locked before it has a name, so that nobody is first.

    Args:
        path: Where it shall be; nothing lies there.

    Returns:
        The descriptor, -1 where the system makes no files without a name.

    Source:
        man 2 open, O_TMPFILE; the name is given through /proc.
    """
    flags = getattr(os, "O_TMPFILE", 0)
    if not flags:
        return -1
    try:
        descriptor = os.open(os.path.dirname(path), flags | os.O_RDWR | os.O_CLOEXEC, 0o600)  # noqa: PTH120  # pathlib costs 5 ms
    except OSError:
        return -1
    try:
        if try_lock(descriptor):
            # With a folder's descriptor, though it is not needed: without, Python does not follow.
            source = f"/proc/self/fd/{descriptor}"
            os.link(source, path, src_dir_fd=descriptor, follow_symlinks=True)
            return descriptor
    except OSError:  # no /proc, or a file system without it
        pass
    os.close(descriptor)
    return -1


def unlock(descriptor: int) -> None:
    """Let go of a lock, keeping the file open."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_at(path: str, descriptor: int) -> bool:
    """Say whether an open file still lies at a path, and not another one by now."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
