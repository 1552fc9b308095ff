"""A real memory group with a hard limit, for as long as a measurement takes. Knows nothing of what
runs in it. Needs cgroup v1 or v2 with a writable memory controller (root).
"""

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

FREE_SECONDS = 20.0
"""Seconds that a group may take to become empty after its members were killed."""
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Group:
    folder: Path
    version: int

    def command(self, words: list[str]) -> list[str]:
        """Wrap a command so that it runs inside."""
        return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(self.folder), *words]

    def kills(self) -> int:
        """Return how many processes the kernel has killed for memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return int(self._field(name, "oom_kill"))

    def peak_bytes(self) -> int:
        """Return the most memory charged since the last reset, file cache included."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        return int((self.folder / name).read_text())

    def used_bytes(self) -> int:
        """Return what is charged and no file cache."""
        name = "total_rss" if self.version == 1 else "anon"
        return int(self._field("memory.stat", name))

    def members(self) -> list[int]:
        return [int(line) for line in (self.folder / "cgroup.procs").read_text().split()]

    def end(self) -> None:
        """Kill all members and wait until they are gone."""
        end = time.monotonic() + FREE_SECONDS
        while self.members() and time.monotonic() < end:
            for pid in self.members():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def _field(self, name: str, key: str) -> str:
        for line in (self.folder / name).read_text().splitlines():
            words = line.split()
            if words[0] == key:
                return words[1]
        return "0"


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Group]:
    """Make a group with a limit, and take it away with all that runs in it."""
    mount, version = _mount()
    folder = mount / f"adaptive-exec-bench-{os.getpid()}-{next(_numbers)}"
    folder.mkdir()
    group = Group(folder, version)
    name = "memory.limit_in_bytes" if version == 1 else "memory.max"
    try:
        (folder / name).write_text(str(limit_bytes))
        yield group
    finally:
        group.end()
        _remove(folder)


def _remove(folder: Path) -> None:
    end = time.monotonic() + FREE_SECONDS
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _mount() -> tuple[Path, int]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ")
        place = Path(left.split(" ")[4])
        if kind == "cgroup" and "memory" in options.split(","):
            return place, 1
        if kind == "cgroup2" and "memory" in (place / "cgroup.controllers").read_text().split():
            return place, 2
    message = "no memory controller is mounted, got none in /proc/self/mountinfo; run as root"
    raise RuntimeError(message)
