"""Random draws with `seed=`, of `random`, NumPy's global generator and a stream of the task's."""

import random

import numpy as np
from ways import go


def task(index):
    from adaptive_exec import current_task

    return random.random(), np.random.rand(), current_task().rng().integers(1000), index


def main(each):
    return each(task), each(task)


if __name__ == "__main__":
    go(main, seed=7)
