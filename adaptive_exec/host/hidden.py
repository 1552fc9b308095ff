"""A limit of memory that lies above all that this process can see, as a kernel's kill has shown it.

In a container the groups above its own cannot be read. What the topmost visible one had used when
the kernel killed for memory, while all limits that are known left room, is taken as that limit. It
is kept beside the ledger for the next start in the same group, for a day: it may have been raised
since. Whether a kill shows a limit is the core's matter.
"""

import contextlib
import os
import time
from typing import Final, NamedTuple

from adaptive_exec.system.folder import find_folder, open_folder
from adaptive_exec.system.private import open_file

KEPT_SECONDS: Final = 86_400.0
"""Seconds that a limit which was learned is believed by later starts. Source: own choice, a day."""
SUFFIX: Final = ".limit"
_BYTES_MAX: Final = 64
"""Bytes of such a file that are read: one number and one moment."""


class Learned(NamedTuple):
    """A limit that was learned.

    Attributes:
        group: Identity of the topmost visible group.
        bytes: The limit.
    """

    group: str
    bytes: int


def recall_limit(group: str) -> Learned | None:
    """Return what was learned of a group before, None for nothing that still counts."""
    folder = find_folder() if group else ""
    if not folder:
        return None
    try:
        file = open_file(_path(folder, group), os.O_RDONLY)
    except OSError:
        return None
    try:
        size, at = map(int, os.read(file, _BYTES_MAX).split())
    except (OSError, ValueError):
        return None
    finally:
        os.close(file)
    is_fresh = 0 <= time.time() - at < KEPT_SECONDS
    return Learned(group, size) if is_fresh and size > 0 else None


def keep_limit(learned: Learned) -> None:
    """Write a limit down for later starts; where that fails, they learn it anew."""
    with contextlib.suppress(OSError):
        folder = open_folder()
        _sweep(folder)
        file = open_file(_path(folder, learned.group), os.O_WRONLY | os.O_CREAT)
        try:
            os.ftruncate(file, 0)
            os.write(file, f"{learned.bytes} {int(time.time())}\n".encode())
        finally:
            os.close(file)


def _path(folder: str, group: str) -> str:
    return f"{folder}/{group.replace(' ', '-').replace(':', '-')}{SUFFIX}"


def _sweep(folder: str) -> None:
    """Remove what has had its day, as of groups that are gone."""
    since = time.time() - KEPT_SECONDS
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        if name.endswith(SUFFIX) and os.lstat(path).st_mtime <= since:
            os.unlink(path)  # pathlib costs an import of 5 ms
