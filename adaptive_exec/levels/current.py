"""The task that runs now, told to the task itself, with the folder that it keeps its state in.

A folder is made when it is first asked for, by whoever runs the task, and named so that the task's
next attempt finds it again: by its key beside a journal, else by its number in a folder of the
executor's own among temporary files. Imports little, since every worker imports it; what becomes of
the folders is `levels/task_folders`'.
"""

import os
import threading

from adaptive_exec.program.seeds import generator_of, seed_of
from adaptive_exec.system.private import make_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from adaptive_exec.program.seeds import Stream

NAME_BYTES = 16
"""Bytes of a task's key, by which its folder beside a journal is named."""
TEMPORARY_PREFIX = "adaptive-exec-tasks-"
"""Beginning of the names of executors' folders among temporary files."""
LASTING_SUFFIX = ".tasks"
"""End of the name of the folder beside a journal."""


class Place:
    """Where the tasks of a chunk keep their state, and which they are.

    Attributes:
        base: The folder that theirs are in; `""` where there is none.
        names: Their keys, NAME_BYTES each; empty where their numbers name them.
        batch: Their batch.
        start: The first of them.
        attempt: The how-manieth execution it is.
        stream: What their random streams are told by, None without a seed.
    """

    __slots__ = ("attempt", "base", "batch", "names", "start", "stream")

    def __init__(  # noqa: PLR0917  # the end of a chunk's head, as it stands there
        self,
        base: str,
        names: bytes,
        batch: int,
        start: int,
        attempt: int,
        stream: "Stream | None" = None,
    ) -> None:
        self.stream = stream
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
    def seed(self) -> int | None:
        """A number below 2^128 that only this task has; None where the executor has no `seed`.

        The same at every level, in any worker, order, attempt and resumed run.
        """
        stream = self._place.stream
        return None if stream is None else seed_of(stream, self.index)

    def rng(self) -> "Any":
        """Make a NumPy Generator of this task's own, at its beginning at each call.

        Without a `seed` it is seeded by the system.

        Raises:
            ModuleNotFoundError: NumPy is not installed.
        """
        return generator_of(self._place.stream, self.index)

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

    def where(self) -> tuple[int, int]:
        """Return batch and number of the task that runs, -1 for none."""
        place = self.place
        return (-1 if place is None else place.batch), self.index


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


def is_in_task() -> bool:
    """Say whether this thread runs a task."""
    try:
        current_task()
    except RuntimeError:
        return False
    return True


def _make(path: str) -> None:
    """Make a task's folder, in a base that is ours alone or as much so as its journal.

    Raises:
        NotOursError: Somebody else has put one there, whose content is not to be trusted.
    """
    base = os.path.dirname(path)
    is_temporary = os.path.basename(base).startswith(TEMPORARY_PREFIX)
    journal = "" if is_temporary else base.removesuffix(LASTING_SUFFIX)
    make_folder(base, like=journal)
    make_folder(path, like=journal)
