"""What `soak.py` reads of its processes, and whether a reading drifts. Reads `/proc`; no executor.

A reading is a number for each name in `TRIFLES`, taken between two rounds, when all that is left
of the program is what it keeps: the parent, two kept executors with a zygote each, their workers.
"""

import contextlib
import ctypes
import math
import os
import resource
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
TRIFLES = {
    "parent MiB": 1.0,
    "parent shared MiB": 1.0,
    "parent fds": 1.0,
    "parent threads": 1.0,
    "parent maps": 4.0,
    "memory files": 1.0,
    "children": 1.0,
    "zygotes MiB": 1.0,
    "zygotes fds": 1.0,
    "zygotes threads": 0.5,
    "workers": 0.5,
    "worker MiB": 1.0,
    "worker fds": 1.0,
    "worker threads": 1.0,
    "oldest worker min": 0.0,
    "grandchildren": 0.5,
    "files": 1.0,
    "shm": 0.5,
    "tasks/s": 0.0,
    "CPU us/task": 0.0,
}
"""What is read, and the change over a whole run that is no matter, in the reading's own unit.
`worker` is the largest of all workers; `memory files` are memfds that the parent has open."""
TRIFLE_SHARE = 0.02
"""Share of its mean that a reading may change over a run without drifting."""
RATES = ("tasks/s", "CPU us/task")
"""What a busy host moves; judged by the first and the last part of the run, not by a slope."""
UNJUDGED = {*RATES, "oldest worker min"}
"""What may go up or down."""
ERRORS = 3.0
"""Standard errors that a slope must be away from 0 to count."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A line through readings, by least squares: change over the run, and its standard error."""

    name: str
    mean: float
    per_hour: float
    error_per_hour: float
    drift: float
    trifle: float

    @property
    def drifts(self) -> bool:
        if self.name in UNJUDGED or abs(self.drift) <= self.trifle:
            return False
        return abs(self.per_hour) > ERRORS * self.error_per_hour


def fit(name: str, seconds: Sequence[float], values: Sequence[float], factor: float = 1.0) -> Slope:
    """Fit a line to one reading over time; trifles count so many times."""
    count, middle = len(values), sum(seconds) / len(seconds)
    mean = sum(values) / count
    width = sum((at - middle) ** 2 for at in seconds)
    slope = (
        sum((at - middle) * (value - mean) for at, value in zip(seconds, values, strict=True))
        / width
    )
    left = sum(
        (value - mean - slope * (at - middle)) ** 2
        for at, value in zip(seconds, values, strict=True)
    )
    error = math.sqrt(left / max(1, count - 2) / width)
    trifle = factor * max(TRIFLES[name], TRIFLE_SHARE * abs(mean))
    drift = slope * (seconds[-1] - seconds[0])
    return Slope(name, mean, slope * 3600, error * 3600, drift, trifle)


def read(folder: Path, neighbours: Iterable[int]) -> dict[str, float]:
    """Read everything but the rates.

    Args:
        folder: The temporary folder of the program, in which all files count.
        neighbours: Children that are no part of the program.
    """
    me = os.getpid()
    zygotes = [pid for pid in children_of(me) if pid not in set(neighbours)]
    workers = [pid for zygote in zygotes for pid in children_of(zygote)]
    below = [pid for worker in workers for pid in children_of(worker)]
    own, anonymous = _status(me), _anonymous_mib
    return {
        "parent MiB": own.get("RssAnon", 0) / 1024,
        "parent shared MiB": own.get("RssShmem", 0) / 1024,
        "parent fds": len(_descriptors(me)),
        "parent threads": threading.active_count(),
        "parent maps": _count_maps(),
        "memory files": sum("memfd:" in target for target in _descriptors(me)),
        "children": len(zygotes),
        "zygotes MiB": sum(map(anonymous, zygotes)),
        "zygotes fds": sum(len(_descriptors(pid)) for pid in zygotes),
        "zygotes threads": sum(_status(pid).get("Threads", 0) for pid in zygotes),
        "workers": len(workers),
        "worker MiB": max(map(anonymous, workers), default=0),
        "worker fds": max((len(_descriptors(pid)) for pid in workers), default=0),
        "worker threads": max((_status(pid).get("Threads", 0) for pid in workers), default=0),
        "oldest worker min": max(map(_age_minutes, workers), default=0),
        "grandchildren": len(below),
        "files": sum(1 for _ in folder.rglob("*")),
        "shm": sum(str(me) in name.split("-") for name in _shared()),
    }


def give_back() -> None:
    """Have the C library give free memory back, so that what is read is what is held."""
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def cpu_seconds(neighbours: Iterable[int]) -> float:
    """Return what this process and all below it used so far, those that have ended included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    zygotes = [pid for pid in children_of(os.getpid()) if pid not in set(neighbours)]
    alive = zygotes + [pid for zygote in zygotes for pid in children_of(zygote)]
    ticks = sum(sum(map(int, _stat(pid)[11:15])) for pid in alive)
    return sum(one.ru_utime + one.ru_stime for one in used) + ticks / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """Return the children of a process that still run."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text(encoding="ascii").split())
        except OSError:
            continue
    return [child for child in found if _stat(child)[:1] not in ([], ["Z"])]


def rates(
    readings: Sequence[Mapping[str, float]], name: str, seconds: float
) -> tuple[float, float]:
    """Return a rate over the first and over the last seconds of a run."""
    end = readings[-1]["seconds"]
    first = [one for one in readings if one["seconds"] <= readings[0]["seconds"] + seconds]
    last = [one for one in readings if one["seconds"] >= end - seconds]
    return (
        _rate(first if len(first) > 1 else readings[:2], name),
        _rate(last if len(last) > 1 else readings[-2:], name),
    )


def _rate(part: Sequence[Mapping[str, float]], name: str) -> float:
    first, last = part[0], part[-1]
    tasks = max(1, last["tasks"] - first["tasks"])
    if name == "tasks/s":
        return tasks / max(1e-9, last["seconds"] - first["seconds"])
    return 1e6 * (last["cpu"] - first["cpu"]) / tasks


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _age_minutes(pid: int) -> float:
    words = _stat(pid)
    if not words:
        return 0.0
    started = int(words[19]) / os.sysconf("SC_CLK_TCK")
    return (time.clock_gettime(time.CLOCK_BOOTTIME) - started) / 60


def _status(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    words = [line.replace(":", " ").split() for line in lines]
    return {one[0]: int(one[1]) for one in words if len(one) > 1 and one[1].isdigit()}


def _anonymous_mib(pid: int) -> float:
    return _status(pid).get("RssAnon", 0) / 1024


def _descriptors(pid: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.append(str(path.readlink()))
        except OSError:
            continue
    return found


def _count_maps() -> int:
    return Path("/proc/self/maps").read_text(encoding="utf-8").count("\n")


def _shared() -> list[str]:
    """Return the names of all files there; those of other programs come and go."""
    return [name for _, _, names in os.walk("/dev/shm") for name in names]
