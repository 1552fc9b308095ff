"""Print what four more workers cost once one is there, with pandas loaded: `warm_workers.py HOW`.

HOW is adaptive, spawn, fork, forkserver or loky. Milliseconds until the last of the four began its
first task, then own memory (USS) of each of the five workers in MB.
"""

import sys
import tempfile
import time

import psutil
from first_result import open_executor

WORKERS = 5


def main(how):
    from table_tasks import meet_with_pandas

    with (
        tempfile.TemporaryDirectory() as first,
        tempfile.TemporaryDirectory() as second,
        open_executor(how, WORKERS) as executor,
    ):
        list(executor.map(meet_with_pandas, [(first, 1)]))
        before = time.monotonic()
        came = dict(executor.map(meet_with_pandas, [(second, WORKERS)] * WORKERS, chunksize=1))
        assert len(came) == WORKERS, f"{len(came)} workers came, of {WORKERS}"
        sizes = [psutil.Process(pid).memory_full_info().uss / 1e6 for pid in came]
        print(1e3 * (max(came.values()) - before), *sizes)


if __name__ == "__main__":
    main(sys.argv[1])
