"""Does it keep the limit and use the host, on 256 cores and 1 TiB that we do not have?

The real policy on a simulated host, with ten million tasks of mixed sizes and with some mixes that
are harder. A chunk takes the memory of its largest task from its start to its end.

    python benchmarks/simulated.py                # all mixes, a quarter of an hour
    python benchmarks/simulated.py "long = large" # some
    python benchmarks/simulated.py --write        # and put the table into README.md
"""

import gc
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from math import log
from random import Random

from measure import HERE, describe_host, write_section

from adaptive_exec.config import GIB, Config
from adaptive_exec.core.memory.governor import set_marks
from adaptive_exec.sim.driver import simulate
from adaptive_exec.sim.machine import SimHost

CORES, LIMIT_BYTES = 256, 1024 * GIB
SIZE_BYTES_MAX = 64 * GIB
ASKED = (
    "ten million tasks of mixed sizes, never over the limit by more than one task, at most 1.1 x "
    "the bound max(core-seconds / cores, byte-seconds / limit)"
)
HEAD = (
    "| mean duration, size (sigma) | delivered | bound of memory, of that of cores | time, of the "
    "bound | of that at the target mark | highest memory | deaths | chunks | seconds | CPU s |"
)
Draw = Callable[[Random], tuple[float, float]]


def lognormal(random: Random, mean: float, sigma: float) -> float:
    return random.lognormvariate(log(mean) - sigma * sigma / 2, sigma)


def apart(seconds: float, seconds_sigma: float, gib: float, gib_sigma: float) -> Draw:
    """Sizes have nothing to do with durations; means and sigmas of both."""
    return lambda random: (
        lognormal(random, seconds, seconds_sigma),
        lognormal(random, gib, gib_sigma),
    )


def together(large_gib: float) -> Draw:
    """Nine in ten are short and small, one in a hundred takes 10 s and much."""

    def draw(random: Random) -> tuple[float, float]:
        kinds = ((0.01, 0.2), (0.5, 2.0), (10.0, large_gib))
        seconds, gib = random.choices(kinds, (90, 9, 1))[0]
        return lognormal(random, seconds, 0.5), lognormal(random, gib, 0.5)

    return draw


@dataclass(frozen=True, slots=True)
class Mix:
    """Tasks to simulate."""

    tasks: int
    draw: Draw


MIXES = {
    "50 ms (sigma 1), 1 GiB (1)": Mix(10_000_000, apart(0.05, 1.0, 1.0, 1.0)),
    "50 ms (1), 2 GiB (1)": Mix(500_000, apart(0.05, 1.0, 2.0, 1.0)),
    "0.4 s (0.5), 2 GiB (1)": Mix(300_000, apart(0.4, 0.5, 2.0, 1.0)),
    "0.4 s (0.5), 3 GiB (1)": Mix(300_000, apart(0.4, 0.5, 3.0, 1.0)),
    "0.4 s (0.5), 4 GiB (1)": Mix(300_000, apart(0.4, 0.5, 4.0, 1.0)),
    "0.4 s (0.5), 5 GiB (0.3)": Mix(300_000, apart(0.4, 0.5, 5.0, 0.3)),
    "0.4 s (0.5), 5 GiB (0.6)": Mix(300_000, apart(0.4, 0.5, 5.0, 0.6)),
    "long = large, 3 GiB": Mix(500_000, together(3.0)),
    "long = large, 10 GiB": Mix(300_000, together(10.0)),
}


def measure(name: str, mix: Mix) -> str:
    random, durations, sizes = Random(1), array("d"), array("q")
    for _ in range(mix.tasks):
        seconds, gib = mix.draw(random)
        durations.append(seconds)
        sizes.append(min(SIZE_BYTES_MAX, int(gib * GIB)))
    host = SimHost(cores=CORES, memory_bytes=LIMIT_BYTES, size_of=sizes.__getitem__)
    gc.freeze()
    before = time.process_time()
    result = simulate(Config(), host, durations)
    cpu_seconds = time.process_time() - before
    delivered = sum(how == "value" for how in result.batches[0].outcomes)
    by_cores = sum(durations) / CORES
    byte_seconds = sum(a * b for a, b in zip(durations, sizes, strict=True))
    target_bytes = set_marks(host.snapshot(0.0, 0), Config()).target_bytes
    bounds = [max(by_cores, byte_seconds / room) for room in (LIMIT_BYTES, target_bytes)]
    ratios = [f"{result.seconds / bound:.2f}" for bound in bounds]
    cells = [
        name,
        f"{delivered:,} of {mix.tasks:,}",
        f"{byte_seconds / LIMIT_BYTES / by_cores:.2f}",
        *ratios,
        f"{result.most_bytes / LIMIT_BYTES:.1%}",
        str(result.memory_deaths),
        f"{result.report.chunks:,}",
        f"{result.seconds:,.0f}",
        f"{cpu_seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    asked = [word for word in sys.argv[1:] if not word.startswith("-")]
    rows = []
    for name, mix in MIXES.items():
        if not asked or any(word in name for word in asked):
            rows.append(measure(name, mix))
            print(rows[-1], flush=True)
    head = [f"Asked: {ASKED}.", "", HEAD, f"|{'---|' * 10}"]
    table = "\n".join([*head, *rows, "", f"{describe_host()}."])
    print(table)
    if "--write" in sys.argv:
        write_section(HERE / "README.md", "simulated", table)


if __name__ == "__main__":
    main()
