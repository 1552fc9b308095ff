"""A large array, a long text and a large dictionary which tasks read and do not change."""

import numpy as np
from ways import go

GRID = np.arange(2_000_000, dtype=np.float64).reshape(2000, 1000)
TEXT = "abc" * 1_000_000
TABLE = {number: str(number) for number in range(50_000)}


def task(index):
    return float(GRID[index].sum()), TEXT[index : index + 2], TABLE[index * 100], len(TEXT)


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
