"""One instance of a job, as somebody would write it with each of the tools.

Called with VARIANT TASKS MB SECONDS. Prints how many of its tasks came back. A variant knows
nothing of the others that run beside it.
`spin` instead of a number of MB computes for so many seconds of processor time.
"""

import os
import sys
import time


def hold(task):
    """Touch so much memory, keep it for a while, give it back."""
    index, size, seconds = task
    block = b"x" * size
    time.sleep(seconds)
    note_run()
    return index if len(block) == size else None


def spin(task):
    """Compute for so long."""
    index, _, seconds = task
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    note_run()
    return index


def note_run():
    """Add a line with the time, where somebody wants to know."""
    note = os.environ.get("INSTANCE_JOB_NOTES")
    if note:
        with open(note, "a", encoding="ascii") as file:  # noqa: PTH123  # cheap
            file.write(f"{time.monotonic()}\n")


def loop(work, tasks):
    return [work(task) for task in tasks]


def adaptive(work, tasks):
    from adaptive_exec import adaptive_executor

    with adaptive_executor(tasks, journal=os.environ.get("INSTANCE_JOB_JOURNAL")) as ex:
        return list(ex.map(work, tasks))


def alone(work, tasks):
    from adaptive_exec import adaptive_executor

    with adaptive_executor(tasks, share_host=False) as ex:
        return list(ex.map(work, tasks))


def processes(work, tasks):
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor() as ex:
        return list(ex.map(work, tasks))


def threads(work, tasks):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as ex:
        return list(ex.map(work, tasks))


def pool(work, tasks):
    from multiprocessing import Pool

    with Pool() as ex:
        return list(ex.imap(work, tasks))


def loky(work, tasks):
    from loky import get_reusable_executor

    return list(get_reusable_executor().map(work, tasks))


def joblib(work, tasks):
    from joblib import Parallel, delayed

    return Parallel(n_jobs=-1)(delayed(work)(task) for task in tasks)


def pebble(work, tasks):
    from pebble import ProcessPool

    with ProcessPool() as ex:
        return list(ex.map(work, tasks).result())


def dask(work, tasks):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        return client.gather(client.map(work, tasks))


def naive(work, tasks):
    """The hand-made cure of the score system, as it is: a net around the whole batch."""
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

    try:
        with ProcessPoolExecutor(min(len(tasks), 3)) as ex:
            return list(ex.map(work, tasks))
    except (OSError, MemoryError, RuntimeError):
        with ThreadPoolExecutor(2) as ex:
            return list(ex.map(work, tasks))


VARIANTS = {
    one.__name__: one
    for one in (
        *(loop, adaptive, alone, processes, threads, pool, loky, joblib, pebble, dask, naive),
    )
}

if __name__ == "__main__":
    name, count, size, seconds = sys.argv[1:5]
    work = spin if size == "spin" else hold
    amount = 0 if size == "spin" else int(float(size) * 1_000_000)
    jobs = [(index, amount, float(seconds)) for index in range(int(count))]
    found = VARIANTS[name](work, jobs)
    print(sum(one is not None for one in found), flush=True)
