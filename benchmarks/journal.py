"""What does a journal cost, and how long does it hold up the loop?

`python benchmarks/journal.py [--write]`: the same batch with and without one, in turns.
"""

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import Figure, Spread, describe_host, summarise, take_turns, write_section

from adaptive_exec import adaptive_executor

HERE = Path(__file__).resolve().parent
ROUNDS = 5
TINY_TASKS = 50_000
COST_PERCENT_MAX = 5
COST_MICROSECONDS_MAX = 20
STALL_SECONDS = 0.0005


def identity(number: int) -> int:
    return number


def wait_1(number: int) -> int:
    time.sleep(0.001)
    return number


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).random(1_000_000)


def ramp(number: int) -> np.ndarray:
    return np.arange(number, number + 1_000_000)


def run(function, count: int, folder: Path | None, **settings) -> None:
    journal = {} if folder is None else {"journal": folder / f"{time.monotonic_ns()}.journal"}
    with adaptive_executor(tasks=count, **journal, **settings) as ex:
        for _ in ex.map(function, range(count)):
            pass


def cpu_of_run(function, count: int, folder: Path | None, **settings) -> float:
    """Return the processor time of this process and its workers for each task, in microseconds."""
    before = cpu_seconds()
    run(function, count, folder, **settings)
    return 1e6 * (cpu_seconds() - before) / count


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def compare(
    name: str, function, count: int, folder: Path, cases
) -> tuple[dict[str, Spread], float]:
    rows: dict[str, Spread] = {}
    worst = 0.0
    for case, settings in cases.items():
        spreads = take_turns(
            {
                "without": lambda s=settings: cpu_of_run(function, count, None, **s),
                "with": lambda s=settings: cpu_of_run(function, count, folder, **s),
            },
            ROUNDS,
        )
        added = spreads["with"].median - spreads["without"].median
        worst = max(worst, added)
        rows[f"{name}, {case}, without"] = spreads["without"]
        rows[f"{name}, {case}, with ({added:+.1f})"] = spreads["with"]
    return rows, worst


def measure_cost(folder: Path) -> Figure:
    cases = {
        "2 processes": {"levels": "process", "max_workers": 2},
        "8 threads": {"levels": "thread", "max_workers": 8},
        "one by one": {"levels": "sequential"},
    }
    rows, worst = compare("1 ms of waiting", wait_1, 2000, folder, cases)
    return Figure(
        "journal-cost",
        f"under {COST_PERCENT_MAX} % for tasks of 1 ms and more",
        f"at most {worst:.0f} us of processor time more, {worst / 10:.1f} % of 1 ms",
        worst < 10 * COST_PERCENT_MAX,
        "us of processor time per task",
        rows,
    )


def measure_tiny(folder: Path) -> Figure:
    cases = {level: {"levels": level} for level in ("process", "thread", "sequential")}
    rows, worst = compare("`x -> x`", identity, TINY_TASKS, folder, cases)
    return Figure(
        "journal-tiny",
        f"under {COST_MICROSECONDS_MAX} microseconds per result",
        f"at most {worst:.1f} us more",
        worst < COST_MICROSECONDS_MAX,
        "us of processor time per task",
        rows,
    )


def measure_fixed(folder: Path) -> Figure:
    def once() -> float:
        before = time.perf_counter()
        run(identity, 1, folder, levels="sequential")
        return 1000 * (time.perf_counter() - before)

    def without() -> float:
        before = time.perf_counter()
        run(identity, 1, None, levels="sequential")
        return 1000 * (time.perf_counter() - before)

    rows = take_turns({"without": without, "with": once}, 4 * ROUNDS)
    added = rows["with"].median - rows["without"].median
    measured = f"{added:.0f} ms to make, open and close one, which waits for the disk"
    return Figure("journal-fixed", "", measured, None, "ms", rows)


def measure_stall(folder: Path) -> Figure:
    """Time the commits themselves: while one is written the loop does nothing else."""
    from adaptive_exec.journal.book import Book

    rows: dict[str, Spread] = {}
    for name, function, count in (
        ("50,000 numbers", identity, TINY_TASKS),
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
    for measure in (measure_cost, measure_tiny, measure_fixed, measure_stall, measure_resume):
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
