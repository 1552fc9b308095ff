"""Run each system as it was written first and as a card, in a group whose memory is bounded.

    python examples/compare.py [NAME ...] [--write]

Without names all five are run, and the tables of `levels` and `in-flight` are made (some minutes on
two cores; as root, since groups are made). `--write` puts the figures into examples/README.md and
a picture of memory over time into examples/pictures, one for each system. Needs the project's
`test` extra. Exits with 1 where a card did not deliver.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.cgroups import RealGroup, memory_group  # noqa: E402  # found from anywhere by the line above

MIB = 2**20
LOOK_SECONDS = 0.05
"""Seconds between two looks at what a group holds."""
RUN_SECONDS = 400.0
"""Seconds that one side may take; a pool whose worker was killed may wait for ever."""
HANG_SECONDS = 15.0
"""Seconds after a kill by the kernel in which what was written first may still end by itself."""
CARD = (sys.executable, "-P", str(HERE.parent / "adaptive_exec" / "__main__.py"))
PYTHON = sys.executable


@dataclass(frozen=True, slots=True)
class System:
    """One of the five.

    Attributes:
        limit_mib: What the group may hold.
        naive: What was written first, run so many times at once.
        card: How it runs now.
        before: Makes its input.
        copies: How many of the naive one run at once.
    """

    limit_mib: int
    naive: Sequence[str]
    card: Sequence[str]
    before: Sequence[str] = ()
    copies: int = 1


RUN = (*CARD, "run")
WATCHDOG = "-n 2 --max-age 15s --max-memory 250MB --min-available 60MB --check-every 1s --grace 5s"
SYSTEMS = {
    "score": System(
        640,
        ("naive.py", "3"),
        (*RUN, "score.toml", "-o", "-c", "-3", "-n", "8", "-t", "5min"),
        copies=8,
    ),
    "labels": System(
        320,
        ("naive.py", "geometries.parquet", "out.csv", "2000"),
        (*RUN, "labels.toml", "--n-limit", "2000"),
        before=("labels.py", "geometries.parquet"),
    ),
    "sweep": System(512, ("naive.py", "out.csv"), (*RUN, "sweep.toml")),
    "transform": System(448, ("naive.py", "out.csv"), (*RUN, "transform.toml")),
    "trials": System(
        500, ("naive.py",), (*CARD, "supervise", *WATCHDOG.split(), "--", PYTHON, "trials.py")
    ),
}


@dataclass(slots=True)
class Side:
    """What became of one side.

    Attributes:
        ending: How many died, or that it was not over when its time was.
        kills: Processes that the kernel killed.
        seconds: How long it took.
        samples: Seconds and MiB held.
    """

    ending: str = ""
    kills: int = 0
    seconds: float = 0.0
    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """How it ended, and what the kernel did."""
        return f"{self.ending}, {self.kills} killed by the kernel" if self.kills else self.ending

    @property
    def peak_mib(self) -> float:
        """The most that was held."""
        return max((mib for _, mib in self.samples), default=0.0)


def held_mib(group: RealGroup) -> float:
    """Return what a group holds, without what the kernel could take back at once."""
    stat = dict(line.split() for line in group.read("memory.stat").splitlines())
    names = ("total_rss", "total_shmem") if group.version == 1 else ("anon", "shmem")
    return sum(int(stat.get(name, 0)) for name in names) / MIB


def run_side(limit_mib: int, folder: Path, command: Sequence[str], copies: int = 1) -> Side:
    """Run one side in a group of its own, and look at it until it ends."""
    side, began, killed_at = Side(), time.monotonic(), None
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with memory_group(limit_mib * MIB) as group, (folder / "said.txt").open("ab") as said:
        running = [
            subprocess.Popen(
                group.command(command),
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
            for _ in range(copies)
        ]
        while any(one.poll() is None for one in running):
            now = time.monotonic()
            side.samples.append((now - began, held_mib(group)))
            side.kills = group.kernel_kills()
            killed_at = killed_at or (now if side.kills else None)
            if now > began + RUN_SECONDS or (killed_at and now > killed_at + HANG_SECONDS):
                break
            time.sleep(LOOK_SECONDS)
        side.seconds, side.kills = time.monotonic() - began, group.kernel_kills()
        codes = [one.poll() for one in running]
    for one in running:
        one.wait(RUN_SECONDS)  # who still ran was ended with the group
    failed = sum(code != 0 for code in codes)
    side.ending = (
        f"not over in {HANG_SECONDS:.0f} s more"
        if None in codes
        else f"{failed} of {copies} died"
        if failed
        else "done"
    )
    return side


def compare(name: str, work: Path) -> tuple[Side, Side]:
    """Run both sides of a system, each in a copy of its folder."""
    system, sides = SYSTEMS[name], []
    for what, command, copies in (
        ("naive", (PYTHON, *system.naive), system.copies),
        ("card", system.card, 1),
    ):
        folder = shutil.copytree(HERE / name, work / what / name)
        if system.before:
            subprocess.run((PYTHON, *system.before), cwd=folder, check=True, timeout=RUN_SECONDS)
        sides.append(run_side(system.limit_mib, folder, command, copies))
        if what == "card" and sides[-1].ending != "done":
            print((folder / "said.txt").read_text(errors="replace")[-2000:], file=sys.stderr)
    return sides[0], sides[1]


def row(name: str, naive: Side, card: Side) -> str:
    """Return a system's row of the table."""
    cells = [f"[{name}]({name}/README.md)", f"{SYSTEMS[name].limit_mib} MiB"]
    for side in (naive, card):
        cells += [side.text, f"{side.peak_mib:.0f} MiB", f"{side.seconds:.0f} s"]
    return f"| {' | '.join(cells)} |"


WIDTH, HEIGHT, LEFT, BOTTOM = 640, 240, 60, 30


def picture(name: str, naive: Side, card: Side) -> str:
    """Draw memory over time, both sides, as SVG."""
    limit = SYSTEMS[name].limit_mib
    until = max(naive.seconds, card.seconds, 1.0)
    top = 1.15 * max(limit, naive.peak_mib, card.peak_mib)

    def at(seconds: float, mib: float) -> str:
        x = LEFT + seconds / until * (WIDTH - LEFT - 10)
        return f"{x:.1f},{(HEIGHT - BOTTOM) * (1 - mib / top):.1f}"

    def line(side: Side, colour: str) -> str:
        points = " ".join(at(*sample) for sample in side.samples)
        return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>'

    y = (HEIGHT - BOTTOM) * (1 - limit / top)
    floor, right, low = HEIGHT - BOTTOM, WIDTH - 10, HEIGHT - 12
    first, now = f"{name} as written first: {naive.ending}", f"as a card: {card.ending}"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"
 font-family="sans-serif" font-size="11">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<path d="M{LEFT} 0V{floor}H{right}" fill="none" stroke="black"/>
<path d="M{LEFT} {y:.1f}H{right}" stroke="gray" stroke-dasharray="4"/>
<text x="{LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{limit} MiB</text>
<text x="{LEFT - 4}" y="{floor}" text-anchor="end">0</text>
<text x="{right}" y="{low}" text-anchor="end">{until:.0f} s</text>
{line(naive, "#c0392b")}
{line(card, "#2471a3")}
<text x="{LEFT + 10}" y="{low}" fill="#c0392b">{first}</text>
<text x="{LEFT + 290}" y="{low}" fill="#2471a3">{now}</text>
</svg>
"""


HEAD = (
    "| system | limit | as written first | peak | took | as a card | peak | took |\n"
    "|---|---|---|---|---|---|---|---|"
)


IN_FLIGHT_MIB = 448
AUTOMATIC = """
from adaptive_exec import adaptive_executor
from transform import transform
with adaptive_executor(range(40), max_workers=10, target_memory="70%") as executor:
    rows = list(executor.map(transform, range(40)))
"""


def table_in_flight() -> list[str]:
    """Return the table of batches in flight: fixed as written first, and by what they take."""
    lines = [f"| in flight | ending | peak, of {IN_FLIGHT_MIB} MiB | took |", "|---|---|---|---|"]
    ways: dict[str, Sequence[str]] = {
        f"{count}, fixed": (PYTHON, "naive.py", "out.csv", str(count)) for count in (10, 4, 2)
    }
    ways["automatic"] = (PYTHON, "-c", AUTOMATIC)
    ways["automatic, as a card"] = (*RUN, "transform.toml", "--max-workers", "10")
    for what, command in ways.items():
        with tempfile.TemporaryDirectory() as work:
            folder = shutil.copytree(HERE / "transform", Path(work) / "transform")
            side = run_side(IN_FLIGHT_MIB, folder, command)
        share = f"{side.peak_mib:.0f} MiB, {100 * side.peak_mib / IN_FLIGHT_MIB:.0f} %"
        lines.append(f"| {what} | {side.text} | {share} | {side.seconds:.1f} s |")
    return lines


SEED_SECONDS = {"process": "0.24", "thread": "0.35", "sequential": "0.40"}
"""Seconds for six samples. Source: the score system, on its host."""
TURNS = 5


def table_levels() -> list[str]:
    """Return the table of six samples of `score`, at each level and at the one that is chosen."""
    sys.path.insert(0, str(HERE / "score"))
    import score

    from adaptive_exec import adaptive_executor

    samples = list(score.puzzle(1))
    took: dict[str, list[float]] = {}
    chosen = ""
    for _ in range(TURNS):  # they take turns, so that a busy moment falls on all
        for level in (*SEED_SECONDS, "chosen"):
            settings = {} if level == "chosen" else {"levels": (level,)}
            began = time.monotonic()
            with adaptive_executor(samples, max_workers=3, **settings) as executor:
                list(executor.map(score.score_sample, samples))
                chosen = " -> ".join(executor.report.levels)
            took.setdefault(level, []).append(time.monotonic() - began)
    lines = ["| level | six samples | the seed's |", "|---|---|---|"]
    for level, all_seconds in took.items():
        name = f"chosen: {chosen}" if level == "chosen" else level
        middle = statistics.median(all_seconds)
        lines.append(f"| {name} | {middle:.2f} s | {SEED_SECONDS.get(level, 'process, 0.24')} s |")
    return lines


TABLES = {"levels": table_levels, "in-flight": table_in_flight}


def place() -> list[str]:
    """Say where the figures are from."""
    load = os.getloadavg()[0]
    return [f"Linux {os.uname().release}, {os.cpu_count()} cores, load {load:.1f} before."]


def write(lines: dict[str, str], pictures: dict[str, str], tables: dict[str, list[str]]) -> None:
    """Put rows, tables and pictures where they belong; what was not run stays as it is."""
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    for name, line in lines.items():
        (HERE / "pictures" / f"{name}.svg").write_text(pictures[name], encoding="utf-8")
        text = re.sub(rf"^\| \[{name}\].*$", lambda _, line=line: line, text, flags=re.MULTILINE)
    for name, rows in tables.items():
        body = "\n".join(["", "", *rows, "", ""])
        text = re.sub(
            rf"(<!-- table {name} -->).*?(?=<!-- end -->)",
            lambda found, body=body: found[1] + body,
            text,
            flags=re.DOTALL,
        )
    page.write_text(text, encoding="utf-8")


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*SYSTEMS, *TABLES)))
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    names = asked.names or (*SYSTEMS, *TABLES)
    unknown = set(names) - {*SYSTEMS, *TABLES}
    if unknown:
        parser.error(f"unknown, got {', '.join(unknown)}; give some of {[*SYSTEMS, *TABLES]}")
    rows, pictures, tables, is_good = {}, {}, {"place": place()}, True
    print(HEAD)
    for name in (name for name in SYSTEMS if name in names):
        with tempfile.TemporaryDirectory() as folder:
            naive, card = compare(name, Path(folder))
        rows[name], pictures[name] = row(name, naive, card), picture(name, naive, card)
        print(rows[name], flush=True)
        is_good &= card.ending == "done" and not card.kills
    tables |= {name: make() for name, make in TABLES.items() if name in names}
    for lines in tables.values():
        print("", *lines, sep="\n", flush=True)
    if asked.write:
        write(rows, pictures, tables)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
