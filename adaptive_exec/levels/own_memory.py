"""Reads how much memory a process has, and shares the caller's growth among tasks in its threads.

Decides nothing: what a task may take is the core's affair.
"""

import os
import threading
import time

from adaptive_exec.levels.meter import PEAK_EVERY_SECONDS, PEAK_TASK_SECONDS

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def read_size(pid: int) -> int | None:
    """Read how much memory a process has in RAM; None where that cannot be read."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            return int(file.read(256).split(None, 2)[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return None


def move_wall(pid: int, size: int) -> None:
    """Bound the data of a process (RLIMIT_DATA) from outside; one that is gone has no need.

    Where it has less already (`ulimit -d`) it keeps that.
    """
    try:
        import resource

        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        own, _ = resource.getrlimit(resource.RLIMIT_DATA)  # which it was born with
        size = min(one for one in (size, own, hard) if one != resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_DATA, (size, hard))
    except (ImportError, AttributeError, OSError, ValueError):
        return


LOOK_EVERY_SECONDS = 0.001
"""Seconds between two readings of the own size: in so long a core fills 3 MB. Source: the policy's
fastest fill rate; a reading takes 10 us."""


class SharedGrowth:
    """What the tasks that run in threads of this process take, each an equal part of its growth.

    The growth is measured from when none of them ran. What else grows in the process meanwhile
    looks like theirs, which errs on the safe side.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._base_bytes: int | None = None
        self._highest: dict[int, int] = {}
        self._size: int | None = None
        self._next_look = 0.0
        self._due_at = 0.0

    def is_known(self) -> bool:
        """Say whether the size of this process can be read."""
        return self._read() is not None

    def begin(self, worker: int) -> None:
        """A worker begins a chunk."""
        with self._lock:
            if not self._highest:
                self._base_bytes = self._read()
            self._highest[worker] = 0

    def end(self, worker: int, seconds: float) -> int | None:
        """A worker is through with its chunk.

        Args:
            worker: Its id.
            seconds: How long the chunk took; of tiny ones a few are measured, as in processes.

        Returns:
            The most bytes of the process's growth that were its part when it was looked at; None
            where they cannot be read, or are not to be measured.
        """
        with self._lock:
            now = time.monotonic()
            is_due = seconds >= PEAK_TASK_SECONDS or now >= self._due_at
            if is_due:
                self._look()
                self._due_at = now + PEAK_EVERY_SECONDS
            highest = self._highest.pop(worker, None)
            return highest if is_due and self._base_bytes is not None else None

    def parts(self) -> tuple[tuple[int, int], ...]:
        """Return each running worker's part of the growth as `(worker, bytes)`."""
        with self._lock:
            each = self._look()
            return () if each is None else tuple((worker, each) for worker in self._highest)

    def _look(self) -> int | None:
        size = self._read()
        if not self._highest or size is None or self._base_bytes is None:
            return None
        each = max(0, size - self._base_bytes) // len(self._highest)
        for worker, before in self._highest.items():
            self._highest[worker] = max(before, each)
        return each

    def _read(self) -> int | None:
        now = time.monotonic()
        if now >= self._next_look:
            self._size = read_size(self._pid)
            self._next_look = now + LOOK_EVERY_SECONDS
        return self._size
