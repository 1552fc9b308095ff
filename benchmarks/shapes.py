"""What do reserves by size waste and miss, beside fixed percentiles, and how near is the bound?

Tasks as in public workflow traces, made up: sizes that are a line, two clusters, a heavy tail; in
rising, falling and random order. An argument shows each size within five percent. Reserves are
replayed task by task: one that is too small is a failure, and its task runs again with all there
is. The time is that of the real policy on a simulated host.

    python benchmarks/shapes.py                 # half a minute
    python benchmarks/shapes.py --write         # and put the table into README.md
"""

import sys
from collections.abc import Callable, Sequence
from random import Random

from measure import HERE, describe_host, write_section

from adaptive_exec.config import MIB, Config
from adaptive_exec.core.memory.peaks import NOTHING_KNOWN, learn_peak
from adaptive_exec.core.memory.sizes import SLACK, SLACK_BYTES, Measure, Sizing
from adaptive_exec.sim.driver import simulate
from adaptive_exec.sim.machine import SimHost

CORES, LIMIT_BYTES = 8, 4000 * MIB
TASKS = 600
ASKED = (
    "less wasted than with any fixed percentile, at most 1.25 x the time of who knows all sizes "
    "and keeps below the warn mark"
)
HEAD = (
    "| sizes, order | by size: wasted, of what was used; failures | the median | 95th percentile "
    "| 99th | time, of the bound | of who knows all sizes | highest memory | deaths |"
)
WARN_SHARE = 0.78
SHAPES: dict[str, Callable[[int, Random], float]] = {
    "linear": lambda index, _: 50 + 900 * index / TASKS,
    "two clusters": lambda index, _: 50.0 if index < TASKS * 5 // 6 else 900.0,
    "heavy tail": lambda _, random: min(2000.0, max(10.0, random.lognormvariate(5.5, 1.0))),
}
ORDERS: dict[str, Callable[[list[int], Random], list[int]]] = {
    "rising": lambda sizes, _: sorted(sizes),
    "falling": lambda sizes, _: sorted(sizes, reverse=True),
    "random": lambda sizes, random: random.sample(sizes, len(sizes)),
}


def by_size(sizes: Sequence[int], shown: Sequence[float]) -> list[float]:
    """Say what would have been reserved for each task, learning from those before it."""
    sizing, peaks, reserves = Sizing(), NOTHING_KNOWN, []
    for index, size in enumerate(sizes):
        measure = Measure(1, (float(index), shown[index]))
        said = sizing.expect(measure.numbers, index)
        known = float(peaks.p95_bytes or LIMIT_BYTES)
        reserves.append(min(LIMIT_BYTES, said.bytes or slack(known)))
        sizing.learn(measure, size, 1.0, index=index, flat_bytes=known)
        peaks = learn_peak(peaks, size)
    return reserves


def percentile(sizes: Sequence[int], share: float) -> list[float]:
    """Reserve the same for all, as if it had been known beforehand."""
    place = min(len(sizes) - 1, int(share * len(sizes)))
    return [slack(sorted(sizes)[place])] * len(sizes)


def slack(reserve: float) -> float:
    """Add to a reserve what the policy adds to its own."""
    return SLACK * reserve + SLACK_BYTES


def known_seconds(sizes: Sequence[int], seconds: float) -> float:
    """How long it takes who knows every size: each round the first that fit below the warn mark."""
    waiting, rounds = list(sizes), 0
    while waiting:
        room, seats, rest = WARN_SHARE * LIMIT_BYTES, CORES, []
        for size in waiting:
            if size <= room and seats and len(rest) < 2 * CORES:
                room, seats = room - size, seats - 1
            else:
                rest.append(size)
        waiting, rounds = rest, rounds + 1
    return rounds * seconds


def weigh(sizes: Sequence[int], reserves: Sequence[float]) -> str:
    """Return what was wasted, as a share of what was used, and the share of failures."""
    failed = [reserve < size for size, reserve in zip(sizes, reserves, strict=True)]
    wasted = sum(
        reserve + (LIMIT_BYTES - size) if bad else reserve - size
        for size, reserve, bad in zip(sizes, reserves, failed, strict=True)
    )
    return f"{wasted / sum(sizes):.2f}, {sum(failed) / len(sizes):.1%}"


def measure(shape: str, order: str) -> str:
    random = Random(3)
    sizes = [int(SHAPES[shape](index, random) * MIB) for index in range(TASKS)]
    sizes = ORDERS[order](sizes, random)
    shown = [size * random.uniform(0.95, 1.05) for size in sizes]
    fixed = [weigh(sizes, percentile(sizes, share)) for share in (0.5, 0.95, 0.99)]
    host = SimHost(
        cores=CORES,
        memory_bytes=LIMIT_BYTES,
        size_of=sizes.__getitem__,
        shows=lambda index: (float(index), shown[index]),
    )
    result = simulate(Config(), host, [0.4] * TASKS)
    bounds = [max(0.4 * TASKS / CORES, 0.4 * sum(sizes) / LIMIT_BYTES), known_seconds(sizes, 0.4)]
    times = [f"{result.seconds / bound:.2f}" for bound in bounds]
    memory = f"{result.most_bytes / LIMIT_BYTES:.0%}"
    cells = [f"{shape}, {order}", weigh(sizes, by_size(sizes, shown)), *fixed, *times]
    return f"| {' | '.join([*cells, memory, str(result.memory_deaths)])} |"


def main() -> None:
    rows = [measure(shape, order) for shape in SHAPES for order in ORDERS]
    lines = [f"Asked: {ASKED}.", "", HEAD, f"|{'---|' * 9}", *rows, "", f"{describe_host()}."]
    table = "\n".join(lines)
    print(table)
    if "--write" in sys.argv:
        write_section(HERE / "README.md", "shapes", table)


if __name__ == "__main__":
    main()
