"""Reads how much memory a process has, and shares the caller's growth among tasks in its threads.

Decides nothing: what a task may take is the core's affair.
"""

import os
import threading
import time

from adaptive_exec.levels.meter import PEAK_EVERY_SECONDS, PEAK_TASK_SECONDS
from adaptive_exec.levels.offspring import (
    LOOK_SECONDS,
    SELDOM_SECONDS,
    Offspring,
    children_of_thread,
    numbers_in,
)
from adaptive_exec.system.files import KeptFile

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_STATM_BYTES = 256
"""Bytes read of a process's `statm`, which has 40."""


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
    looks like theirs, which errs on the safe side. What is started meanwhile counts as well. All
    files stay open, so that a look opens nothing.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._base_bytes: int | None = None
        self._highest: dict[int, int] = {}
        self._size: int | None = None
        self._next_look = 0.0
        self._due_at = 0.0
        self._began_at = 0.0
        self._statm = KeptFile(f"/proc/{self._pid}/statm", _STATM_BYTES)
        self._threads: dict[int, KeptFile] = {}
        self._offspring: Offspring | None = None
        self._is_closed = False

    def is_known(self) -> bool:
        """Say whether the size of this process can be read."""
        return self._read() is not None

    def join(self, worker: int) -> None:
        """A worker's thread is here: this one."""
        file = children_of_thread(self._pid, threading.get_native_id())
        with self._lock:
            if not self._is_closed:
                file.open()
                self._threads[worker] = file
                if self._offspring is None:
                    self._offspring = Offspring(self._pid)

    def part(self, worker: int) -> None:
        """A worker's thread ends."""
        with self._lock:
            file = self._threads.pop(worker, None)
            if file is not None:
                file.close()

    def begin(self, worker: int) -> None:
        """A worker begins a chunk."""
        with self._lock:
            if not self._highest:
                self._base_bytes = self._read()
                self._began_at = time.monotonic()
                if self._offspring is not None:  # what is there is not its
                    self._look_at_offspring(self._began_at)
                    self._offspring.end()
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

    def watch(self, now: float) -> float | None:
        """Look at what tasks have started; say when to do so again, None while none runs.

        Soon after the first began, then as late again; often while there is something.
        """
        with self._lock:
            if not self._highest or self._offspring is None:
                return None
            age = now - self._began_at
            if age < LOOK_SECONDS:
                return self._began_at + LOOK_SECONDS
            self._look()
            is_there = self._offspring.peak_bytes > 0
            return now + (LOOK_SECONDS if is_there else min(age, SELDOM_SECONDS))

    def parts(self) -> tuple[tuple[int, int], ...]:
        """Return each running worker's part of the growth as `(worker, bytes)`."""
        with self._lock:
            each = self._look()
            return () if each is None else tuple((worker, each) for worker in self._highest)

    def close(self) -> None:
        """Close all files; what runs on is measured no more."""
        with self._lock:
            self._is_closed = True
            self._base_bytes = None
            self._statm.close()
            for file in self._threads.values():
                file.close()
            self._threads.clear()
            if self._offspring is not None:
                self._offspring.close()
                self._offspring = None

    def _look(self) -> int | None:
        size = self._read()
        if not self._highest or size is None or self._base_bytes is None:
            return None
        grown, most = max(0, size - self._base_bytes), 0
        if self._offspring is not None:
            self._look_at_offspring(time.monotonic())
            most = grown + self._offspring.peak_bytes
            grown += self._offspring.bytes
        each, most = grown // len(self._highest), max(grown, most) // len(self._highest)
        for worker, before in self._highest.items():
            self._highest[worker] = max(before, most)
        return each

    def _look_at_offspring(self, now: float) -> None:
        assert self._offspring is not None, "asked only where there is one"
        self._offspring.look(now, further=self._started_by_threads)

    def _started_by_threads(self) -> list[int]:
        return [pid for file in self._threads.values() for pid in numbers_in(file)]

    def _read(self) -> int | None:
        now = time.monotonic()
        if now >= self._next_look and not self._is_closed:
            self._size = _resident(self._statm.read())
            self._next_look = now + LOOK_EVERY_SECONDS
        return None if self._is_closed else self._size


def _resident(statm: bytes) -> int | None:
    words = statm.split(None, 2)
    return int(words[1]) * _PAGE_BYTES if len(words) > 1 else None
