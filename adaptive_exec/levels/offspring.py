"""Reads what a worker has in RAM, and what the processes have that its tasks have started.

Each has files in `/proc` that stay open, so that to look opens nothing while memory is short. Of a
process that was started its own pages count, at their highest; those of files do not, which others
may share. Where there is no `/proc`, nothing is known. Decides nothing.

Source: man 5 proc: `status` (VmHWM), `smaps_rollup`, `task/<tid>/children`; `stat`, flags.
"""

import os
from collections.abc import Callable
from typing import Final

from adaptive_exec.levels.meter import find_field
from adaptive_exec.system.files import KeptFile, read_once
from adaptive_exec.system.processes import STATUS_BYTES, read_stat, says_stopped

LOOK_SECONDS = 0.05
"""Seconds between two looks at what a task has started. Source: own choice; a look at one process
takes 25 us."""
SELDOM_SECONDS = 0.25
"""Seconds between two looks that take longer: at further threads, at children that were forked."""
THREADS_MAX = 32
"""Threads of one process whose children are looked for."""
PROCESSES_MAX = 64
"""Processes that are looked at for one worker; what further ones take is not counted."""
KEPT_MAX = 8
"""Processes of a worker whose files stay open, where there are descriptors for it."""
_FLAGS = 6
"""Position in what `read_stat` returns."""
_FORKED = 0x40
"""The flag PF_FORKNOEXEC: it was forked and has not become another program."""
_CHILDREN_BYTES = 1024
"""Bytes of a list of children, about 150 of them."""


HOUSEHOLD: Final[set[int]] = set()
"""Processes of this one that start its workers, or are such: they are no task's."""


class Kin:
    """One process and the files that tell of it.

    Attributes:
        bytes: What it had when it was looked at.
        peak_bytes: The most that it has had.
        is_gone: True once it cannot be read any more.
    """

    __slots__ = (
        "_children",
        "_looked_at",
        "_status",
        "_threads_at",
        "bytes",
        "is_forked",
        "is_gone",
        "others",
        "peak_bytes",
        "pid",
        "seen_at",
        "threads",
    )

    def __init__(self, pid: int, now: float) -> None:
        self.pid = pid
        self.seen_at = now
        self.bytes = self.peak_bytes = 0
        self.threads = 1
        self.others: list[int] = []
        self.is_gone = False
        self.is_forked = True
        self._looked_at = self._threads_at = -1.0
        self._status = KeptFile(f"/proc/{pid}/status", STATUS_BYTES)
        self._children = KeptFile(f"/proc/{pid}/task/{pid}/children", _CHILDREN_BYTES)

    def resident_bytes(self) -> int | None:
        """Return what it has in RAM, None where that cannot be read."""
        text = self._status.read()
        try:
            self.threads = find_field(text, b"Threads:")
            return find_field(text, b"VmRSS:") * 1024
        except ValueError:
            return None

    def is_stopped(self) -> bool:
        """Say whether it stands still for a signal; False where that cannot be read."""
        return says_stopped(self._status.read())

    def is_there(self) -> bool:
        """Say whether it is there for sure, and not another process with its number."""
        return self._status.is_open and bool(self._status.read())

    def weigh(self, now: float) -> None:
        """Read what it has of its own."""
        text = self._status.read()
        try:
            self.threads = find_field(text, b"Threads:")
            shared = find_field(text, b"RssFile:") + find_field(text, b"RssShmem:")
            size = find_field(text, b"RssAnon:") * 1024
            most = max(size, (find_field(text, b"VmHWM:") - shared) * 1024)
        except ValueError:  # it has ended, and has no memory any more
            self.is_gone = not text or b"\nState:\tZ" in text
            self.bytes = 0
            return
        if self.is_forked:
            self._weigh_forked(now)
        else:
            self.bytes, self.peak_bytes = size, max(self.peak_bytes, most)

    def _weigh_forked(self, now: float) -> None:
        """Count only what a child has that its parent has not; one just born may become another."""
        if now - self._looked_at < SELDOM_SECONDS:
            return
        words = read_stat(self.pid)
        self.is_forked = len(words) > _FLAGS and bool(int(words[_FLAGS]) & _FORKED)
        if not self.is_forked:
            self.weigh(now)
        elif now - self.seen_at >= LOOK_SECONDS:
            self._looked_at = now
            self.bytes = _private_bytes(self.pid)
            self.peak_bytes = max(self.peak_bytes, self.bytes)

    def children(self, now: float) -> list[int]:
        """Return the processes that it has started, as far as it is their parent still."""
        found = _numbers(self._children.read())
        if self.threads > 1:
            if now - self._threads_at >= SELDOM_SECONDS:
                self._threads_at = now
                self.others = _children_of_threads(self.pid)
            found += self.others
        return found

    def open(self) -> None:
        """Open its files now, not when it is looked at."""
        self._status.open()
        self._children.open()

    def close(self) -> None:
        """Close its files, until it is looked at again."""
        self._status.close()
        self._children.close()


class Offspring:
    """A worker and what its tasks have started.

    Args:
        pid: The worker.

    Attributes:
        bytes: What the processes have that its chunk has started, when they were looked at.
        peak_bytes: The most that those had together which were there then.
    """

    __slots__ = ("_kin", "_left", "_looked_at", "_worker", "bytes", "peak_bytes")

    def __init__(self, pid: int) -> None:
        self._worker = Kin(pid, 0.0)
        self._worker.open()
        self._kin: dict[int, Kin] = {}
        self._left: frozenset[int] = frozenset()
        self._looked_at = -1.0
        self.bytes = self.peak_bytes = 0

    def resident_bytes(self) -> int | None:
        """Return what the worker itself has in RAM, None where that cannot be read.

        It tells of further threads as well, whose children are then looked for.
        """
        return self._worker.resident_bytes()

    def is_there(self) -> bool:
        """Say whether the worker is there for sure, and not another process with its number."""
        return self._worker.is_there()

    def is_stopped(self) -> bool:
        """Say whether the worker stands still for a signal; False where it cannot be read."""
        return self._worker.is_stopped()

    def end(self) -> None:
        """A chunk is over: what it has left running does not belong to the next one."""
        if self._kin:
            self._left = frozenset((*self._left, *self._kin))
            self._forget(self._kin)
        self.bytes = self.peak_bytes = 0

    def look(self, now: float, *, further: Callable[[], list[int]] | None = None) -> bool:
        """Look at what the chunk has started; return whether there is anything.

        Not again within half of LOOK_SECONDS.

        Args:
            now: Monotonic seconds.
            further: Returns what certain threads have started.
        """
        if now - self._looked_at < LOOK_SECONDS / 2:
            return bool(self._kin)
        self._looked_at = now
        line = self._worker.children(now)
        if further is not None:
            line += further()
        if not (line or self._kin):
            self._left = frozenset()
            self.bytes = self.peak_bytes = 0
            return False
        self._look_at(line, now)
        return bool(self._kin)

    def _look_at(self, line: list[int], now: float) -> None:
        met: set[int] = set()
        while line and len(met) < PROCESSES_MAX:
            pid = line.pop()
            if pid in met:
                continue
            met.add(pid)
            if pid in self._left or pid in HOUSEHOLD:
                continue
            kin = self._kin.get(pid)
            if kin is None:
                kin = self._kin[pid] = Kin(pid, now)
            kin.weigh(now)
            line += kin.children(now)
        self._left &= met
        self._forget([pid for pid, one in self._kin.items() if pid not in met or one.is_gone])
        self.bytes = sum(one.bytes for one in self._kin.values())
        self.peak_bytes = sum(one.peak_bytes for one in self._kin.values())
        for kin in list(self._kin.values())[KEPT_MAX:]:
            kin.close()

    def _forget(self, pids: "dict[int, Kin] | list[int]") -> None:
        for pid in list(pids):
            self._kin.pop(pid).close()

    def close(self) -> None:
        """Close all files."""
        self._worker.close()
        self._forget(self._kin)


def _numbers(text: bytes) -> list[int]:
    return [int(word) for word in text.split() if word.isdigit()]


def children_of_thread(pid: int, thread: int) -> KeptFile:
    """Return the file that tells what one thread of a process has started."""
    return KeptFile(f"/proc/{pid}/task/{thread}/children", _CHILDREN_BYTES)


def numbers_in(file: KeptFile) -> list[int]:
    """Return the processes that such a file names."""
    return _numbers(file.read())


def _children_of_threads(pid: int) -> list[int]:
    """Return what other threads than the first have started."""
    try:
        names = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for name in names[:THREADS_MAX]:
        if name == str(pid):
            continue
        found += _numbers(read_once(f"/proc/{pid}/task/{name}/children", _CHILDREN_BYTES))
    return found


def _private_bytes(pid: int) -> int:
    """Return what a process has in RAM that no other has."""
    text = read_once(f"/proc/{pid}/smaps_rollup", STATUS_BYTES)
    try:
        return find_field(text, b"Private_Dirty:") * 1024
    except ValueError:
        return 0
