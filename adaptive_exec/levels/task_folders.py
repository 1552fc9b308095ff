"""The folders of an executor's tasks, as the parent sees them: held while it lives, then removed.

Who else shares the temporary folder removes what is left there by an executor that is proved to be
gone, and nothing else. Makes none: that is done where a task asks for its own.
"""

import os
from collections.abc import Iterable
from typing import Final

from adaptive_exec.levels.current import LASTING_SUFFIX, TEMPORARY_PREFIX, Place
from adaptive_exec.system.identity import is_named_gone, name_of, this_process
from adaptive_exec.system.locks import try_lock
from adaptive_exec.system.private import check_folder, open_file

_NAME_BYTES: Final = 8
"""Random bytes in the name of a temporary one, which nobody guesses."""
_HELD: Final = "held"
"""The file in such a folder that its executor's process holds locked."""


class TaskFolders:
    """The folders of an executor's tasks, as the parent sees them: it holds and removes.

    Args:
        base: The folder that they are in.
        is_lasting: True beside a journal: what is left is for a later run.
    """

    def __init__(self, base: str, *, is_lasting: bool) -> None:
        self.base = base
        self.is_lasting = is_lasting
        self._lock = -1

    @property
    def is_used(self) -> bool:
        """True once a task has asked for its folder."""
        return os.path.isdir(self.base)

    @classmethod
    def beside(cls, journal: str) -> "TaskFolders":
        """Keep state beside a journal."""
        return cls(f"{journal}{LASTING_SUFFIX}", is_lasting=True)

    @classmethod
    def temporary(cls) -> "TaskFolders":
        """Keep state among temporary files, under a name that nobody foresees.

        It says whose it is, so that it can be told when nobody owns it.
        """
        return cls(name_temporary(), is_lasting=False)

    def clear(self, place: Place, indices: Iterable[int]) -> None:
        """Remove the folders of tasks that are done."""
        if self._lock < 0 and not self.is_lasting:
            self._lock = _hold(self.base)
            sweep_left(os.path.dirname(self.base))
        for index in indices:
            path = os.path.join(self.base, place.name(index))
            if os.path.isdir(path):
                _remove(path)

    def close(self) -> None:
        """Remove what no later attempt will want."""
        if os.path.isdir(self.base):
            self._remove_base()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _remove_base(self) -> None:
        if not self.is_lasting:
            _remove(self.base)
            return
        try:
            os.rmdir(self.base)
        except OSError:
            return  # the folders of tasks that failed, or that another instance runs


def name_temporary() -> str:
    """Return a path for a temporary folder of this process, which says whose it is."""
    name = f"{TEMPORARY_PREFIX}{name_of(this_process())}_{os.urandom(_NAME_BYTES).hex()}"
    return os.path.join(temporary_folder(), name)


def temporary_folder() -> str:
    """Return the folder of temporary files, as `tempfile` would, which takes 3 ms to import."""
    for variable in ("TMPDIR", "TEMP", "TMP"):
        folder = os.environ.get(variable, "")
        if folder and os.path.isdir(folder):
            return folder
    usual = "/tmp"  # noqa: S108  # what is made in it is made with mkdir, for the owner only
    return usual if os.path.isdir(usual) else os.getcwd()


def _hold(base: str) -> int:
    """Lock a file in a folder as long as this process lives; return it, -1 where that cannot be.

    Those who cannot see this process, from another container, see the lock. It is locked before
    anybody finds it under its name.
    """
    new, name = os.path.join(base, f"{_HELD}.new"), os.path.join(base, _HELD)
    try:
        descriptor = open_file(new, os.O_RDWR | os.O_CREAT)
    except OSError:
        return -1
    try:
        if try_lock(descriptor):
            os.rename(new, name)
            return descriptor
    except OSError:  # a file system without locks: nobody may take it as let go
        pass
    os.close(descriptor)
    return -1


def sweep_left(folder: str) -> None:
    """Remove temporary folders of this process's user whose process is proved to be gone."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.startswith(TEMPORARY_PREFIX) and _is_left(path, name):
            _remove(path)


def _is_left(path: str, name: str) -> bool:
    """Say whether nobody owns a folder any more; where that is not sure it stays."""
    try:
        check_folder(path)
        if is_named_gone(name.removeprefix(TEMPORARY_PREFIX).rpartition("_")[0]):
            return True
        descriptor = open_file(os.path.join(path, _HELD), os.O_RDWR)
    except OSError:
        return False
    try:
        return try_lock(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    import shutil  # 5 ms, only where there is state

    shutil.rmtree(path, ignore_errors=True)  # somebody else's file in it stays
