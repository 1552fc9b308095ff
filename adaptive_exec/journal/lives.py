"""Which runs on a journal still live: proved to be gone, or taken as alive.

On one machine a run holds a locked file beside the journal, which tells across containers; its
process, where this one can see it, tells too. On a network file system, and where there is no
lock, a run leaves signs of life: a count that goes up. Who reads it measures the silence by his own
clock, never by another machine's. Decides nothing about tasks.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from adaptive_exec.system.identity import Identity, is_proved_gone, this_process
from adaptive_exec.system.locks import HAS_LOCKS, try_lock

LIFE_SECONDS: Final = 10.0
"""Seconds between signs of life in a journal; two looks of a reader count as no longer apart."""
ABSENT_SECONDS: Final = 60.0
"""Seconds of silence, by the reader's own clock, after which an instance counts as gone whose
process and lock he cannot see: six signs of life."""

_LOCK_MODE: Final = 0o644
"""Others need to open it to see whether it is locked; nothing stands in it."""


class JournalRun(NamedTuple):
    """A run that has not said that it ended.

    Attributes:
        process: The process that it runs in.
        beat: Its signs of life so far.
    """

    process: Identity
    beat: int


class _Silence(NamedTuple):
    """How long a run has been silent, by our own clock."""

    beat: int
    seconds: float
    looked_at: float


class Lives:
    """Follows the runs of one journal.

    Args:
        path: The journal.
        has_locks: True where a lock on a file beside it is seen by all who use it.
        clock: Monotonic seconds of this process.
    """

    def __init__(
        self, path: Path, *, has_locks: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._has_locks = has_locks and HAS_LOCKS
        self._clock = clock
        self._silences: dict[int, _Silence] = {}

    def find_gone(self, runs: Mapping[int, JournalRun]) -> list[int]:
        """Return those of some runs that are gone.

        Args:
            runs: The runs that have not ended, all of them.
        """
        here = this_process()
        self._silences = {run: one for run, one in self._silences.items() if run in runs}
        return [number for number, run in runs.items() if self._is_gone(number, run, here)]

    def _is_gone(self, number: int, run: JournalRun, here: Identity) -> bool:
        if is_proved_gone(run.process, here):
            return True
        is_held = is_lock_held(self._path, number) if self._has_locks else None
        if is_held is None:
            return self._is_silent(number, run.beat)
        self._silences.pop(number, None)
        return not is_held

    def _is_silent(self, number: int, beat: int) -> bool:
        """Say whether a run has been silent for so long that it counts as gone.

        What passed between two looks counts as one interval between signs at most: if both
        processes were frozen meanwhile, the other one could not have given more.
        """
        now, last = self._clock(), self._silences.get(number)
        if last is None or last.beat != beat:
            self._silences[number] = _Silence(beat, 0.0, now)
            return False
        seconds = last.seconds + min(now - last.looked_at, LIFE_SECONDS)
        self._silences[number] = _Silence(beat, seconds, now)
        return seconds >= ABSENT_SECONDS


def hold_lock(path: Path, run: int) -> int:
    """Lock the file that says that a run lives; return its descriptor, -1 where that cannot be.

    Args:
        path: The journal.
        run: The run; nobody else may know of it yet.
    """
    if not HAS_LOCKS:
        return -1
    name = lock_path(path, run)
    try:
        descriptor = os.open(
            name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _LOCK_MODE
        )
    except OSError:  # a full disk: the signs of life tell
        return -1
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and try_lock(descriptor):
            return descriptor
    os.close(descriptor)
    remove_locks(path, [run])  # a file that is there and not locked says that its run is gone
    return -1


def is_lock_held(path: Path, run: int) -> bool | None:
    """Say whether a run's file is locked; None where there is none, or it cannot be seen."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(lock_path(path, run), flags)
    except OSError:
        return None
    try:
        return not try_lock(descriptor, shared=True)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def remove_locks(path: Path, runs: Iterable[int]) -> None:
    """Remove the files of runs that are over."""
    for run in runs:
        with contextlib.suppress(OSError):  # another one was first, or may not
            os.unlink(lock_path(path, run))  # noqa: PTH108  # a text, as all here


def lock_path(path: Path, run: int) -> str:
    """Return where the file of a run lies."""
    return f"{path}-run-{run}"
