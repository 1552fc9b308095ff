"""The task that runs now, told to the task itself; and the folders that tasks keep their state in.

A folder is made when it is first asked for, by whoever runs the task, and named so that the task's
next attempt finds it again: by its key beside a journal, else by its number in a folder of the
executor's own among temporary files. Imports little, since every worker imports it.
"""

import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Any

NAME_BYTES = 16
"""Bytes of a task's key, by which its folder beside a journal is named."""
TEMPORARY_PREFIX = "adaptive-exec-tasks-"
"""Beginning of the names of executors' folders among temporary files."""


class Place:
    """Where the tasks of a chunk keep their state, and which they are.

    Attributes:
        base: The folder that theirs are in; `""` where there is none.
        names: Their keys, NAME_BYTES each; empty where their numbers name them.
        batch: Their batch.
        start: The first of them.
        attempt: The how-manieth execution it is.
    """

    __slots__ = ("attempt", "base", "batch", "names", "start")

    def __init__(self, base: str, names: bytes, batch: int, start: int, attempt: int) -> None:
        self.base = base
        self.names = names
        self.batch = batch
        self.start = start
        self.attempt = attempt

    def name(self, index: int) -> str:
        """Return the name of a task's folder."""
        at = (index - self.start) * NAME_BYTES
        key = self.names[at : at + NAME_BYTES]
        return key.hex() if any(key) else f"{self.batch}-{index}"


class CurrentTask:
    """The task that runs now.

    Attributes:
        index: Its position in its batch, from 0.
        attempt: The how-manieth execution it is, from 1.
    """

    __slots__ = ("_place", "attempt", "index")

    def __init__(self, place: Place, index: int) -> None:
        self._place = place
        self.index = index
        self.attempt = place.attempt

    @property
    def folder(self) -> "Path":
        """A folder for the task's own state.

        Made on first use, kept until the task is done, and given to its next attempt. With a
        journal it outlives the program, and a task that failed keeps it for a later try.
        """
        from pathlib import Path  # 10 ms, only where a task asks

        if not self._place.base:
            message = "this task has no folder: its executor was made without one"
            raise RuntimeError(message)
        path = os.path.join(self._place.base, self._place.name(self.index))
        _make(path)
        return Path(path)


class InProcess:
    """What runs in a worker process: one task at a time, known to all of its threads."""

    __slots__ = ("index", "place")

    def __init__(self) -> None:
        self.place: Place | None = None
        self.index = -1


class InThread:
    """What runs in one thread: the task after those that have their outcome."""

    __slots__ = ("_before", "_values", "place")

    def __init__(self, place: Place, values: "Sequence[Any]", before: int) -> None:
        self.place = place
        self._values = values
        self._before = before

    @property
    def index(self) -> int:
        """The task that runs."""
        return self.place.start + self._before + len(self._values)

    def __enter__(self) -> None:
        stack = _here.__dict__.setdefault("stack", [])
        stack.append(self)

    def __exit__(self, *_: object) -> None:
        _here.stack.pop()


_here = threading.local()
in_process = InProcess()
"""Set by the worker, where this process is one."""


def current_task() -> CurrentTask:
    """Return the task that runs now.

    Returns:
        Its number, attempt and folder.

    Raises:
        RuntimeError: No task runs in this thread.
    """
    stack = getattr(_here, "stack", None)
    running = stack[-1] if stack else in_process
    if running.place is None or running.index < 0:
        message = "no task is running in this thread; call current_task() inside a task"
        raise RuntimeError(message)
    return CurrentTask(running.place, running.index)


class TaskFolders:
    """The folders of an executor's tasks, as the parent sees them: it only removes.

    Args:
        base: The folder that they are in.
        is_lasting: True beside a journal: what is left is for a later run.
    """

    def __init__(self, base: str, *, is_lasting: bool) -> None:
        self.base = base
        self.is_lasting = is_lasting

    @property
    def is_used(self) -> bool:
        """True once a task has asked for its folder."""
        return os.path.isdir(self.base)

    @classmethod
    def beside(cls, journal: str) -> "TaskFolders":
        """Keep state beside a journal."""
        return cls(f"{journal}.tasks", is_lasting=True)

    @classmethod
    def temporary(cls, name: str) -> "TaskFolders":
        """Keep state among temporary files, named so that it can be told when nobody owns it."""
        pid, _, number = name.partition("-")
        owner = f"{TEMPORARY_PREFIX}{pid}-{_start_of(int(pid))}-{number}"
        return cls(os.path.join(_temporary(), owner), is_lasting=False)

    def clear(self, place: Place, indices: "Iterable[int]") -> None:
        """Remove the folders of tasks that are done."""
        for index in indices:
            path = os.path.join(self.base, place.name(index))
            if os.path.isdir(path):
                _remove(path)

    def close(self) -> None:
        """Remove what no later attempt will want."""
        if not os.path.isdir(self.base):
            return
        if not self.is_lasting:
            _remove(self.base)
            return
        try:
            os.rmdir(self.base)
        except OSError:
            return  # the folders of tasks that failed, or that another instance runs


def _temporary() -> str:
    """Return the folder of temporary files, as `tempfile` would, which takes 3 ms to import."""
    for variable in ("TMPDIR", "TEMP", "TMP"):
        folder = os.environ.get(variable, "")
        if folder and os.path.isdir(folder):
            return folder
    usual = "/tmp"  # noqa: S108  # what is made in it is made with mkdir, for the owner only
    return usual if os.path.isdir(usual) else os.getcwd()


def _make(path: str) -> None:
    base = os.path.dirname(path)
    if os.path.basename(base).startswith(TEMPORARY_PREFIX) and not os.path.isdir(base):
        _sweep(os.path.dirname(base))
        os.makedirs(base, 0o700, exist_ok=True)  # another worker may be first
    os.makedirs(path, exist_ok=True)


def _sweep(folder: str) -> None:
    """Remove the state of executors whose process is gone without having done so itself."""
    for name in os.listdir(folder):
        if not name.startswith(TEMPORARY_PREFIX):
            continue
        pid, _, rest = name.removeprefix(TEMPORARY_PREFIX).partition("-")
        if pid.isdecimal() and _start_of(int(pid)) != rest.partition("-")[0]:
            _remove(os.path.join(folder, name))


def _remove(path: str) -> None:
    import shutil  # 5 ms, only where there is state

    shutil.rmtree(path, ignore_errors=True)  # somebody else's file in it stays


def _start_of(pid: int) -> str:
    """Return when a process began, in clock ticks; `"0"` where that is not known or it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "0"
