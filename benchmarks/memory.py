"""Does it keep within a memory limit, where others are killed, and what does that cost?

Each executor runs each scenario in a process and a control group of its own, with a limit on memory
and a bound on time. What came back, what the kernel killed and the highest memory are counted from
outside. Needs root and a memory cgroup that can be written.

    python benchmarks/memory.py                  # all scenarios
    python benchmarks/memory.py overload leak    # some
    python benchmarks/memory.py --write          # and put the tables into README.md
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from measure import HERE, describe_host, write_section

MIB = 1024 * 1024
LIMIT_MIB = 512
WORKERS = 4
BOUND_SECONDS = 90
SAMPLE_SECONDS = 0.004
NAIVE = ("loop", "ProcessPoolExecutor", "loky", "joblib", "mpire", "pebble", "dask")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A batch, and the executors that run it: name -> (workers, settings)."""

    function: str
    tasks: list[tuple[int, int]]
    executors: dict[str, tuple[int, dict[str, object]]]
    asked: str
    limit_mib: int = LIMIT_MIB
    neighbour: tuple[float, int, float] | None = None
    ballast: int = 0


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a batch, seen from outside."""

    right: int
    errors: dict[str, int]
    seconds: float
    is_over: bool
    cpu_seconds: float
    peak_share: float
    usual_share: float
    kills: int
    stamps: list[float]
    report: str


def heavy_tail(count):
    random = Random(7)
    return [(min(300, max(1, int(random.lognormvariate(3.2, 1.0)))), 5) for _ in range(count)]


def naive(*names):
    return {name: (WORKERS, {}) for name in names or NAIVE}


def ours(**ways):
    named = {"adaptive": {}} | ways
    return {name: (WORKERS, settings) for name, settings in named.items()}


def two_sizes(order):
    """Sixty small ones and twelve that take twenty times as much, in an order."""
    tasks = [(10, 0.4)] * 60 + [(200, 0.4)] * 12
    if order == "shuffled":
        Random(1).shuffle(tasks)
    return tasks[::-1] if order == "falling" else tasks


def of_two_sizes(order):
    counts = (8, 5, 4)
    executors = {"adaptive": (8, {})}
    executors |= {f"ProcessPoolExecutor of {count}": (count, {}) for count in counts}
    asked = "all results, 0 kills, shuffled at most 1.3 x the best fixed number of workers"
    return Scenario("wait", two_sizes(order), executors, asked, limit_mib=1000)


TOLD = {"adaptive task_memory=150MB": {"task_memory": "150MB"}}
UNHELD = {
    "target_memory": 0.97,
    "warn_memory": 0.02,
    "critical_memory": 0.01,
    "task_memory": "22MB",
}
FIXED = {f"ProcessPoolExecutor of {count}": (count, {}) for count in (1, 2, 3)}
SCENARIOS = {
    "overload": Scenario(
        "hold",
        [(150, 20)] * 40,
        naive() | FIXED | ours(**TOLD),
        "all results, 0 kills, at most 90 % of the limit, at most 1.3 x the best fixed number of "
        "workers that keeps below 90 %",
    ),
    "poison": Scenario(
        "outgrow",
        [(2000 if number == 7 else 16, 5) for number in range(40)],
        naive() | ours(),
        "all others delivered, one PoisonTaskError",
    ),
    "leak": Scenario(
        "leak",
        [(10, 2)] * 300,
        naive() | ours(),
        "all 300, 0 kills, at most 1.5 x the same tasks without the leak",
    ),
    "no leak": Scenario("hold", [(10, 2)] * 300, ours(), "the measure for the leak"),
    "step": Scenario(
        "hold",
        [(15, 5)] * 40 + [(150, 5)] * 40,
        naive("ProcessPoolExecutor", "loky", "pebble", "dask") | ours(),
        "all results, at most 2 kills",
    ),
    "ramp": Scenario(
        "hold",
        [(5 + 3 * number, 5) for number in range(80)],
        naive("ProcessPoolExecutor", "loky", "pebble", "dask") | ours(),
        "all results, at most 2 kills",
    ),
    "tail": Scenario(
        "hold",
        heavy_tail(120),
        naive("ProcessPoolExecutor", "loky", "pebble", "dask") | ours(),
        "all results, at most 2 kills",
    ),
    "rising": of_two_sizes("rising"),
    "falling": of_two_sizes("falling"),
    "shuffled": of_two_sizes("shuffled"),
    "neighbour": Scenario(
        "hold",
        [(25, 5)] * 600,
        ours(),
        "nothing dies, above 90 % of the rate before within 5 s of its leaving",
        neighbour=(5.0, 307, 10.0),
    ),
    "transform": Scenario(
        "transform",
        [(22, 12)] * 150,
        {
            f"adaptive max_in_flight={most}": (10, UNHELD | {"max_in_flight": most})
            for most in (10, 4, 2, 1)
        }
        | {"adaptive target_memory=70.0": (10, {"target_memory": 70.0})},
        "70 % within 5 points, at most 20 % slower than 10 in flight",
        ballast=205,
    ),
    "idle": Scenario(
        "wait",
        [(20, 1)] * 4,
        {"adaptive": (4, {})},
        "under 0.5 % of a core while nothing happens: the next line's less this one's",
    ),
    "idle longer": Scenario(
        "wait", [(20, 21)] * 4, {"adaptive": (4, {})}, "under 0.5 % of a core while nothing happens"
    ),
}


@contextmanager
def memory_group(limit_bytes):
    """Make a control group of version 1 or 2 with a limit on memory."""
    mount = Path("/sys/fs/cgroup/memory")
    is_first = (mount / "memory.limit_in_bytes").exists()
    folder = (mount if is_first else Path("/sys/fs/cgroup")) / f"adaptive-exec-bench-{os.getpid()}"
    folder.mkdir()
    try:
        name = "memory.limit_in_bytes" if is_first else "memory.max"
        (folder / name).write_text(str(limit_bytes))
        yield folder
    finally:
        _empty(folder)


def _empty(folder):
    end = time.monotonic() + 10
    while True:
        for pid in (folder / "cgroup.procs").read_text().split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def used_bytes(folder):
    """Return RSS and shared memory of all in the group; page cache is not counted."""
    found = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    rss = found.get("total_rss", found.get("anon", "0"))
    return int(rss) + int(found.get("total_shmem", found.get("shmem", "0")))


def count_kills(folder):
    for name in ("memory.oom_control", "memory.events"):
        if (folder / name).exists():
            lines = (folder / name).read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0


def enter(folder, *command):
    words = 'echo 0 > "$0/cgroup.procs" && exec nice -n 5 "$@"'  # who watches comes first
    return ["sh", "-c", words, str(folder), *command]


def run(executor, scenario, bound_seconds=BOUND_SECONDS):
    workers, settings = scenario.executors[executor]
    text = json.dumps({
        "function": scenario.function,
        "tasks": scenario.tasks,
        "workers": workers,
        "settings": settings,
        "ballast": scenario.ballast,
    })
    with (
        tempfile.TemporaryDirectory() as place,
        memory_group(scenario.limit_mib * MIB) as folder,
        Path(f"{place}/out").open("w+", encoding="utf-8") as out,
    ):
        notes = f"{place}/notes"
        child = subprocess.Popen(
            enter(folder, sys.executable, str(HERE / "memory_child.py"), executor, text, notes),
            cwd=HERE,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        used = _watch(child, folder, scenario, bound_seconds)
        kills = count_kills(folder)
        out.seek(0)
        lines = Path(notes).read_text(encoding="utf-8").split("\n") if Path(notes).exists() else []
        shares = [taken / (scenario.limit_mib * MIB) for taken in used]
        return _sum_up(lines, shares, kills, out.read())


def _watch(child, folder, scenario, bound_seconds):
    began, used, neighbour = time.monotonic(), [], None
    while child.poll() is None and time.monotonic() - began < bound_seconds:
        used.append(used_bytes(folder))
        if scenario.neighbour and neighbour is None:
            after, megabytes, stay = scenario.neighbour
            if time.monotonic() - began > after:
                command = enter(folder, sys.executable, "-c", NEIGHBOUR, str(megabytes), str(stay))
                neighbour = subprocess.Popen(command)
        time.sleep(SAMPLE_SECONDS)
    for process in (child, neighbour):
        if process is not None:
            process.kill()
            process.wait()
    return used


NEIGHBOUR = """
import sys, time
held = []
for _ in range(int(sys.argv[1]) // 8):
    held.append(bytearray(b"x") * 8_000_000)
    time.sleep(0.03)
time.sleep(float(sys.argv[2]) - 0.03 * len(held))
"""


def _sum_up(lines, shares, kills, report):
    words = [line.split() for line in lines if line]
    seconds = next((float(word[1]) for word in words if word[0] == "end"), float("nan"))
    cpu = next((float(word[1]) for word in words if word[0] == "cpu"), float("nan"))
    tasks = [word for word in words if word[0] not in {"end", "cpu"}]
    usual = statistics.median(shares[len(shares) // 4 : -len(shares) // 4] or [0.0])
    errors = {}
    for word in tasks:
        if word[0] != "ok":
            errors[word[0]] = errors.get(word[0], 0) + 1
    stamps = [float(word[1]) for word in tasks]
    right = sum(word[0] == "ok" for word in tasks)
    is_over = any(word[0] == "end" for word in words)
    peak = max(shares, default=0.0)
    return Ran(right, errors, seconds, is_over, cpu, peak, usual, kills, stamps, report)


def main():
    asked = [word for word in sys.argv[1:] if not word.startswith("-")]
    for name in asked or SCENARIOS:
        scenario, rows = SCENARIOS[name], []
        for executor in scenario.executors:
            ran = run(executor, scenario)
            rows.append(as_row(executor, ran, len(scenario.tasks)))
            print(rows[-1], flush=True)
            if executor.startswith("adaptive") and "--report" in sys.argv:
                print(ran.report)
            if scenario.neighbour:
                rows.append(f"| | {rates(ran, scenario)} | | | | | |")
            if name.startswith("idle"):
                rows.append(f"| | {ran.cpu_seconds:.3f} s of processor time | | | | | |")
        table = as_table(scenario, rows)
        print(table)
        if "--write" in sys.argv and name not in {
            "no leak",
            "idle longer",
        }:  # rows beside another's
            write_section(HERE / "README.md", f"memory {name}", table)


def as_row(executor, ran, count):
    errors = ", ".join(f"{number} {name}" for name, number in ran.errors.items())
    end = f"{ran.seconds:.1f}" if ran.is_over else "hangs or dies"
    return (
        f"| {executor} | {ran.right} of {count} | {errors or 'none'} | {end} | "
        f"{ran.peak_share:.0%} | {ran.usual_share:.0%} | {ran.kills} |"
    )


def as_table(scenario, rows):
    head = [
        f"Asked: {scenario.asked}.",
        "",
        "| executor | delivered | errors | seconds | highest memory | usual | kernel kills |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, "", f"{describe_host()}, limit {scenario.limit_mib} MiB."])


def rates(ran, scenario):
    """Say how many tasks a second were finished before, beside and after the neighbour."""
    after, _, stay = scenario.neighbour
    first = ran.stamps[0]
    spans = {
        "before": (1.0, after - 1.0),
        "beside": (after + 2.0, after + stay),
        "5 s after": (after + stay + 5.0, after + stay + 9.0),
    }
    counts = {
        name: sum(start <= stamp - first < stop for stamp in ran.stamps) / (stop - start)
        for name, (start, stop) in spans.items()
    }
    return ", ".join(f"{name} {rate:.1f} tasks/s" for name, rate in counts.items())


if __name__ == "__main__":
    main()
