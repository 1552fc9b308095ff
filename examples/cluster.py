"""Two workers of a Dask cluster help those here with one batch; then the cluster is lost.

Needs Dask: pip install adaptive-exec[cluster]. The cluster is this program's own, on this host.
"""

import time

from dask.distributed import LocalCluster

from adaptive_exec import adaptive_executor


def simulate(number: int) -> int:
    time.sleep(0.02)
    return number * number


def main() -> None:
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    levels: dict[str, int] = {}
    with adaptive_executor(tasks=1000, cluster=cluster.scheduler_address, max_workers=2) as ex:
        for done, outcome in enumerate(ex.outcomes(simulate, range(1000))):
            levels[outcome.level] = levels.get(outcome.level, 0) + 1
            if done == 600:
                cluster.close()
    print(f"both: {'cluster' in levels and 'process' in levels}, in all {sum(levels.values())}")
    print("lost:", *(str(one.reason.code) for one in ex.report.decisions if one.old == "cluster"))


if __name__ == "__main__":
    main()
