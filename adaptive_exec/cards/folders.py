"""The folder of a pass, `<runs>/<card>/<time>-<pid>/`: its own, and set aside only when it is dead.

A pass holds a lock on its folder for as long as it lives; the system frees it with the process,
whatever ends that. Making a folder and setting folders aside happen under one lock of the card, so
that no folder is seen before it is locked.
"""

import os
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

CARD_LOCK_SECONDS: Final = 30.0
"""Seconds to wait for the card's lock; it is held while folders are moved, which takes
less than a millisecond each."""
SAME_SECOND_MAX: Final = 10_000
"""Folders that one process, or several with one number in different containers, may make in one
second."""
_FOLDER: Final = re.compile(r"\d{8}T\d{6}-(\d+)(-\d+)?")
_LOCK: Final = ".lock"
ASIDE: Final = "aside"
"""The folder, beside those of passes, for those that a fresh start has set aside."""


class FolderError(ValueError):
    """The caller's folder of runs cannot be used; the message names it and the way out."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that one live pass owns.

    Attributes:
        path: Its absolute path.
        lock: What makes it owned.
    """

    path: Path
    lock: FileLock

    def release(self) -> None:
        """Give up the ownership; the folder stays."""
        self.lock.release()


def open_folder(runs: Path, card: str) -> RunFolder:
    """Make and lock the folder of a new pass.

    Args:
        runs: Folder of all runs, made if it is not there.
        card: Name of the card.

    Returns:
        The folder, owned.

    Raises:
        FolderError: The folder cannot be made.
    """
    try:
        place = _card_folder(runs, card)
        with _card_lock(place):
            path = _make_unique(place)
            lock = FileLock(path / _LOCK, timeout=CARD_LOCK_SECONDS)
            lock.acquire()
    except (OSError, Timeout) as error:
        message = (
            f"folder of runs cannot be used, got {str(runs)!r} ({error}); give another with --runs"
        )
        raise FolderError(message) from error
    return RunFolder(path, lock)


def reopen_folder(path: Path) -> RunFolder:
    """Lock the folder of a pass that is over, to go on with it.

    Args:
        path: The folder.

    Returns:
        The folder, owned.

    Raises:
        FolderError: It is not there, or a live pass owns it.
    """
    if not path.is_dir():
        message = f"run is not there, got {str(path)!r}; name the folder of a run"
        raise FolderError(message)
    lock = FileLock(path / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        message = f"run is still going on, got {str(path)!r}; wait for it or stop it first"
        raise FolderError(message) from error
    except OSError as error:
        message = f"run cannot be gone on with, got {str(path)!r} ({error}); make it writable"
        raise FolderError(message) from error
    return RunFolder(path, lock)


def find_folders(runs: Path, card: str) -> list[Path]:
    """Return the folders of a card's passes that nobody owns, the latest first."""
    place = runs.absolute() / card
    if not place.is_dir():
        return []
    return [path for path in sorted(_folders(place), reverse=True) if _is_free(path)]


def find_aside(runs: Path, card: str) -> list[Path]:
    """Return the folders of a card's passes that were set aside, the latest first."""
    return find_folders(runs / card, ASIDE)


def find_cards(runs: Path) -> list[str]:
    """Return the names of the cards that have folders of passes."""
    if not runs.is_dir():
        return []
    return sorted(path.name for path in runs.iterdir() if path.is_dir())


def is_run_name(text: str) -> bool:
    """Say whether a text names the folder of a pass, with or without a path before it.

    >>> is_run_name("20240229T120000-4711"), is_run_name("runs/a/20240229T120000-1-2/")
    (True, True)
    >>> is_run_name("stdlib")
    False
    """
    return _FOLDER.fullmatch(Path(text).name) is not None


def remove_files(path: Path, names: Collection[str]) -> None:
    """Remove files from the folder of a pass that nobody owns, and the folder if that empties it.

    Args:
        path: The folder.
        names: Names of the files; one that is not there is left alone, as is all else.

    Raises:
        FolderError: It is owned, or a file cannot be removed.
    """
    folder = reopen_folder(path)
    try:
        for name in names:
            (path / name).unlink(missing_ok=True)
        if os.listdir(path) == [_LOCK]:  # noqa: PTH208  # one look, compared as a whole
            (path / _LOCK).unlink()
            path.rmdir()
    except OSError as error:
        message = f"run cannot be removed, got {str(path)!r} ({error}); remove it by hand"
        raise FolderError(message) from error
    finally:
        folder.release()


def set_folders_aside(runs: Path, card: str) -> int:
    """Move what finished or dead passes of a card left into a folder `aside`; nothing is removed.

    What a live pass owns stays. A process that goes on with another pass still owns its earlier
    ones: folders with its number stay, too.

    Args:
        runs: Folder of all runs.
        card: Name of the card.

    Returns:
        How many folders were moved.

    Raises:
        FolderError: A folder cannot be moved.
    """
    try:
        place = _card_folder(runs, card)
        with _card_lock(place):
            return _set_aside(place)
    except (OSError, Timeout) as error:
        message = (
            f"earlier runs cannot be set aside, got {str(runs)!r} ({error}); move them by hand"
        )
        raise FolderError(message) from error


def _set_aside(place: Path) -> int:
    owners = {_owner(path) for path in _folders(place) if not _is_free(path)}
    dead = [path for path in _folders(place) if _owner(path) not in owners]
    if dead:
        (place / ASIDE).mkdir(exist_ok=True)
    for path in dead:
        path.rename(_free_name(place / ASIDE / path.name))
    return len(dead)


def _free_name(path: Path) -> Path:
    """Return a name that nothing has: a process of the same number may have made its like."""
    for number in range(SAME_SECOND_MAX):
        free = path.with_name(f"{path.name}-{number}") if number else path
        if not free.exists():
            return free
    message = f"too many runs of one name in {path.parent}"
    raise OSError(message)


def _card_folder(runs: Path, card: str) -> Path:
    place = runs.absolute() / card
    place.mkdir(parents=True, exist_ok=True)
    return place


def _card_lock(place: Path) -> FileLock:
    return FileLock(place / _LOCK, timeout=CARD_LOCK_SECONDS)


def _make_unique(place: Path) -> Path:
    name = f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
    for number in range(SAME_SECOND_MAX):
        path = place / (f"{name}-{number}" if number else name)
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    message = f"too many runs in one second under {place}"
    raise OSError(message)


def _folders(place: Path) -> Iterator[Path]:
    for path in sorted(place.iterdir()):
        if _FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def _owner(path: Path) -> str:
    found = _FOLDER.fullmatch(path.name)
    assert found is not None
    return found[1]


def _is_free(path: Path) -> bool:
    """Tell whether nobody owns a folder; nobody can begin to while the card's lock is held."""
    try:
        with FileLock(path / _LOCK, timeout=0):
            return True
    except Timeout:
        return False
