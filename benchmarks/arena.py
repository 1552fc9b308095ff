"""How long does a large array take to a worker, back, or both ways?

    python benchmarks/arena.py           # print
    python benchmarks/arena.py --write   # and put the tables into README.md

One worker each, warm; one call at a time, its result dropped before the next. "In-band" is this
package with its memory files switched off.
"""

import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from measure import HERE, Figure, Spread, describe_host, summarise, take_turns, write_section
from tasks import array_of, identity, length

from adaptive_exec import adaptive_executor
from adaptive_exec.levels import process, ways
from adaptive_exec.levels.arena import ARENA_BYTES_MAX, Arena
from adaptive_exec.levels.channel import Channel
from adaptive_exec.levels.wire import CHUNK, Packed

MIB = 1 << 20
KEY = b"eight by"
SIZES = (8 * MIB, 64 * MIB)
ROUNDS = 25
ASKED = "8 MB in a reused piece 0.25 - 0.6 ms, in a fresh one 7 - 10 ms, through a pipe 15 ms"


def open_adaptive(arena_bytes: int) -> Executor:
    process.ARENA_BYTES_MAX = ways.ARENA_BYTES_MAX = arena_bytes
    executor = adaptive_executor(levels="process", max_workers=1)
    executor.submit(identity, 1).result()
    return executor


def open_executors() -> dict[str, Executor]:
    from loky import ProcessPoolExecutor as LokyExecutor

    executors = {
        "adaptive": open_adaptive(ARENA_BYTES_MAX),
        "adaptive, in-band": open_adaptive(0),
        "ProcessPoolExecutor, fork": ProcessPoolExecutor(1, mp_context=get_context("fork")),
        "ProcessPoolExecutor, spawn": ProcessPoolExecutor(1, mp_context=get_context("spawn")),
        "loky": LokyExecutor(1),
    }
    for executor in executors.values():
        executor.submit(identity, 1).result()
    return executors


def timed_call(executor: Executor, function: Callable[..., object], item: object):
    def measure() -> float:
        before = time.perf_counter()
        executor.submit(function, item).result()
        return time.perf_counter() - before

    return measure


def measure_trips() -> Figure:
    executors = open_executors()
    rows: dict[str, Spread] = {}
    for size in SIZES:
        array = np.ones(size, np.uint8)
        trips = (("argument", length, array), ("result", array_of, size), ("both", identity, array))
        for name, function, item in (*trips, ("both, bytes", identity, array.tobytes())):
            calls = {
                f"{size // MIB} MB {name}: {who}": timed_call(executor, function, item)
                for who, executor in executors.items()
            }
            take_turns(calls, 2)
            rows |= take_turns(calls, ROUNDS if size == SIZES[0] else ROUNDS // 3)
    for executor in executors.values():
        executor.shutdown()
    rows = {name: spread.scaled(1e3) for name, spread in rows.items()}
    parts = [
        f"{who} {rows[f'{megabytes} MB both: {who}'].median:.1f} ms for {megabytes} MB both ways"
        for megabytes in (8, 64)
        for who in ("adaptive", "ProcessPoolExecutor, fork", "loky")
    ]
    return Figure("trips", "", "; ".join(parts), None, "ms", rows)


def carry(arena_bytes: int, *, reused: bool) -> Callable[[], float]:
    """Make a measurement of 8 MB from one end of a channel to the other, in one process."""
    links = socket.socketpair()
    for link in links:
        link.settimeout(0)
    arena, array = Arena(arena_bytes), np.ones(SIZES[0], np.uint8)
    left, right = Channel(links[0], arena, KEY), Channel(links[1], Arena(0), KEY, is_worker=True)

    def measure() -> float:
        if not reused:
            arena.close()
        before = time.perf_counter()
        packed = Packed()
        packed.add(array)
        left.put((CHUNK,), packed)
        frames = []
        while not frames:
            left.flush()
            frames = right.read()[0]
        took = time.perf_counter() - before
        del frames, packed
        right.tell_released()
        right.flush()
        left.read()
        return took

    return measure


def measure_pieces() -> Figure:
    rows = take_turns(
        {
            "a reused piece": carry(ARENA_BYTES_MAX, reused=True),
            "a fresh piece": carry(ARENA_BYTES_MAX, reused=False),
            "the socket": carry(0, reused=True),
        },
        ROUNDS,
    )
    rows["copying 8 MB in memory"] = copy_memory()
    rows = {name: spread.scaled(1e3) for name, spread in rows.items()}
    reused, fresh, band, _ = [spread.median for spread in rows.values()]
    measured = f"reused {reused:.2f} ms, fresh {fresh:.1f} ms, in-band {band:.1f} ms"
    return Figure("pieces", ASKED, measured, reused <= 0.6 and fresh <= 10, "ms", rows)


def copy_memory() -> Spread:
    """Copy between two arrays whose pages are all there: no piece can be written faster."""
    source, target = np.ones(SIZES[0], np.uint8), np.zeros(SIZES[0], np.uint8)
    found = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        target[:] = source
        found.append(time.perf_counter() - before)
    return summarise(found)


def main() -> None:
    for measure in (measure_pieces, measure_trips):
        host = describe_host()
        figure = measure()
        text = f"{figure.as_markdown()}\n\n{host}."
        print(f"### {figure.name}\n\n{text}\n")
        if "--write" in sys.argv:
            write_section(HERE / "README.md", figure.name, text)


if __name__ == "__main__":
    main()
