"""How fast a cluster of two workers on this host is: our chunks beside Dask's own `Client.map`.

Tasks sleep, so that the machine's cores do not decide. Both start with workers that are there; each
figure is the median of `--repeats`, one after the other in turns. `python benchmarks/cluster.py`.
Needs Dask. Prints a table in Markdown.
"""

import argparse
import contextlib
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from dask.distributed import Client, LocalCluster

from adaptive_exec import AdaptiveExecutor, adaptive_executor

WARM_TASKS = 40


def pause(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@contextlib.contextmanager
def ours(cluster: object, workers: int) -> Iterator[AdaptiveExecutor]:
    settings = {"share_host": False, "max_workers": workers}
    with adaptive_executor(cluster=cluster, **settings) as executor:
        end = time.monotonic() + 30
        while time.monotonic() < end:  # the cluster's workers are there, and all have begun
            list(executor.map(pause, [0.001] * WARM_TASKS))
            if cluster is None or "cluster" in executor.report.levels:
                break
        yield executor


def seconds_of(step: Callable[[], object]) -> float:
    before = time.perf_counter()
    step()
    return time.perf_counter() - before


def rates(address: str, client: Client, seconds: float, count: int) -> dict[str, float]:
    """Return tasks per second of each way, the same tasks for all."""
    tasks = [seconds] * count
    found = {}
    took = seconds_of(lambda: client.gather(client.map(pause, tasks, pure=False)))
    found["Client.map"] = count / took
    with ours(None, 2) as executor:
        found["here alone, 2 workers"] = count / seconds_of(
            lambda: list(executor.map(pause, tasks))
        )
    with ours(address, 1) as executor:
        both = seconds_of(lambda: list(executor.map(pause, tasks)))
        found["cluster and 1 here"] = count / both
    with ours(address, 2) as executor:
        found["cluster and 2 here"] = count / seconds_of(lambda: list(executor.map(pause, tasks)))
    return found


def lost(seconds: float, count: int) -> tuple[float, float]:
    """Kill an engine in the middle; return what the rest took, and what it takes here alone."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(pause, [0.01] * 8))
        with ours(pool, 2) as executor:
            results = executor.map(pause, [seconds] * count)
            for _ in range(count // 3):
                next(results)
            for pid in list(pool._processes):  # noqa: SLF001  # nothing else tells
                os.kill(pid, signal.SIGKILL)
            rest = count - executor.progress_now().done
            took = seconds_of(lambda: list(results))
    return took, rest * seconds / 2


def measure(repeats: int) -> dict[float, dict[str, list[float]]]:
    """Return tasks per second by the seconds of a task and the way, once for each repeat."""
    table: dict[float, dict[str, list[float]]] = {}
    sizes = [size for _ in range(repeats) for size in ((0.001, 4000), (0.01, 1000), (0.1, 100))]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.gather(client.map(pause, [0.001] * WARM_TASKS, pure=False))
        for seconds, count in sizes:
            for way, rate in rates(cluster.scheduler_address, client, seconds, count).items():
                table.setdefault(seconds, {}).setdefault(way, []).append(rate)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    table = measure(repeats)
    ways = list(next(iter(table.values())))
    print("| task | " + " | ".join(ways) + " |\n|" + "---|" * (len(ways) + 1))
    for seconds, found in table.items():
        cells = [f"{statistics.median(found[way]):.0f}/s" for way in ways]
        print(f"| {1000 * seconds:.0f} ms | " + " | ".join(cells) + " |")
    ratios = [took / alone for took, alone in (lost(0.02, 600) for _ in range(repeats))]
    print(
        f"\nrest after a kill: {statistics.median(ratios):.2f} times what two workers need for it"
    )


if __name__ == "__main__":
    main()
