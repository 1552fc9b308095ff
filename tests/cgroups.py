"""Make a real control group for one test, and take it away again.

Each context manager makes one group directly below the mount of its controller (cgroup v1 or v2),
sets its limit and yields a `RealGroup`. Where this host does not allow that, the test is skipped
and the reason names the refusal. On the way out every member is killed and the folder removed, with
bounded patience. Nothing here asserts anything.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

REMOVE_SECONDS: Final = 60.0
"""Seconds a group may take to become empty after its members were killed (freeing takes about 1 s
per 30 GB)."""
REMOVE_POLL_SECONDS: Final = 0.01
"""Seconds between two tries to remove a group."""

PROJECT: Final = Path(__file__).parents[1]
CHILD_SECONDS: Final = 150
"""Seconds that a child may take."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class RealGroup:
    """One control group that exists on this host while its context is open.

    Attributes:
        folder: Its folder under the controller's mount.
        name: Its path as `/proc/<pid>/cgroup` shows it to a process outside a namespace.
        version: 1 or 2.
    """

    folder: Path
    name: str
    version: int

    def enter(self) -> None:
        """Move the calling process into the group; for a child, e.g. between fork and exec."""
        (self.folder / "cgroup.procs").write_text("0")

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Wrap a command so that it runs inside the group.

        Args:
            arguments: Program and arguments.

        Returns:
            A command for `subprocess` that enters the group, then becomes the program (same pid).
        """
        return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(self.folder), *arguments]

    def python(self, code: str) -> list[str]:
        """Return a command that runs Python code with this interpreter inside the group."""
        return self.command([sys.executable, "-c", code])

    def run_python(self, code: str) -> "subprocess.CompletedProcess[str]":
        """Run Python code inside the group to its end, with this project on its path."""
        return subprocess.run(
            self.python(code),
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS,
            check=False,
        )

    def kernel_kills(self) -> int:
        """Return how many of the group's processes the kernel has killed for want of memory."""
        text = self.read("memory.oom_control" if self.version == 1 else "memory.events")
        counts = dict(line.split() for line in text.splitlines())
        return int(counts["oom_kill"])

    def read(self, name: str) -> str:
        """Return the text of one of the group's files, e.g. `"memory.oom_control"`."""
        return (self.folder / name).read_text()

    def members(self) -> list[int]:
        """Return the ids of the processes in the group."""
        return [int(line) for line in self.read("cgroup.procs").split()]


@contextmanager
def memory_group(limit_bytes: int, *, inside: RealGroup | None = None) -> Iterator[RealGroup]:
    """Make a memory group with a hard limit.

    Args:
        limit_bytes: The limit, whole pages.
        inside: Another memory group to make it in; None means directly below the mount.

    Yields:
        The group.
    """
    limits = {1: {"memory.limit_in_bytes": str(limit_bytes)}, 2: {"memory.max": str(limit_bytes)}}
    with _group("memory", limits, inside=inside) as group:
        yield group


@contextmanager
def pids_group(most: int) -> Iterator[RealGroup]:
    """Make a group that may hold `most` processes and threads."""
    limits = {version: {"pids.max": str(most)} for version in (1, 2)}
    with _group("pids", limits) as group:
        yield group


@contextmanager
def cpu_group(quota_microseconds: int, period_microseconds: int = 100_000) -> Iterator[RealGroup]:
    """Make a group that may use `quota_microseconds` of CPU in each period."""
    limits = {
        1: {
            "cpu.cfs_period_us": str(period_microseconds),
            "cpu.cfs_quota_us": str(quota_microseconds),
        },
        2: {"cpu.max": f"{quota_microseconds} {period_microseconds}"},
    }
    with _group("cpu", limits) as group:
        yield group


@contextmanager
def _group(
    controller: str, limits: Mapping[int, Mapping[str, str]], *, inside: RealGroup | None = None
) -> Iterator[RealGroup]:
    group = _make(controller, inside)
    try:
        _set_limits(group, controller, limits[group.version])
        yield group
    finally:
        _remove(group)


def _make(controller: str, inside: RealGroup | None) -> RealGroup:
    above = inside or RealGroup(*_mount_of(controller))
    own = f"adaptive-exec-test-{os.getpid()}-{next(_numbers)}"
    folder = above.folder / own
    try:
        if above.version == 2:
            _delegate(above.folder, controller)
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"needs a writable {controller} cgroup, got {error}")
    return RealGroup(folder, f"{above.name}/{own}", above.version)


def _mount_of(controller: str) -> tuple[Path, str, int]:
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError as error:
        pytest.skip(f"needs control groups, got {error}")
    for line in lines:
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ")
        if kind == "cgroup" and controller in options.split(","):
            return Path(left.split(" ")[4]), "", 1
        if kind == "cgroup2" and _has_controller(Path(left.split(" ")[4]), controller):
            return Path(left.split(" ")[4]), "", 2
    pytest.skip(f"needs a mounted {controller} cgroup, got none")


def _has_controller(mount: Path, controller: str) -> bool:
    try:
        return controller in (mount / "cgroup.controllers").read_text().split()
    except OSError:
        return False


def _delegate(mount: Path, controller: str) -> None:
    # Left on afterwards: taking it back would take it from whoever relies on it meanwhile.
    subtree = mount / "cgroup.subtree_control"
    if controller not in subtree.read_text().split():
        subtree.write_text(f"+{controller}")


def _set_limits(group: RealGroup, controller: str, limits: Mapping[str, str]) -> None:
    try:
        for name, value in limits.items():
            (group.folder / name).write_text(value)
    except OSError as error:
        pytest.skip(f"needs a {controller} cgroup whose limit can be set, got {error}")


def _remove(group: RealGroup) -> None:
    deadline = time.monotonic() + REMOVE_SECONDS
    while True:
        _kill_members(group)
        try:
            _remove_below(group)
            group.folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(REMOVE_POLL_SECONDS)
        else:
            return


def _remove_below(group: RealGroup) -> None:
    """Remove groups that the group's own members have made below it."""
    for folder in group.folder.iterdir() if group.folder.is_dir() else ():
        if folder.is_dir():
            below = RealGroup(folder, f"{group.name}/{folder.name}", group.version)
            _kill_members(below)
            _remove_below(below)
            folder.rmdir()


def _kill_members(group: RealGroup) -> None:
    try:
        members = group.members()
    except OSError:
        return
    for pid in members:
        if pid in (0, os.getpid()):
            continue
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
