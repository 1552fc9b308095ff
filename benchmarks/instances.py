"""Measure several instances of a job at once, in one real memory group, beside the alternatives.

    python benchmarks/instances.py [NAME ...] [--rounds N] [--write]

Needs root and a memory controller (cgroup v1 or v2). Alternatives take turns within one run. Exits
with 1 when a measurement could not be made; a figure that is not reached is a result.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from groups import Group, memory_group
from measure import HERE, describe_host, write_section

PATIENCE_SECONDS = 90.0
"""Seconds until a variant counts as hanging and is ended."""
GB = 2**30
MB = 10**6
SAMPLE_SECONDS = 0.02
KILLED = (3, 7)
"""Which of sixteen are killed half-way."""
IN_FLIGHT_MOST = 32
"""Tasks that an instance may have in flight: as many workers as tasks that wait may have."""
JOB = HERE / "instance_job.py"
PEERS = ("processes", "naive", "loky", "joblib", "threads", "pool", "pebble", "dask")
NAMES = {
    "loop": "a plain loop each",
    "adaptive": "adaptive_exec",
    "alone": "adaptive_exec, `share_host=False`",
    "processes": "ProcessPoolExecutor",
    "naive": "its naive fallback",
    "threads": "ThreadPoolExecutor",
    "pool": "multiprocessing.Pool",
}


@dataclass(frozen=True, slots=True)
class Crowd:
    """How several instances at once went.

    Attributes:
        complete: Instances that ended well with all their tasks.
        wall_seconds: From the first start to the last end.
        peak_bytes: Most anonymous memory of all together, sampled fifty times a second.
        kills: Processes that the kernel killed for memory.
    """

    complete: int
    wall_seconds: float
    peak_bytes: int
    kills: int


class Peak:
    """Samples a group's memory while a measurement runs."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._end = threading.Event()
        self.bytes = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, self._group.used_bytes())


def start(group: Group | None, words: Sequence[str], folder: Path, **more: str) -> subprocess.Popen:
    command = [sys.executable, str(JOB), *words]
    return subprocess.Popen(
        group.command(command) if group else command,
        env={**os.environ, "ADAPTIVE_EXEC_LEDGER": str(folder), **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=HERE.parent,
    )


def run_crowd(variant: str, count: int, job: Sequence[str], limit_bytes: int) -> Crowd:
    """Run so many instances of a variant at once in a group of their own."""
    with (
        memory_group(limit_bytes) as group,
        tempfile.TemporaryDirectory() as folder,
        Peak(group) as peak,
    ):
        began = time.monotonic()
        children = [start(group, [variant, *job], Path(folder)) for _ in range(count)]
        good = [_is_complete(child, job[0], began + PATIENCE_SECONDS) for child in children]
        wall = time.monotonic() - began
        return Crowd(sum(good), wall, peak.bytes, group.kills())


def _is_complete(child: subprocess.Popen, tasks: str, until: float) -> bool:
    try:
        out, err = child.communicate(timeout=max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
        return False
    if os.environ.get("INSTANCES_SHOW") and err:
        sys.stderr.write(err[-3000:])
    return child.returncode == 0 and out.strip() == tasks


def table(found: dict[str, list[Crowd]], count: int, limit_bytes: int) -> str:
    lines = [
        "| | complete | wall, s (all runs) | peak, MB | of the limit | kernel kills |",
        "|---|---|---|---|---|---|",
    ]
    for variant, crowds in found.items():
        walls = sorted(crowd.wall_seconds for crowd in crowds)
        shown = f"{statistics.median(walls):.1f} ({', '.join(f'{wall:.1f}' for wall in walls)})"
        peak = max(crowd.peak_bytes for crowd in crowds)
        least, most = (fit(crowd.complete for crowd in crowds) for fit in (min, max))
        complete = f"{least}" if least == most else f"{least}-{most}"
        kills = [crowd.kills for crowd in crowds]
        killed = f"{min(kills)}" if min(kills) == max(kills) else f"{min(kills)}-{max(kills)}"
        lines.append(
            f"| {NAMES.get(variant, variant)} | {complete} of {count} | {shown} "
            f"| {peak / MB:.0f} | {100 * peak / limit_bytes:.0f} % | {killed} |"
        )
    return "\n".join(lines)


def compare(
    job: Sequence[str], *, count: int, limit_bytes: int, ratio: float, rounds: int, asked: str
) -> str:
    """Run loops and ours in turn, the peers once."""
    found: dict[str, list[Crowd]] = {"loop": [], "adaptive": []}
    for _ in range(rounds):
        for variant, crowds in found.items():
            crowds.append(run_crowd(variant, count, job, limit_bytes))
    for variant in PEERS:
        found[variant] = [run_crowd(variant, count, job, limit_bytes)]
    ours, loops = found["adaptive"], found["loop"]
    wall, theirs = (
        statistics.median(crowd.wall_seconds for crowd in crowds) for crowds in (ours, loops)
    )
    peak = max(crowd.peak_bytes for crowd in ours)
    is_reached = (
        all(crowd.complete == count and not crowd.kills for crowd in ours)
        and wall <= ratio * theirs
        and peak <= 0.95 * limit_bytes
    )
    verdict = "**Reached.**" if is_reached else "**Not reached.**"
    return (
        f"Asked: {asked}. Measured: {min(crowd.complete for crowd in ours)} of {count} in every "
        f"run, {wall:.1f} s against {theirs:.1f} s ({wall / theirs:.2f} times), peak "
        f"{100 * peak / limit_bytes:.0f} %, {sum(crowd.kills for crowd in ours)} kernel kills. "
        f"{verdict}\n\n{table(found, count, limit_bytes)}"
    )


def measure_eight(rounds: int) -> str:
    """Eight instances of 24 tasks of 60 MB and 0.2 s in 1 GB: do all complete, and how soon?"""
    asked = "8 of 8, no kernel kill, at most 0.9 times the loops, peak at most 95 %"
    job = ["24", "60", "0.2"]
    return compare(job, count=8, limit_bytes=GB, ratio=0.9, rounds=rounds, asked=asked)


def measure_tight(rounds: int) -> str:
    """The same with 100 MB, so that one task of each just fits."""
    asked = "8 of 8, no kernel kill, at most 1.3 times the loops, peak at most 95 %"
    job = ["24", "100", "0.2"]
    return compare(job, count=8, limit_bytes=GB, ratio=1.3, rounds=rounds, asked=asked)


def measure_cores(rounds: int) -> str:
    """Four instances that compute on two cores: what does it cost, and is it fair?"""
    ratios, parts = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            one = _spin_together(1, 400, Path(folder))[0]
            wall, shares = _spin_together(4, 100, Path(folder))
        ratios.append(wall / one)
        parts += shares
    ratio, low, high = statistics.median(ratios), min(parts), max(parts)
    is_reached = ratio <= 1.1 and low >= 17 and high <= 33
    return (
        "Asked: at most 1.1 times the wall of the same work in one instance, 25 % +- 8 of the "
        f"throughput for each while all run. Measured: {ratio:.2f} times "
        f"({', '.join(f'{one:.2f}' for one in ratios)}), {low:.0f} to {high:.0f} %. "
        f"{'**Reached.**' if is_reached else '**Not reached.**'}"
    )


def _spin_together(count: int, tasks: int, folder: Path) -> tuple[float, list[float]]:
    notes = [folder / f"{count}-{number}" for number in range(count)]
    began = time.monotonic()
    children = [
        start(None, ["adaptive", str(tasks), "spin", "0.05"], folder, INSTANCE_JOB_NOTES=str(note))
        for note in notes
    ]
    for child in children:
        assert child.communicate(timeout=5 * PATIENCE_SECONDS)[0].strip() == str(tasks)
    wall = time.monotonic() - began
    times = [[float(line) for line in note.read_text().split()] for note in notes]
    first, last = max(one[0] for one in times), min(one[-1] for one in times)
    done = [sum(first <= at <= last for at in one) for one in times]
    return wall, [100 * one / max(1, sum(done)) for one in done]


def measure_lone(rounds: int) -> str:
    """What does the ledger cost an instance that is alone?"""
    found: dict[str, list[float]] = {"adaptive": [], "alone": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(4 * rounds):
            for variant, walls in found.items():
                began = time.monotonic()
                child = start(None, [variant, "400", "spin", "0.005"], Path(folder))
                assert child.communicate(timeout=PATIENCE_SECONDS)[0].strip() == "400"
                walls.append(time.monotonic() - began)
    on, off = (statistics.median(walls) for walls in found.values())
    least = min(found["adaptive"]) / min(found["alone"])
    verdict = "**Reached.**" if on <= 1.01 * off else "**Not reached.**"
    return (
        f"Asked: under 1 % apart. Measured: {on:.3f} s with the ledger, {off:.3f} s without "
        f"({100 * (on / off - 1):+.1f} % of the medians of {4 * rounds} runs each in turn, "
        f"{100 * (least - 1):+.1f} % of the quickest). {verdict}"
    )


def measure_sixteen(rounds: int) -> str:
    """Sixteen of 24 tasks of 20 MB in 1.5 GB, two killed half-way, two late: who completes?"""
    found = [_sixteen() for _ in range(rounds)]
    complete, resumed, again, kills = ([one[place] for one in found] for place in range(4))
    most = max(IN_FLIGHT_MOST * 2, 2)
    is_reached = (
        min(complete) == 14 and min(resumed) == 2 and max(kills) == 0 and max(again) <= most
    )
    return (
        "Asked: all survivors complete, the killed ones resume from their journals and run only "
        f"what was in flight again. Measured: {min(complete)} of 14 survivors, {min(resumed)} of 2 "
        f"resumed, at most {max(again)} of 48 tasks run twice by both together, {max(kills)} "
        f"kernel kills. {'**Reached.**' if is_reached else '**Not reached.**'}"
    )


def _sixteen() -> tuple[int, int, int, int]:
    """Return survivors done, killed ones done at last, tasks run twice, kernel kills."""
    with memory_group(3 * GB // 2) as group, tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def begin(number: int) -> subprocess.Popen:
            more = {
                "INSTANCE_JOB_JOURNAL": str(folder / f"{number}.journal"),
                "INSTANCE_JOB_NOTES": str(folder / f"{number}.notes"),
            }
            return start(group, ["adaptive", "24", "20", "0.2"], folder, **more)

        children = {}
        for number in range(14):
            children[number] = begin(number)
            time.sleep(2 / 14)
        until = time.monotonic() + PATIENCE_SECONDS
        for number in KILLED:
            while _count_lines(folder / f"{number}.notes") < 12 and time.monotonic() < until:
                time.sleep(0.02)
            children[number].kill()
            children[number].communicate()
        children.update({number: begin(number) for number in (14, 15)})
        until = time.monotonic() + PATIENCE_SECONDS
        survivors = [child for number, child in children.items() if number not in KILLED]
        complete = sum(_is_complete(child, "24", until) for child in survivors)
        resumed = sum(_is_complete(begin(number), "24", until + 60) for number in KILLED)
        runs = sum(_count_lines(folder / f"{number}.notes") for number in KILLED)
        return complete, resumed, runs - 24 * len(KILLED), group.kills()


def _count_lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


FIGURES: dict[str, Callable[[int], str]] = {
    "eight": measure_eight,
    "tight": measure_tight,
    "sixteen": measure_sixteen,
    "cores": measure_cores,
    "lone": measure_lone,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(FIGURES)}")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turn")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    asked = parser.parse_args()
    failed = 0
    for name in asked.names or FIGURES:
        host, began = describe_host(), time.monotonic()
        print(f"\n## {name}: {FIGURES[name].__doc__}\n", flush=True)
        try:
            text = FIGURES[name](asked.rounds)
        except Exception:  # noqa: BLE001  # the other figures are still wanted
            traceback.print_exc()
            failed = 1
            continue
        text += f"\n\n{host}; {time.monotonic() - began:.0f} s."
        print(text, flush=True)
        if asked.write:
            write_section(HERE / "README.md", f"instances-{name}", text)
    return failed


if __name__ == "__main__":
    sys.exit(main())
