"""Times alternatives in turn within one run, and writes medians with their spread as a table.

Knows nothing of what it times. Alternatives take turns, so that a busy moment of the host falls on
all of them.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing, in the unit they were taken in."""

    low: float
    first: float
    median: float
    third: float
    count: int

    def scaled(self, factor: float) -> "Spread":
        return Spread(
            self.low * factor,
            self.first * factor,
            self.median * factor,
            self.third * factor,
            self.count,
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """What a benchmark has to say.

    Attributes:
        name: By what it is asked for on the command line.
        asked: The figure to reach, `""` where none is asked.
        measured: What was measured.
        is_reached: True, False, or None where no figure is asked.
        unit: Of the rows.
        rows: What was timed, and its spread.
    """

    name: str
    asked: str
    measured: str
    is_reached: bool | None
    unit: str
    rows: Mapping[str, Spread]

    def as_markdown(self) -> str:
        verdict = {True: " **Reached.**", False: " **Not reached.**", None: ""}[self.is_reached]
        asked = f"Asked: {self.asked}. " if self.asked else ""
        lines = [
            f"{asked}Measured: {self.measured}.{verdict}",
            "",
            f"| | median, {self.unit} | least | quartiles | runs |",
            "|---|---|---|---|---|",
        ]
        for what, spread in self.rows.items():
            quartiles = f"{_short(spread.first)} - {_short(spread.third)}"
            cells = (what, _short(spread.median), _short(spread.low), quartiles, str(spread.count))
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)


def _short(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return (
        f"{value:.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
    )


def summarise(values: list[float]) -> Spread:
    if len(values) == 1:
        return Spread(*[values[0]] * 4, 1)
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(min(values), first, statistics.median(values), third, len(values))


def take_turns(alternatives: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Spread]:
    """Call each alternative once per round, in turn; each returns its own measurement."""
    found: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, measure in alternatives.items():
            found[name].append(measure())
    return {name: summarise(values) for name, values in found.items()}


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """Make of a piece of work a measurement of its duration in seconds."""

    def measure() -> float:
        before = time.perf_counter()
        work()
        return time.perf_counter() - before

    return measure


def run_script(*words: str, seconds: float = 60) -> str:
    """Run a script of this folder, or `-c` code, in a fresh interpreter; return what it printed."""
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    done = subprocess.run(
        [sys.executable, *words],
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        message = f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}"
        raise RuntimeError(message)
    return done.stdout


def describe_host() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{system}, Python {platform.python_version()}, {cores} cores{load}"


def write_section(path: Path, name: str, text: str) -> None:
    """Replace what stands in a file between `<!-- figure NAME -->` and the next `<!-- end -->`."""
    begin, end = f"<!-- figure {name} -->\n", "<!-- end -->"
    head, found, rest = path.read_text(encoding="utf-8").partition(begin)
    if not found:
        message = (
            f"{path.name} has no place for {name}, got no {begin.strip()!r}; add it and {end!r}"
        )
        raise ValueError(message)
    tail = rest[rest.index(end) :]
    path.write_text(f"{head}{begin}{text}\n{tail}", encoding="utf-8")
