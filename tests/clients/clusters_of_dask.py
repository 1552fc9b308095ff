"""What a program does with a client of Dask's; run by `test_dask`. Prints a line for each."""

import itertools
import logging
import os
import sys
import time

import numpy as np
from dask.distributed import Client, LocalCluster

from adaptive_exec import adaptive_executor

SETTINGS = {"share_host": False, "max_workers": 1}
JOURNAL = sys.argv[1]


def run(executor, function, tasks=100):
    """Map until tasks have run on the cluster, at least so many; return what came."""

    def numbers():
        end = time.monotonic() + 60
        for number in itertools.count():
            if number >= tasks and ("cluster" in executor.report.levels or is_off[0]):
                return
            assert time.monotonic() < end, executor.report
            yield number

    return list(executor.map(function, numbers()))


is_off = [False]


class Pair:
    """A class of `__main__`."""

    def __init__(self, number):
        self.number = number


def pair(number):
    time.sleep(0.002)
    return Pair(number), os.getpid()


def main():
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        with adaptive_executor(cluster=client, **SETTINGS) as executor:
            found = run(executor, pair)
        assert all(type(one) is Pair and one.number == at for at, (one, _) in enumerate(found))
        print("client", executor.report.levels[-1] in ("cluster", "process"), client.status)

        with adaptive_executor(cluster=client.get_executor(), **SETTINGS) as executor:
            assert [one.number for one, _ in run(executor, pair)]
        print("executor", "cluster" in executor.report.levels, client.submit(abs, -1).result())

        table = np.arange(3_000_000)

        def use_table(number):
            time.sleep(0.01)
            return np.full(300_000, table[number])

        with adaptive_executor(cluster=client, **SETTINGS) as executor:
            rows = run(executor, use_table, 40)
        assert all((row == at).all() and len(row) == 300_000 for at, row in enumerate(rows))
        print("large", "cluster" in executor.report.levels)

        for is_second in (False, True):
            is_off[0] = is_second
            with adaptive_executor(cluster=client, journal=JOURNAL, **SETTINGS) as executor:
                run(executor, slow_square, 300)
        print("journal", executor.report.recalled_tasks, executor.report.tasks)

    is_off[0] = True
    with adaptive_executor(cluster=client, **SETTINGS) as executor:
        assert len(run(executor, pair)) == 100
        while not executor.report.degrades:
            list(executor.map(pair, range(8)))
    [lost] = [one for one in executor.report.decisions if one.event == "degraded"]
    print("closed", lost.reason.fact("error"))


def slow_square(number):
    time.sleep(0.01)
    return number * number


if __name__ == "__main__":
    main()
