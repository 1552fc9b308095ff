"""Run one batch of memory tasks with one executor, and note each result as it comes.

Arguments: executor, JSON of the scenario (function, tasks, workers, settings), file of notes: a
line with `ok` or an error's name for each task that came back, `end SECONDS` when all is over.
"""

import json
import pathlib
import sys
import time

import memory_tasks

RESULT_SECONDS = 30


def main():
    name, scenario, path = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
    function = getattr(memory_tasks, scenario["function"])
    tasks = [tuple(task) for task in scenario["tasks"]]
    with pathlib.Path(path).open("w", encoding="utf-8", buffering=1) as notes:
        run = RUNS[name.partition(" ")[0]]
        ballast = bytearray(b"x") * (scenario["ballast"] * memory_tasks.MB)
        before, cpu_before = time.perf_counter(), time.process_time()
        errors = run(function, tasks, scenario["workers"], **scenario["settings"])
        notes.writelines(f"{error or 'ok'} {time.monotonic():.3f}\n" for error in errors)
        notes.write(f"end {time.perf_counter() - before:.3f}\n")
        notes.write(f"cpu {time.process_time() - cpu_before:.4f}\n")
        del ballast


def adaptive(function, tasks, workers, **settings):
    from adaptive_exec import adaptive_executor

    with adaptive_executor(max_workers=workers, share_host=False, **settings) as executor:
        for outcome in executor.outcomes(function, tasks):
            yield None if outcome.error is None else type(outcome.error).__name__
        print(executor.report, flush=True)


def loop(function, tasks, _workers):
    for task in tasks:
        yield _try(function, task)


def process_pool(function, tasks, workers):
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as executor:
        yield from _await([executor.submit(function, task) for task in tasks])


def loky(function, tasks, workers):
    import loky as package

    with package.ProcessPoolExecutor(workers) as executor:
        yield from _await([executor.submit(function, task) for task in tasks])


def pebble(function, tasks, workers):
    from pebble import ProcessPool

    with ProcessPool(workers) as pool:
        yield from _await([pool.submit(function, None, task) for task in tasks])


def joblib(function, tasks, workers):
    from joblib import Parallel, delayed

    results = Parallel(workers, return_as="generator_unordered")(
        delayed(_try)(function, task) for task in tasks
    )
    yield from _iterate(results)


def mpire(function, tasks, workers):
    from mpire import WorkerPool

    with WorkerPool(workers) as pool:
        calls = [(function, task) for task in tasks]
        yield from _iterate(pool.imap_unordered(_try, calls, chunk_size=1))


def dask(function, tasks, workers):
    from distributed import Client, LocalCluster, as_completed

    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        for future in as_completed(client.map(function, tasks, pure=False)):
            error = future.exception()
            yield None if error is None else type(error).__name__


def _try(function, task):
    try:
        function(task)
    except Exception as error:  # noqa: BLE001  # whatever an executor raises is counted
        return type(error).__name__
    return None


def _await(futures):
    for future in futures:
        try:
            future.result(RESULT_SECONDS)
        except Exception as error:  # noqa: BLE001  # whatever an executor raises is counted
            yield type(error).__name__
        else:
            yield None


def _iterate(results):
    """Results whose first error ends them all."""
    try:
        yield from results
    except Exception as error:  # noqa: BLE001  # whatever an executor raises is counted
        yield type(error).__name__


RUNS = {
    "adaptive": adaptive,
    "loop": loop,
    "ProcessPoolExecutor": process_pool,
    "loky": loky,
    "joblib": joblib,
    "mpire": mpire,
    "pebble": pebble,
    "dask": dask,
}


if __name__ == "__main__":
    main()
