"""Print this process's memory while results of a long generator are taken: `... HOW TASKS`.

HOW is adaptive or standard. One number of bytes (resident size) at every tenth of the tasks.
"""

import os
import sys
from pathlib import Path

from tasks import identity


def resident_bytes():
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_map(how, tasks):
    if how == "adaptive":
        from adaptive_exec import adaptive_executor

        executor = adaptive_executor()
        return executor, executor.map(identity, lazily(tasks))
    from concurrent.futures import ProcessPoolExecutor

    executor = ProcessPoolExecutor()
    return executor, executor.map(identity, lazily(tasks), chunksize=5000)


def lazily(tasks):
    for index in range(tasks):  # noqa: UP028  # a generator of ours, of which nobody can read the length
        yield index


def main(how, tasks):
    executor, results = open_map(how, tasks)
    sizes = []
    with executor:
        for count, result in enumerate(results, 1):
            assert result == count - 1
            if count % (tasks // 10) == 0:
                sizes.append(resident_bytes())
    assert count == tasks
    print(*sizes)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
