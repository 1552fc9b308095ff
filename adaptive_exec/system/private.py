"""Folders and files that are ours alone: made so, or refused as they are found.

A name that others can foresee may be taken by them beforehand: by a folder that they can write to,
a link to somewhere else, a second name of another file. What is used is therefore looked at after
it is open, never before. Imports little: every worker imports it.
"""

import os
import stat

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_HAS_OWNERS = hasattr(os, "geteuid")
"""False on Windows, where mode and owner say nothing and a user's folders are his own."""


class NotOursError(OSError):
    """A folder or file is another user's, others may write to it, or it is a link."""


def make_folder(path: str, *, like: str = "") -> None:
    """Make a folder for this user alone, or take the one that is there if it is so.

    Args:
        path: The folder; the one above it must be there.
        like: A file that is trusted: its owner may own the folder too, and who may write to it may
            write to the folder (on some network file systems files are never ours).

    Raises:
        NotOursError: What is there cannot be trusted.
        OSError: It cannot be made.
    """
    try:
        os.mkdir(path, 0o700)  # noqa: PTH102  # pathlib costs an import of 5 ms in a program without it
    except FileExistsError:
        check_folder(path, like=like)


def check_folder(path: str, *, like: str = "") -> None:
    """Refuse a folder that is not ours alone.

    Args:
        path: The folder.
        like: As for `make_folder`.

    Raises:
        NotOursError: It is no folder, a link, somebody else's, or writable by others.
        OSError: It is not there.
    """
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        message = f"not a folder, got {path!r}; remove it"
        raise NotOursError(message)
    _check_owner(path, found, _trusted(like))


def open_file(path: str, flags: int) -> int:
    """Open a file that is ours alone, made for us alone where the flags say so.

    Args:
        path: The file.
        flags: As for `os.open`; it is never inherited and never follows a link.

    Returns:
        The descriptor.

    Raises:
        NotOursError: It is no regular file, a link, has several names, is somebody else's, or
            writable by others.
        OSError: It cannot be opened.
    """
    safe = _NO_LINK | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags | safe, 0o600)
    except OSError as error:
        if os.path.islink(path):  # noqa: PTH114  # as above
            message = f"a link, got {path!r}; remove it"
            raise NotOursError(message) from error
        raise
    try:
        _check_file(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _trusted(like: str) -> os.stat_result | None:
    try:
        return os.stat(like) if like else None  # noqa: PTH116  # as above
    except FileNotFoundError:
        return None


def _check_file(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        message = f"not a file, got {path!r}; remove it"
        raise NotOursError(message)
    _check_owner(path, found, None)
    if found.st_nlink > 1:
        message = f"a file with {found.st_nlink} names, got {path!r}; remove it"
        raise NotOursError(message)


def _check_owner(path: str, found: os.stat_result, like: os.stat_result | None) -> None:
    if not _HAS_OWNERS:
        return
    if found.st_uid != os.geteuid() and (like is None or found.st_uid != like.st_uid):
        message = f"not ours, got {path!r} of user {found.st_uid}; remove it or use another place"
        raise NotOursError(message)
    if found.st_mode & _OTHERS_WRITE & ~(0 if like is None else like.st_mode):
        mode = oct(stat.S_IMODE(found.st_mode))
        message = f"writable by others, got {path!r} with mode {mode}; chmod 700 it"
        raise NotOursError(message)
