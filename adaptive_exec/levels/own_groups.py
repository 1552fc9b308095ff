"""A hard wall: a control group of its own for each worker, with a limit of real memory.

The kernel charges it with what the worker and all that its tasks start have in use, not with what
they ask for, and kills in it alone at its limit: nobody above is a candidate. Made where the host
has handed a group over (`host/delegated`). Decides nothing.

Source: kernel Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst.
"""

import contextlib
import errno
import os
import time
from typing import Final, NamedTuple

from adaptive_exec.system.files import KeptFile
from adaptive_exec.system.processes import started_ticks

MOVE_TRIES: Final = 8
"""Times that everybody is moved out of a group, who may fork meanwhile. Source: own choice."""
SLACK_BYTES: Final = 1 << 20
"""Bytes beside what a group has in use below which no limit goes: the kernel would kill at once.
Source: own choice; it charges up to 64 pages a processor ahead."""
FINISH_SECONDS: Final = 0.5
"""Seconds that the end waits at most for groups to become empty; what is left then the next start
removes. Source: own choice; a process of 1 GB is gone in 0.05 s."""
FINISH_POLL_SECONDS: Final = 0.005
"""Seconds between two looks. Source: as `zygote.END_POLL_SECONDS`."""
NO_GROUP: Final = "no control group of this process can be written"
"""What is said where there is nothing to make groups in."""
_READ_BYTES: Final = 4096
"""Bytes of one read; a list of processes may take several."""
_NAME_PARTS: Final = 3
"""Numbers in the name of a worker's group."""


class _Files(NamedTuple):
    limit: str
    usage: str
    most: str
    events: str
    full: str
    at_limit: bytes
    fixed: tuple[tuple[str, str], ...]
    without_swap: tuple[str, str]


_FILES: Final = {
    1: _Files(
        limit="memory.limit_in_bytes",
        usage="memory.usage_in_bytes",
        most="memory.max_usage_in_bytes",
        events="memory.oom_control",
        full="memory.failcnt",
        at_limit=b"",
        fixed=(),
        without_swap=("memory.swappiness", "0"),
    ),
    2: _Files(
        limit="memory.max",
        usage="memory.current",
        most="memory.peak",
        events="memory.events",
        full="memory.events",
        at_limit=b"oom ",
        fixed=(("memory.oom.group", "1"),),
        without_swap=("memory.swap.max", "0"),
    ),
}


class OwnGroup:
    """The group of one worker.

    Args:
        folder: Its folder, which is there.
        version: 1 or 2.

    Raises:
        OSError: Its limit cannot be written.
    """

    def __init__(self, folder: str, version: int) -> None:
        self.folder = folder
        self._files = _FILES[version]
        self._base = 0
        self.is_in_use = False
        self._limit = os.open(f"{folder}/{self._files.limit}", os.O_WRONLY | os.O_CLOEXEC)
        names = (self._files.usage, self._files.events, self._files.full)
        self._usage, self._events, self._full = (
            KeptFile(f"{folder}/{name}", _READ_BYTES) for name in names
        )
        for file in (self._usage, self._events, self._full):
            file.open()  # after a kill, memory may be short of what that takes

    def take(self, pid: int) -> None:
        """Take a process in; what it starts from now on is in it, too."""
        with contextlib.suppress(OSError):  # it is gone already
            _write(f"{self.folder}/cgroup.procs", str(pid))
            self.is_in_use = True

    def bound(self, size: int | None) -> None:
        """Let it use so many bytes more than it does now; None for any."""
        self._base = self._used_bytes()
        self._put(None if size is None else self._base + size)

    def move(self, size: int) -> None:
        """Let it use so many bytes more than it did when it was bounded."""
        self._put(max(self._base + size, self._used_bytes() + SLACK_BYTES))

    def peak_bytes(self) -> int | None:
        """Return the most that it ever used, None where that is not told."""
        try:
            return int(_read(f"{self.folder}/{self._files.most}"))
        except (OSError, ValueError):
            return None

    def has_killed(self) -> bool:
        """Say whether the kernel has killed in it for memory."""
        return self._count(b"oom_kill ") > 0

    def was_full(self) -> bool:
        """Say whether it was its own limit that the kernel has killed at."""
        if self._files.at_limit:
            return self._count(self._files.at_limit) > 0
        return _number(self._full.read()) > 0

    def close(self) -> None:
        """Close its files; it cannot be bounded any more."""
        limit, self._limit = self._limit, -1
        if limit >= 0:
            os.close(limit)
        for file in (self._usage, self._events, self._full):
            file.close()

    def remove(self) -> bool:
        """Remove it with all that is in it; False while somebody in it has not ended yet."""
        with contextlib.suppress(OSError):  # Linux 5.14 on
            _write(f"{self.folder}/cgroup.kill", "1")
        return _remove(self.folder)

    def _put(self, limit: int | None) -> None:
        text = b"-1" if limit is None and not self._files.at_limit else b"max"
        with contextlib.suppress(OSError):  # version 1 refuses what is in use already
            os.pwrite(self._limit, text if limit is None else b"%d" % limit, 0)

    def _used_bytes(self) -> int:
        return _number(self._usage.read())

    def _count(self, key: bytes) -> int:
        lines = self._events.read().splitlines()
        counts = [int(line[len(key) :]) for line in lines if line.startswith(key)]
        return counts[0] if counts else 0


class OwnGroups:
    """Makes and removes the groups of workers below one.

    Args:
        folder: The group that was handed over, `""` where there is none.
        version: 1 or 2.
        leaf: Name of the group for who is in it now; `""` where they may stay.
        source: What says that it is ours, for people to read.
        prefix: How the names of the groups begin, before who made them: its process, start and a
            number.
        may_swap: Whether what is in the groups may be swapped out.
    """

    def __init__(
        self, *, folder: str, version: int, leaf: str, source: str, prefix: str, may_swap: bool
    ) -> None:
        self.source = source
        self._prefix = prefix
        self._folder, self._version, self._leaf = folder, version, leaf
        self._may_swap = may_swap
        self._own = f"{prefix}-{os.getpid()}-{started_ticks(os.getpid())}"
        self._made = 0
        self._leaving: list[OwnGroup] = []

    def open(self) -> None:
        """Make room for the groups, and remove what others have left behind who are gone.

        Raises:
            OSError: There can be none.
        """
        if not self._folder:
            raise OSError(errno.ENOENT, NO_GROUP)
        self._sweep()
        if self._leaf:
            _make_way(self._folder, self._leaf)
        group = self.make()
        self.drop(group)

    def make(self) -> OwnGroup:
        """Make a group.

        Raises:
            OSError: It was refused.
        """
        self._made += 1
        folder = f"{self._folder}/{self._own}-{self._made}"
        files = _FILES[self._version]
        os.mkdir(folder)
        try:
            if not self._may_swap:
                with contextlib.suppress(OSError):  # a kernel without swap
                    _write(f"{folder}/{files.without_swap[0]}", files.without_swap[1])
            for name, text in files.fixed:
                _write(f"{folder}/{name}", text)
            return OwnGroup(folder, self._version)
        except OSError:
            _remove(folder)
            raise

    def drop(self, group: OwnGroup) -> None:
        """Remove a group, at once or once all in it have ended."""
        group.close()
        if not group.remove():
            self._leaving.append(group)

    def tidy(self) -> bool:
        """Remove what could not be removed before; say whether anything is left."""
        self._leaving = [group for group in self._leaving if not group.remove()]
        return bool(self._leaving)

    def finish(self) -> None:
        """Remove all, with bounded patience: what was killed may not have ended yet."""
        until = time.monotonic() + FINISH_SECONDS
        while self.tidy() and time.monotonic() < until:
            time.sleep(FINISH_POLL_SECONDS)

    def _sweep(self) -> None:
        try:
            names = os.listdir(self._folder)
        except OSError:
            return
        for name in names:
            words = name.removeprefix(self._prefix).split("-")[1:]
            is_named = name.startswith(self._prefix) and len(words) == _NAME_PARTS
            if is_named and all(word.isdigit() for word in words):
                pid, ticks = int(words[0]), int(words[1])
                if started_ticks(pid) != ticks:
                    _remove(f"{self._folder}/{name}")  # refused while somebody is in it


def _make_way(folder: str, leaf: str) -> None:
    """Move everybody out of a group, so that groups below it may have limits of memory.

    Raises:
        OSError: That is not allowed.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{folder}/{leaf}")
    for turn in range(MOVE_TRIES):
        for pid in _read(f"{folder}/cgroup.procs").split():
            with contextlib.suppress(ProcessLookupError):
                _write(f"{folder}/{leaf}/cgroup.procs", pid.decode())
        try:
            _write(f"{folder}/cgroup.subtree_control", "+memory")
        except OSError:
            if turn == MOVE_TRIES - 1:
                raise
        else:
            return


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def _remove(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = part = os.read(file, _READ_BYTES)
        while part:
            part = os.read(file, _READ_BYTES)
            text += part
        return text
    finally:
        os.close(file)


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
