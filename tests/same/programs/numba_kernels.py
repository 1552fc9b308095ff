"""Functions compiled by numba, which tasks call and which are made in the program."""

import numba
import numpy as np
from ways import go


@numba.njit
def total(numbers):
    held = 0.0
    for number in numbers:
        held += number * number
    return held


@numba.vectorize(["float64(float64)"])
def halved(number):
    return number / 2


def task(index):
    return total(np.arange(index, dtype=np.float64)), halved(float(index))


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
