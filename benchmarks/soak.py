"""Does anything grow or decay over an hour of everything at once?

    python benchmarks/soak.py [--minutes 60] [--every 60] [--write]

One program runs rounds of tasks until its time is over, at least 1,000,000 an hour: see
`soak_work.py`. Between rounds it reads itself, its zygotes and its workers: see `soak_readings.py`.
Ends with 1 when an outcome is wrong, a reading drifts, tasks are too few or the rate has changed.
"""

import argparse
import faulthandler
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure import describe_host, write_section
from soak_readings import RATES, TRIFLES, UNJUDGED, Slope, cpu_seconds, fit, give_back, rates, read

HERE = Path(__file__).resolve().parent
TASKS_PER_MINUTE = 1_000_000 / 60
WARM_UP_SHARE, WARM_UP_SECONDS = 0.3, 300.0
"""Of the run, and at most: what is not judged by slopes."""
ENDS_SHARE, ENDS_SECONDS = 1 / 6, 600.0
"""Of the run, and at most: the first and the last part, whose rates are compared."""
FILLED_SECONDS = 600.0
"""Of a run from which on what is bounded is filled beforehand: it takes two minutes."""
HANGS_SECONDS = 300.0
"""Seconds that a round may take, after which all stacks are printed and the program ends."""
SETTLE_SECONDS = 1.5
"""Seconds before a reading: memory files that nobody uses are kept for one."""
READINGS_MIN = 4
"""Readings at the least, for a line through them: a short run goes on until it has them."""
CYCLE_ROUNDS = 20
"""Rounds after which all begins anew; readings are taken at its end, in short runs at quarters,
so that they compare."""
CYCLE_SECONDS = 60.0
"""Seconds between readings from which a whole cycle is waited for."""
COLUMNS = tuple(name for name in TRIFLES if name not in {"grandchildren", "shm"})
"""What the table shows; the others are judged all the same."""


def main() -> None:
    options = parse()
    if "MALLOC_ARENA_MAX" not in os.environ:  # the C library gives back what is free in one only
        os.environ["MALLOC_ARENA_MAX"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if options.kept:
        keep_little(options.kept)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)  # ours alone, so that all in it is ours
    os.environ.pop("XDG_RUNTIME_DIR", None)
    logging.getLogger("adaptive_exec").addHandler(logging.NullHandler())  # deaths are wanted here
    host = describe_host()
    try:
        readings, counts = soak(folder, options.minutes * 60, options.every)
    finally:
        shutil.rmtree(folder)
    text, faults = report(readings, counts, options)
    text += f"\n\n{host}, {os.getloadavg()[0]:.1f} after; {readings[-1]['seconds'] / 60:.0f} min."
    print(f"\n{text}")
    if options.write:
        write_section(HERE / "README.md", "soak", text)
    sys.exit(1 if faults else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between readings")
    parser.add_argument("--rate", type=float, default=5.0, help="per cent that the rate may fall")
    parser.add_argument("--cpu", type=float, default=5.0, help="per cent that a task may cost more")
    parser.add_argument("--trifle", type=float, default=1.0, help="factor; more in short runs")
    parser.add_argument("--tasks", type=float, default=TASKS_PER_MINUTE, help="least per minute")
    parser.add_argument("--kept", type=int, help="decisions that a report keeps; few fill at once")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    return parser.parse_args()


def keep_little(decisions: int) -> None:
    """Have what is bounded be full after a few rounds, so that only what is not would grow."""
    from adaptive_exec.core import trace
    from adaptive_exec.core.memory import peaks

    trace.TRACE_LENGTH = decisions
    peaks.SUMS_KEPT = peaks.PEAKS_KEPT


def soak(
    folder: Path, seconds: float, every: float
) -> tuple[list[dict[str, float]], Mapping[str, int]]:
    """Run rounds until the time is over; return the readings and how often what was done."""
    from soak_work import Soak

    program = Soak(folder)
    if seconds >= FILLED_SECONDS:
        program.fill_traces()
    program.tasks = 0
    since = {"seconds": 0.0, "tasks": 0, "cpu": cpu_seconds(program.neighbours)}
    begun, readings = time.monotonic(), []
    pace = CYCLE_ROUNDS if every >= CYCLE_SECONDS else CYCLE_ROUNDS // 4
    print(f"{'min':>6} {'load':>5} {'tasks':>9} " + " ".join(map(_head, COLUMNS)), flush=True)
    while len(readings) < READINGS_MIN or readings[-1]["seconds"] < seconds:
        faulthandler.dump_traceback_later(HANGS_SECONDS, exit=True)
        for _ in range(pace):
            program.run_round()
        at = time.monotonic() - begun
        if at >= min(seconds, every * (len(readings) + 1)):
            readings.append(take_reading(program, folder, at, (readings or [since])[-1]))
            print(line_of(readings[-1]), flush=True)
    program.close()
    faulthandler.cancel_dump_traceback_later()
    return readings, program.counts


def take_reading(program, folder: Path, at: float, since: Mapping[str, float]):
    """Read once, with the rates since the reading before."""
    time.sleep(SETTLE_SECONDS)
    give_back()
    reading = read(folder, program.neighbours)
    used = cpu_seconds(program.neighbours) - program.neighbour_cpu_seconds
    reading |= {"seconds": at, "tasks": program.tasks, "cpu": used, "load": os.getloadavg()[0]}
    tasks = reading["tasks"] - since["tasks"]
    reading["tasks/s"] = tasks / (at - since["seconds"])
    reading["CPU us/task"] = 1e6 * (used - since["cpu"]) / tasks
    return reading


def report(readings, counts, options) -> tuple[str, list[str]]:
    """Say in a text what was read, what drifts, and how the rates compare."""
    seconds = readings[-1]["seconds"]
    slopes = fit_all(readings, min(WARM_UP_SECONDS, WARM_UP_SHARE * seconds), options.trifle)
    faults = [f"{slope.name} drifts" for slope in slopes if slope.drifts]
    lines = []
    for name in RATES:
        first, last = rates(readings, name, min(ENDS_SECONDS, ENDS_SHARE * seconds))
        change = 100 * (last / first - 1)
        both = f"{first:,.0f} in the first part, {last:,.0f} in the last"
        lines.append(f"{name}: {both} ({change:+.1f} %).")
        worse = -change if name == "tasks/s" else change
        if worse > (options.rate if name == "tasks/s" else options.cpu):
            faults.append(f"{name} changed by {change:+.1f} %")
    if readings[-1]["tasks"] < options.tasks * seconds / 60:
        faults.append("too few tasks")
    done = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    verdict = "; ".join(faults) or "nothing drifts"
    head = f"{readings[-1]['tasks']:,.0f} tasks, every outcome right; {done}. Found: {verdict}."
    tables = [table_of_readings(readings), table_of_slopes(slopes)]
    return "\n\n".join([head, "\n".join(lines), *tables]), faults


def fit_all(readings, warm_up_seconds: float, factor: float) -> list[Slope]:
    part = [one for one in readings if one["seconds"] >= warm_up_seconds]
    part = part if len(part) >= READINGS_MIN else readings[-READINGS_MIN:]
    seconds = [one["seconds"] for one in part]
    return [fit(name, seconds, [one[name] for one in part], factor) for name in TRIFLES]


def table_of_readings(readings) -> str:
    """Draw every reading, or every fifth where there are many."""
    step = 5 if len(readings) > 24 else 1
    rows = [f"| min | load | tasks | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 3) + "|"]
    for one in readings[::step]:
        cells = [f"{one['seconds'] / 60:.1f}", f"{one['load']:.1f}", f"{one['tasks']:,.0f}"]
        rows.append(f"| {' | '.join(cells + [_short(one[name]) for name in COLUMNS])} |")
    return "\n".join(rows)


def table_of_slopes(slopes: Sequence[Slope]) -> str:
    head = "| | mean | slope per hour | standard error | over the run | drifts |"
    rows = [head, "|---" * 6 + "|"]
    for one in slopes:
        drifts = "yes" if one.drifts else "-" if one.name in UNJUDGED else "no"
        cells = (f"{one.mean:,.2f}", f"{one.per_hour:+,.2f}", f"{one.error_per_hour:,.2f}")
        rows.append(f"| {one.name} | {' | '.join(cells)} | {one.drift:+,.2f} | {drifts} |")
    return "\n".join(rows)


def line_of(reading: Mapping[str, float]) -> str:
    cells = [f"{_short(reading[name]):>{len(_head(name))}}" for name in COLUMNS]
    head = f"{reading['seconds'] / 60:6.1f} {reading['load']:5.1f} {reading['tasks']:9,.0f} "
    return head + " ".join(cells)


def _head(name: str) -> str:
    return f"{name.replace(' ', '-'):>7}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


if __name__ == "__main__":
    main()
