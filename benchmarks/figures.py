"""Measure the figures that this project asks of itself, beside the alternatives, in one run.

    python benchmarks/figures.py [NAME ...] [--write]

Without names all but `suite` are measured (under four minutes on two cores). `--write` puts the
tables into benchmarks/README.md, and one line into README.md. Exits with 1 when a measurement could
not be made; a figure that is not reached is a result.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import (
    HERE,
    Figure,
    Spread,
    describe_host,
    run_script,
    summarise,
    take_turns,
    timed,
    write_section,
)
from tasks import count_primes, identity, nap

Measure = Callable[[], float]

NOISE = 1.05
"""Ratio; a median no more than this above another counts as not above it."""
NEAR = 1.25
"""Ratio to the best choice by hand up to which the choice made here counts as not much worse."""
TINY_RATIO = 1.5
"""Ratio to the tuned standard pool up to which tiny tasks may take in processes."""
FINDING_OUT_MS = 150
"""Milliseconds, once per batch, in which the choice is found: a sample must run isolated first."""
TASKS = 100_000
CHUNKSIZES = (1000, 5000, 12_500, 25_000, 50_000)


def main_identity(value):
    return value


def measure_import() -> Figure:
    """What does `import adaptive_exec` cost?"""
    statements = {
        "a bare interpreter": "pass",
        "`import adaptive_exec`": "import adaptive_exec",
        "`import adaptive_exec.executor`": "import adaptive_exec.executor",
        "`import concurrent.futures.process`": "import concurrent.futures.process",
        "`import joblib`": "import joblib",
    }
    scripts = {
        what: timed(lambda code=code: run_script("-c", code)) for what, code in statements.items()
    }
    take_turns(scripts, 1)  # so that bytecode is there
    rows = in_milliseconds(take_turns(scripts, 15))
    bare, ours, face, standard = [rows[what].median for what in list(statements)[:4]]
    measured = (
        f"{ours - bare:.0f} ms over a bare interpreter, {face - bare:.0f} ms with all that the "
        f"first executor needs, beside {standard - bare:.0f} ms for the standard process pool"
    )
    return Figure(
        "import", "under 60 ms over a bare interpreter", measured, ours - bare < 60, "ms", rows
    )


def measure_start() -> Figure:
    """How long from making an executor to its first result, at the process level?"""
    found: dict[str, list[float]] = {}
    for _ in range(7):
        for where in ("module", "main"):
            for how in ("adaptive", "spawn", "fork", "forkserver", "loky"):
                first, second = map(float, run_script("first_result.py", how, where).split())
                found.setdefault(f"{how}, function in {where}, first executor", []).append(first)
                found.setdefault(f"{how}, function in {where}, second executor", []).append(second)
    rows = in_milliseconds({what: summarise(values) for what, values in found.items()})
    cases = [
        f"function in {where}, {which} executor"
        for where in ("module", "main")
        for which in ("first", "second")
    ]
    pairs = {
        case: (rows[f"adaptive, {case}"].median, rows[f"spawn, {case}"].median) for case in cases
    }
    measured = "; ".join(
        f"{ours:.0f} ms beside {theirs:.0f} ms ({case})" for case, (ours, theirs) in pairs.items()
    )
    is_reached = all(ours <= NOISE * theirs for ours, theirs in pairs.values())
    return Figure(
        "start", "at most that of a spawn `ProcessPoolExecutor`", measured, is_reached, "ms", rows
    )


def measure_workers() -> Figure:
    """What do four more workers cost once one is there, with pandas loaded?"""
    rounds = {"adaptive": 5, "fork": 5, "forkserver": 2, "spawn": 2, "loky": 2}
    rows = {}
    for how, count in rounds.items():
        results = [
            [float(word) for word in run_script("warm_workers.py", how).split()]
            for _ in range(count)
        ]
        rows[f"{how}: four more workers, ms"] = summarise([result[0] for result in results])
        rows[f"{how}: own memory of a worker, MB"] = summarise([
            size for result in results for size in result[1:]
        ])
    together, each = [rows[what].median for what in list(rows)[:2]]
    measured = f"{together:.0f} ms together, {each:.1f} MB of own memory (USS) each"
    is_reached = together < 50 and each < 5
    return Figure(
        "workers", "under 50 ms together, under 5 MB each", measured, is_reached, "ms or MB", rows
    )


def measure_tiny() -> Figure:
    """How long do 100,000 tasks of `x -> x` take through `map`, executor and all?"""
    homes = {"module": identity, "main": main_identity}
    alternatives: dict[str, Measure] = {}
    for home, function in homes.items():
        alternatives[f"adaptive, function in {home}"] = timed(lambda f=function: map_adaptive(f))
        alternatives[f"adaptive, inline=True, function in {home}"] = timed(
            lambda f=function: map_adaptive(f, inline=True)
        )
        for size in CHUNKSIZES if home == "module" else CHUNKSIZES[1:-1]:
            what = f"ProcessPoolExecutor, chunksize={size}, function in {home}"
            alternatives[what] = timed(lambda f=function, s=size: map_standard(f, s))
    rows = in_milliseconds(take_turns(alternatives, 5))
    parts, is_reached = [], True
    for home in homes:
        ours = rows[f"adaptive, function in {home}"].median
        inline = rows[f"adaptive, inline=True, function in {home}"].median
        best = min(
            row.median for what, row in rows.items() if what.startswith("P") and what.endswith(home)
        )
        parts.append(
            f"function in {home}: {ours:.0f} ms beside {best:.0f} ms "
            f"(with inline=True {inline:.0f} ms)"
        )
        is_reached = is_reached and ours <= TINY_RATIO * best and inline <= NOISE * best
    asked = (
        f"at most {TINY_RATIO} times `ProcessPoolExecutor.map` with a hand-tuned chunksize, and no "
        f"slower with inline=True"
    )
    return Figure("tiny", asked, "; ".join(parts), is_reached, "ms", rows)


def map_adaptive(function: Callable[[int], int], **settings: object) -> None:
    from adaptive_exec import adaptive_executor

    with adaptive_executor(**settings) as executor:
        check(list(executor.map(function, range(TASKS))))


def map_standard(function: Callable[[int], int], chunksize: int) -> None:
    with ProcessPoolExecutor() as executor:
        check(list(executor.map(function, range(TASKS), chunksize=chunksize)))


def check(results: list[int]) -> None:
    assert results == list(range(TASKS)), "the results are not those of the input"


def measure_memory() -> Figure:
    """How does the parent grow over a lazy generator of 2,000,000 tasks?"""
    tasks = 2_000_000
    rows, grown = {}, {}
    for how, what in (
        ("adaptive", "adaptive"),
        ("standard", "ProcessPoolExecutor, chunksize=5000"),
    ):
        words = run_script("parent_memory.py", how, str(tasks)).split()
        sizes = [int(word) / 1e6 for word in words]
        grown[how] = max(sizes) - sizes[0]
        rows[f"{what}: ten readings"] = summarise(sizes)
        rows[f"{what}: first reading"] = summarise(sizes[:1])
        rows[f"{what}: last reading"] = summarise(sizes[-1:])
    ours, theirs = rows["adaptive: ten readings"].median, rows[f"{what}: ten readings"].median
    measured = (
        f"{ours:.0f} MB, at most {grown['adaptive']:.1f} MB above the reading at {tasks // 10:,} "
        f"tasks, beside {theirs:.0f} MB for `ProcessPoolExecutor.map`"
    )
    asked = "flat (drawn here at 16 MB: a window of results, and what the allocator keeps)"
    return Figure("memory", asked, measured, grown["adaptive"] < 16, "MB", rows)


def measure_submit() -> Figure:
    """How long does a task take through `submit`, one after the other and 10,000 at once?"""
    pools = open_pools()
    rows = {}
    one = {
        f"{what}: submit, result, 1,000 times": timed_on(pool, submit_one_by_one, 1000)
        for what, pool in pools.items()
    }
    many = {
        f"{what}: 10,000 submits, then results": timed_on(pool, submit_many, 10_000)
        for what, pool in pools.items()
    }
    rows |= in_microseconds(take_turns(one, 5)) | in_microseconds(take_turns(many, 3))
    measured = beside_standard(rows)
    return Figure("submit", "", measured, None, "us per task", rows)


def measure_chunks() -> Figure:
    """How long does a task take at one task per message?"""
    from loky import ProcessPoolExecutor as LokyExecutor

    pools = open_pools() | {"loky": lambda: LokyExecutor(2)}
    alternatives = {
        f"{what}: map, chunksize=1": timed_on(pool, map_one_by_one, 5000)
        for what, pool in pools.items()
    }
    rows = in_microseconds(take_turns(alternatives, 5))
    return Figure("chunks", "", beside_standard(rows), None, "us per task", rows)


def open_pools() -> dict[str, Callable[[], Executor]]:
    from adaptive_exec import adaptive_executor

    return {
        "adaptive": lambda: adaptive_executor(isolate=True, max_workers=2),
        "ProcessPoolExecutor": lambda: ProcessPoolExecutor(2),
    }


def timed_on(
    open_pool: Callable[[], Executor], work: Callable[[Executor, int], None], count: int
) -> Measure:
    """Make a measurement of seconds per task on a pool whose workers are there already."""

    def measure() -> float:
        with open_pool() as pool:
            list(pool.map(nap, [0.01] * 4))
            before = time.perf_counter()
            work(pool, count)
            return (time.perf_counter() - before) / count

    return measure


def submit_one_by_one(pool: Executor, count: int) -> None:
    for number in range(count):
        assert pool.submit(identity, number).result() == number


def submit_many(pool: Executor, count: int) -> None:
    futures = [pool.submit(identity, number) for number in range(count)]
    assert [future.result() for future in futures] == list(range(count))


def map_one_by_one(pool: Executor, count: int) -> None:
    assert list(pool.map(identity, range(count), chunksize=1)) == list(range(count))


def beside_standard(rows: Mapping[str, Spread]) -> str:
    parts = []
    for what, row in rows.items():
        if what.startswith("adaptive"):
            rest = what.removeprefix("adaptive")
            others = {
                name: other for name, other in rows.items() if name.endswith(rest) and name != what
            }
            beside = ", ".join(
                f"{other.median:.0f} us ({name.removesuffix(rest)})"
                for name, other in others.items()
            )
            parts.append(f"{rest.removeprefix(': ')}: {row.median:.0f} us beside {beside}")
    return "; ".join(parts)


def measure_costs() -> Figure:
    """What does the program itself take of a task? These are constants of `config.py`."""
    settings = {
        "in the caller's own loop, CPU": {"levels": "sequential"},
        "at the process level, the parent's CPU": {"isolate": True},
    }
    alternatives = {what: cpu_of_map(**given) for what, given in settings.items()}
    rows = in_microseconds(take_turns({"a bare loop, CPU": cpu_of_loop} | alternatives, 5))
    bare, *ours = [row.median for row in rows.values()]
    measured = (
        f"{ours[0] - bare:.2f} us in the caller's own loop, {ours[1]:.2f} us of the parent's CPU"
    )
    return Figure("costs", "", measured, None, "us per task", rows)


def cpu_of_loop() -> float:
    before = time.process_time()
    check([identity(number) for number in range(TASKS)])
    return (time.process_time() - before) / TASKS


def cpu_of_map(**settings: object) -> Measure:
    from adaptive_exec import adaptive_executor

    def measure() -> float:
        with adaptive_executor(**settings) as executor:
            list(executor.map(identity, range(8)))  # so that starting is not counted
            before = time.process_time()
            check(list(executor.map(identity, range(TASKS))))
            return (time.process_time() - before) / TASKS

    return measure


def measure_choice() -> Figure:
    """How far from the best choice by hand: of processes, and with inline=True of all?"""
    from adaptive_exec import adaptive_executor

    workloads = {
        "200 x 10 ms of pure Python": (count_primes, [PRIMES_OF_10_MS] * 200, 3),
        "100 x 20 ms of waiting": (nap, [0.02] * 100, 3),
        "20,000 x nothing": (identity, list(range(20_000)), 5),
    }
    rows: dict[str, Spread] = {}
    parts, is_reached = [], True
    for name, (function, items, rounds) in workloads.items():
        work = Workload(function, items, [function(item) for item in items])
        alternatives = {
            "loop": timed(work.run_loop),
            "threads": timed(lambda w=work: w.run_on(ThreadPoolExecutor())),
            "processes": timed(
                lambda w=work: w.run_on(ProcessPoolExecutor(), chunksize=w.chunksize)
            ),
            "adaptive": timed(lambda w=work: w.run_on(adaptive_executor(w.items))),
            "adaptive, inline": timed(
                lambda w=work: w.run_on(adaptive_executor(w.items, inline=True))
            ),
        }
        found = in_milliseconds(take_turns(alternatives, rounds))
        rows |= {f"{name}: {how}": spread for how, spread in found.items()}
        ours, inline = found.pop("adaptive").median, found.pop("adaptive, inline").median
        how, best = min(((how, row.median) for how, row in found.items()), key=lambda pair: pair[1])
        pool = found["processes"].median
        parts.append(
            f"{name}: {ours:,.0f} ms beside {pool:,.0f} ms, inline {inline:,.0f} ms beside "
            f"{best:,.0f} ms ({how})"
        )
        is_reached = is_reached and ours <= NEAR * pool + FINDING_OUT_MS
        is_reached = is_reached and inline <= NEAR * best + FINDING_OUT_MS
    asked = (
        f"not much worse than the best choice by hand (drawn here at {NEAR} times its duration and "
        f"{FINDING_OUT_MS} ms for finding out)"
    )
    return Figure("choice", asked, "; ".join(parts), is_reached, "ms", rows)


@dataclass(frozen=True, slots=True)
class Workload:
    """A function, its arguments and the results to expect."""

    function: Callable[[Any], Any]
    items: list[Any]
    wanted: list[Any]

    @property
    def chunksize(self) -> int:
        """What a careful user gives a process pool: four chunks for each core."""
        return max(1, len(self.items) // (4 * (os.cpu_count() or 1)))

    def run_loop(self) -> None:
        assert [self.function(item) for item in self.items] == self.wanted

    def run_on(self, pool: Executor, **settings: int) -> None:
        with pool:
            assert list(pool.map(self.function, self.items, **settings)) == self.wanted


PRIMES_OF_10_MS = 7000
"""Upper bound for `count_primes` that takes about 10 ms."""


def in_milliseconds(rows: Mapping[str, Spread]) -> dict[str, Spread]:
    return {what: spread.scaled(1e3) for what, spread in rows.items()}


def in_microseconds(rows: Mapping[str, Spread]) -> dict[str, Spread]:
    return {what: spread.scaled(1e6) for what, spread in rows.items()}


def measure_suite() -> Figure:
    """How do a loop, threads, processes and adaptive compare on four workloads?"""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        words = ("-m", "pytest", "-q", "-m", "benchmark", f"--benchmark-json={found}")
        run_script(*words, str(HERE / "test_suite.py"), seconds=300)
        tests = json.loads(found.read_text(encoding="utf-8"))["benchmarks"]
    rows = {}
    for test in sorted(tests, key=lambda test: test["group"]):
        stats = test["stats"]
        what = f"{test['params']['workload']}: {test['params']['way']}"
        spread = (stats[name] for name in ("min", "q1", "median", "q3"))
        rows[what] = Spread(*spread, stats["rounds"])
    return Figure("suite", "", f"{len(rows)} combinations", None, "ms", in_milliseconds(rows))


def measure_core() -> str:
    """What does the core cost: an event, and 20,000 tasks on 256 simulated cores?"""
    return run_script("core.py", seconds=120).strip()


FIGURES: dict[str, Callable[[], Figure | str]] = {
    "import": measure_import,
    "start": measure_start,
    "workers": measure_workers,
    "tiny": measure_tiny,
    "memory": measure_memory,
    "submit": measure_submit,
    "chunks": measure_chunks,
    "costs": measure_costs,
    "choice": measure_choice,
    "core": measure_core,
    "suite": measure_suite,
}
SHOWN = "tiny"
"""The figure that also stands in the project's README."""
ON_DEMAND = {"suite"}
"""Measured only when named: it takes a minute by itself."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(FIGURES)}; without, all"
    )
    parser.add_argument(
        "--write", action="store_true", help="put the tables into benchmarks/README.md"
    )
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(FIGURES))
    if unknown:
        parser.error(f"a figure is unknown, got {unknown[0]}; choose from {', '.join(FIGURES)}")
    failed = 0
    for name in asked.names or [name for name in FIGURES if name not in ON_DEMAND]:
        host, began = describe_host(), time.monotonic()
        print(f"\n## {name}: {FIGURES[name].__doc__}\n", flush=True)
        try:
            figure = FIGURES[name]()
        except Exception:  # noqa: BLE001  # the other figures are still wanted
            traceback.print_exc()
            failed = 1
            continue
        text = figure if isinstance(figure, str) else figure.as_markdown()
        text += f"\n\n{host}; {time.monotonic() - began:.0f} s."
        print(text, flush=True)
        if asked.write:
            write_section(HERE / "README.md", name, text)
        if asked.write and name == SHOWN and isinstance(figure, Figure):
            write_section(HERE.parent / "README.md", name, f"{figure.measured} ({host}).")
    return failed


if __name__ == "__main__":
    sys.exit(main())
