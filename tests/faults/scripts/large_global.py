"""Map a function that reads a large global of this script, again and again; print what was left.

Arguments: what the global is (array, bytes, list), maps, ways to call.
"""

import sys
from pathlib import Path

from adaptive_exec import adaptive_executor

KIND, MAPS, WAY = sys.argv[1], int(sys.argv[2]), sys.argv[3]
MEGABYTES = 100
if KIND == "array":
    import numpy as np

    DATA = np.ones(MEGABYTES * 125_000)
elif KIND == "bytes":
    DATA = b"x" * (MEGABYTES * 1_000_000)
else:
    DATA = list(range(MEGABYTES * 27_000))


def read(number):
    return len(DATA) + number


def own_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(
        int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssShmem"))
    )


def run(executor):
    if WAY == "map":
        return list(executor.map(read, range(40)))
    futures = [executor.submit(read, number) for number in range(40)]
    return [future.result() for future in futures]


with adaptive_executor(max_workers=2, levels=("process",)) as executor:
    before = own_bytes()
    for _ in range(MAPS):
        assert run(executor) == [len(DATA) + number for number in range(40)]
    print(own_bytes() - before)
