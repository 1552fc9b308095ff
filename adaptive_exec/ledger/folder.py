"""The ledger's folder: one per user and host, ours alone, or refused.

`$XDG_RUNTIME_DIR` where it is there, else the temporary folder; named after the user and the boot
of the host, so that containers that share a temporary folder but not a kernel do not meet in it.
"""

import contextlib
import os
import stat
from typing import Final

_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_BOOT_LETTERS: Final = 8
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class FolderRefusedError(OSError):
    """The folder cannot be trusted or used."""


def open_folder() -> str:
    """Return the folder of this user on this host, made where it was missing.

    Raises:
        FolderRefusedError: It belongs to somebody else, or others may write to it.
        OSError: It cannot be made.
    """
    path = folder_path()
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)  # noqa: PTH102  # pathlib costs an import of 5 ms in a program without it
    check_folder(path)
    return path


def folder_path() -> str:
    """Return where the ledger of this user on this host is."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if not (base and os.path.isdir(base) and os.access(base, os.W_OK | os.X_OK)):  # noqa: PTH112  # as above
        base = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108  # checked below, and by the owner of the folder
    return f"{base}/adaptive_exec-{os.geteuid()}-{_boot()}"


def check_folder(path: str) -> None:
    """Refuse a folder that is not ours alone.

    Raises:
        FolderRefusedError: It is no folder, a link, somebody else's, or writable by others.
        OSError: It is not there.
    """
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        message = f"the ledger is not a folder, got {path!r}; remove it"
        raise FolderRefusedError(message)
    if found.st_uid != os.geteuid():
        message = f"the ledger belongs to user {found.st_uid}, got {path!r}; set XDG_RUNTIME_DIR"
        raise FolderRefusedError(message)
    if found.st_mode & _OTHERS_WRITE:
        mode = oct(stat.S_IMODE(found.st_mode))
        message = f"the ledger is writable by others, got {path!r} with mode {mode}; chmod 700 it"
        raise FolderRefusedError(message)


def _boot() -> str:
    try:
        with open(_BOOT_ID, encoding="ascii") as file:  # noqa: PTH123  # as above
            return file.read(_BOOT_LETTERS)
    except OSError:
        return os.uname().nodename
