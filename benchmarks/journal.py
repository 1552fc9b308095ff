"""What does a journal cost, and how long does it hold up the loop?

`python benchmarks/journal.py [--write]`: the same batch with and without one, in turns.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import Figure, Spread, describe_host, summarise, take_turns, write_section

from adaptive_exec import adaptive_executor

HERE = Path(__file__).resolve().parent
ROUNDS = 7
TINY_TASKS = 20_000
COST_PERCENT_MAX = 5
COST_MICROSECONDS_MAX = 20
STALL_SECONDS = 0.0005


def identity(number: int) -> int:
    return number


def wait_1(number: int) -> int:
    time.sleep(0.001)
    return number


def work_1(number: int) -> int:
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass
    return number


def work_10(number: int) -> int:
    end = time.perf_counter() + 0.01
    while time.perf_counter() < end:
        pass
    return number


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).random(1_000_000)


def ramp(number: int) -> np.ndarray:
    return np.arange(number, number + 1_000_000)


def run(function, count: int, folder: Path | None, **settings) -> float:
    journal = {} if folder is None else {"journal": folder / f"{time.monotonic_ns()}.journal"}
    before = time.perf_counter()
    with adaptive_executor(count, **journal, **settings) as ex:
        for _ in ex.map(function, range(count)):
            pass
    return time.perf_counter() - before


def measure_cost(folder: Path) -> Figure:
    cases = {
        "1 ms of work, 2 processes": (work_1, 4000, {"levels": "process"}),
        "1 ms of waiting, 2 processes": (wait_1, 4000, {"levels": "process", "max_workers": 2}),
        "10 ms of work, 2 processes": (work_10, 400, {"levels": "process"}),
        "1 ms of waiting, 8 threads": (wait_1, 8000, {"levels": "thread", "max_workers": 8}),
        "1 ms of work, one by one": (work_1, 1000, {"levels": "sequential"}),
    }
    rows: dict[str, Spread] = {}
    worst = 0.0
    for name, (function, count, settings) in cases.items():
        spreads = take_turns(
            {
                "without": lambda f=function, c=count, s=settings: run(f, c, None, **s),
                "with": lambda f=function, c=count, s=settings: run(f, c, folder, **s),
            },
            ROUNDS,
        )
        percent = 100 * (spreads["with"].median / spreads["without"].median - 1)
        worst = max(worst, percent)
        rows[f"{name}, without"] = spreads["without"].scaled(1000)
        rows[f"{name}, with ({percent:+.1f} %)"] = spreads["with"].scaled(1000)
    return Figure(
        "journal-cost",
        f"under {COST_PERCENT_MAX} % for tasks of 1 ms and more",
        f"at most {worst:.1f} %",
        worst < COST_PERCENT_MAX,
        "ms",
        rows,
    )


def measure_tiny(folder: Path) -> Figure:
    rows: dict[str, Spread] = {}
    worst = 0.0
    for level in ("process", "thread", "sequential"):
        spreads = take_turns(
            {
                "without": lambda one=level: run(identity, TINY_TASKS, None, levels=one),
                "with": lambda one=level: run(identity, TINY_TASKS, folder, levels=one),
            },
            ROUNDS,
        )
        added = 1e6 * (spreads["with"].median - spreads["without"].median) / TINY_TASKS
        worst = max(worst, added)
        rows[f"{level}, without"] = spreads["without"].scaled(1e6 / TINY_TASKS)
        rows[f"{level}, with ({added:+.1f})"] = spreads["with"].scaled(1e6 / TINY_TASKS)
    return Figure(
        "journal-tiny",
        f"under {COST_MICROSECONDS_MAX} microseconds per result",
        f"at most {worst:.1f} us more for each of {TINY_TASKS} tasks of `x -> x`",
        worst < COST_MICROSECONDS_MAX,
        "us per task",
        rows,
    )


def measure_stall(folder: Path) -> Figure:
    """Time the commits themselves: while one is written the loop does nothing else."""
    from adaptive_exec.journal.book import Book

    rows: dict[str, Spread] = {}
    for name, function, count in (
        ("20,000 numbers", identity, TINY_TASKS),
        ("20 arrays of 8 MB of noise", noise, 20),
        ("20 arrays of 8 MB that shrink", ramp, 20),
    ):
        took: list[float] = []
        for method in ("commit", "add"):
            watch(Book, method, took)
        try:
            run(function, count, folder, levels="process")
        finally:
            for method in ("commit", "add"):
                setattr(Book, method, getattr(Book, method).__wrapped__)
        steps = [one for one in took if one > STALL_SECONDS] or [max(took)]
        rows[f"{name}: longest {max(took) * 1000:.0f} ms, steps over 0.5 ms"] = summarise(
            steps
        ).scaled(1000)
    return Figure("journal-stall", "", "the steps that write a group", None, "ms", rows)


def watch(kind: type, name: str, took: list[float]) -> None:
    original = getattr(kind, name)

    def timed(self, *args):
        before = time.perf_counter()
        try:
            return original(self, *args)
        finally:
            took.append(time.perf_counter() - before)

    timed.__wrapped__ = original
    setattr(kind, name, timed)


def measure_resume(folder: Path) -> Figure:
    path = folder / "resumed.journal"
    rows: dict[str, Spread] = {}
    for count in (1_000, 100_000):
        with adaptive_executor(journal=path, levels="sequential") as ex:
            list(ex.map(identity, range(count)))

        def again(count: int = count) -> float:
            before = time.perf_counter()
            with adaptive_executor(journal=path, levels="sequential") as ex:
                list(ex.map(identity, range(count)))
                assert ex.report.tasks == 0
            return time.perf_counter() - before

        rows[f"{count:,} tasks, all known"] = take_turns({"again": again}, ROUNDS)["again"].scaled(
            1000
        )
    return Figure("journal-resume", "", "from the file to all results", None, "ms", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    wants_write = parser.parse_args().write
    for measure in (measure_cost, measure_tiny, measure_stall, measure_resume):
        folder = Path(tempfile.mkdtemp())
        before, host = time.monotonic(), describe_host()
        try:
            figure = measure(folder)
        finally:
            shutil.rmtree(folder)
        text = f"{figure.as_markdown()}\n\n{host}; {time.monotonic() - before:.0f} s."
        print(f"## {figure.name}\n\n{text}\n")
        if wants_write:
            write_section(HERE / "README.md", figure.name, text)


if __name__ == "__main__":
    main()
