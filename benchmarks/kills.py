"""What does the SIGKILL of one worker cost, and of the parent? Ours beside other executors.

    python benchmarks/kills.py [--write]

Each measurement has an interpreter of its own and the alternatives take turns. `--write` puts the
tables into README.md. `one HOW FOLDER` and `parent HOW FOLDER` are the single measurements.
"""

import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import HERE, describe_host, run_script, write_section

TASKS, WORKERS, NAP_SECONDS, ROUNDS = 100, 4, 0.02, 9
WATCH_SECONDS = 3.0
"""Seconds after the parent's end for which survivors are looked for."""
Begin = Callable[[Callable[[Any], Any], list[Any]], list[Callable[[], Any]]]
"""Begins a batch; returns for each task what waits for its result."""


def main() -> None:
    write = "--write" in sys.argv
    for name, measure in {"kills": measure_kills, "orphans": measure_orphans}.items():
        host, began = describe_host(), time.monotonic()
        text = f"{measure()}\n\n{host}; {time.monotonic() - began:.0f} s."
        print(text, flush=True)
        if write:
            write_section(HERE / "README.md", name, text)


def measure_kills() -> str:
    """From the SIGKILL of one of four workers to all results of 100 tasks of 20 ms."""
    lines = ["| | lost of 100 | to all results, ms | quartiles | next worker, ms | runs |"]
    lines.append("|---|---|---|---|---|---|")
    for how, all_runs in in_turn("one", ROUNDS).items():
        runs = [run for run in all_runs if run]
        hung = len(all_runs) - len(runs)
        lost = sorted({run["lost"] for run in runs})
        first, median, third = statistics.quantiles([run["ms"] for run in runs], n=4)
        next_ms = [run["next_ms"] for run in runs if run["next_ms"] is not None]
        cells = [
            how,
            "0" if lost == [0] else f"{lost[0]} to {lost[-1]}" if len(lost) > 1 else str(lost[0]),
            f"{median:.0f}" if lost == [0] else f"never all, ends after {median:.0f}",
            f"{first:.0f} - {third:.0f}",
            f"{statistics.median(next_ms):.0f}" if next_ms else "none",
            f"{len(runs)}, {hung} more hung" if hung else str(len(runs)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def measure_orphans() -> str:
    """From the SIGKILL of the parent to the end of all that it and its tasks had started."""
    lines = ["| | still running after 3 s | until all were gone, ms | runs |", "|---|---|---|---|"]
    for how, all_runs in in_turn("parent", 5).items():
        runs = [run for run in all_runs if run]
        left = max(run["left"] for run in runs)
        gone = f"{statistics.median(run['ms'] for run in runs):.0f}" if not left else "never"
        started = runs[0]["started"]
        lines.append(f"| {how} | {left} of {started} processes | {gone} | {len(runs)} |")
    return "\n".join(lines)


def in_turn(mode: str, rounds: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {how: [] for how in WAYS}
    for _, how in itertools.product(range(rounds), WAYS):
        if mode == "parent" and how.endswith("map"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            found[how].append(measured_alone(mode, how, folder))
    return {how: runs for how, runs in found.items() if runs}


def measured_alone(mode: str, how: str, folder: str) -> dict[str, Any]:
    """Measure once in an interpreter of its own; nothing where that hangs."""
    try:
        said = run_script("kills.py", mode, how, folder, seconds=20)
    except subprocess.TimeoutExpired:
        return {}
    return dict(json.loads(said.splitlines()[-1]))


# the ways to run a batch


def adaptive(**settings: object) -> Begin:
    def begin(function: Callable[[Any], Any], items: list[Any]) -> list[Callable[[], Any]]:
        from adaptive_exec import adaptive_executor

        pool = keep(adaptive_executor(levels=("process",), max_workers=WORKERS, **settings))
        return [pool.submit(function, item).result for item in items]

    return begin


def adaptive_map(function: Callable[[Any], Any], items: list[Any]) -> list[Callable[[], Any]]:
    from adaptive_exec import adaptive_executor

    results = keep(adaptive_executor(levels=("process",), max_workers=WORKERS)).map(function, items)
    return [results.__next__] * len(items)


def pebble(function: Callable[[Any], Any], items: list[Any]) -> list[Callable[[], Any]]:
    from pebble import ProcessPool

    pool = keep(ProcessPool(max_workers=WORKERS))
    return [pool.schedule(function, args=(item,)).result for item in items]


def loky(function: Callable[[Any], Any], items: list[Any]) -> list[Callable[[], Any]]:
    from loky import ProcessPoolExecutor

    pool = keep(ProcessPoolExecutor(WORKERS))
    return [pool.submit(function, item).result for item in items]


def standard(function: Callable[[Any], Any], items: list[Any]) -> list[Callable[[], Any]]:
    from concurrent.futures import ProcessPoolExecutor

    pool = keep(ProcessPoolExecutor(WORKERS))
    return [pool.submit(function, item).result for item in items]


def joblib(function: Callable[[Any], Any], items: list[Any]) -> list[Callable[[], Any]]:
    from joblib import Parallel, delayed

    pool = keep(Parallel(n_jobs=WORKERS, return_as="generator_unordered"))
    results = pool(delayed(function)(item) for item in items)
    return [results.__next__] * len(items)


WAYS: dict[str, Begin] = {
    "adaptive": adaptive(),
    "adaptive, map": adaptive_map,
    'adaptive, start="loky"': adaptive(start="loky"),
    "pebble": pebble,
    "loky": loky,
    "ProcessPoolExecutor": standard,
    "joblib": joblib,
}
kept: list[Any] = []


def keep(pool: Any) -> Any:
    kept.append(pool)
    return pool


# a worker is killed


def nap_and_note(folder: str) -> int:
    Path(folder, str(os.getpid())).touch()
    time.sleep(NAP_SECONDS)
    return os.getpid()


def measure_one(how: str, folder: str) -> None:
    moments: dict[str, float] = {}
    killer = threading.Thread(target=kill_one, args=(folder, moments))
    killer.start()
    lost = 0
    for wait in WAYS[how](nap_and_note, [folder] * TASKS):
        try:
            wait()
        except Exception:  # noqa: BLE001  # each pool has its own
            lost += 1
    ended = time.monotonic()
    killer.join()
    next_ms = (moments["next"] - moments["killed"]) * 1e3 if "next" in moments else None
    took_ms = (ended - moments["killed"]) * 1e3
    print(json.dumps({"lost": lost, "ms": took_ms, "next_ms": next_ms}), flush=True)
    os._exit(0)  # a broken pool may hang at exit


def kill_one(folder: str, moments: dict[str, float]) -> None:
    """Kill one of the workers once all have begun; wait up to a second for one that is new."""
    patient_until = time.monotonic() + 10
    while len(before := os.listdir(folder)) < WORKERS:  # noqa: PTH208  # polled
        if before:  # joblib may give many tasks to few workers
            patient_until = min(patient_until, time.monotonic() + 0.3)
        if time.monotonic() > patient_until:
            break
        time.sleep(0.001)
    time.sleep(NAP_SECONDS * 2.5)  # in the middle of a task
    moments["killed"] = time.monotonic()
    os.kill(int(min(before)), signal.SIGKILL)
    if len(before) < WORKERS:
        return  # who comes next may be one of the first
    while time.monotonic() < moments["killed"] + 1.0:
        if set(os.listdir(folder)) - set(before):  # noqa: PTH208  # polled
            moments["next"] = time.monotonic()
            return
        time.sleep(0.001)


# the parent is killed


def sleep_with_child(folder: str) -> None:
    child = subprocess.Popen(["sleep", "1000"])
    for pid in (os.getpid(), child.pid):
        Path(folder, str(pid)).touch()
    time.sleep(1000)


def be_parent(how: str, folder: str) -> None:
    for wait in WAYS[how](sleep_with_child, [folder] * WORKERS):
        wait()


def measure_parent(how: str, folder: str) -> None:
    parent = subprocess.Popen([sys.executable, __file__, "be-parent", how, folder], cwd=HERE)
    while len(list(Path(folder).iterdir())) < 2 * WORKERS:
        time.sleep(0.01)
    pids = [int(path.name) for path in Path(folder).iterdir()]
    killed = time.monotonic()
    parent.kill()
    parent.wait()
    while (left := sum(map(is_running, pids))) and time.monotonic() < killed + WATCH_SECONDS:
        time.sleep(0.001)
    took_ms = (time.monotonic() - killed) * 1e3
    for pid in filter(is_running, pids):
        os.kill(pid, signal.SIGKILL)
    print(json.dumps({"left": left, "ms": took_ms, "started": len(pids)}), flush=True)


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] != b"Z"


if __name__ == "__main__":
    if len(sys.argv) > 3:
        single = {"one": measure_one, "parent": measure_parent, "be-parent": be_parent}
        single[sys.argv[1]](sys.argv[2], sys.argv[3])
    else:
        main()
