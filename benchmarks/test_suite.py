"""A loop, threads, processes and adaptive on four workloads: `pytest benchmarks -m benchmark`.

Each round opens its own executor, since starting is part of what a batch costs. Every result
is checked against the loop. Asserts no speed; the figures to reach are in `figures.py`.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from adaptive_exec import adaptive_executor
from benchmarks.tasks import count_primes, identity, nap, total_of

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(180)]
np = pytest.importorskip("numpy", reason="numpy is missing: one of the workloads is of arrays")

ARRAYS = [np.full(125_000, float(number)) for number in range(40)]
WORKLOADS = {
    "tiny": (identity, list(range(10_000))),
    "5 to 50 ms of pure Python": (count_primes, [4500, 7000, 12_000, 20_000] * 10),
    "20 ms of waiting": (nap, [0.02] * 50),
    "arrays of 1 MB": (total_of, ARRAYS),
}


def run_loop(function, items):
    return [function(item) for item in items]


def run_threads(function, items):
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, items))


def run_processes(how):
    def run(function, items):
        # Four chunks for each core, as a careful user would have it.
        size = max(1, len(items) // (4 * (os.cpu_count() or 1)))
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context(how)) as pool:
            return list(pool.map(function, items, chunksize=size))

    return run


def run_adaptive(**settings):
    def run(function, items):
        with adaptive_executor(items, **settings) as executor:
            return list(executor.map(function, items))

    return run


WAYS = {
    "loop": run_loop,
    "threads": run_threads,
    "processes, fork": run_processes("fork"),
    "processes, spawn": run_processes("spawn"),
    "adaptive": run_adaptive(),
    "adaptive, inline": run_adaptive(inline=True),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_batch(benchmark, workload: str, way: str):
    function, items = WORKLOADS[workload]
    benchmark.group = workload

    results = benchmark.pedantic(WAYS[way], args=(function, items), rounds=3, warmup_rounds=1)

    assert results == run_loop(function, items)
