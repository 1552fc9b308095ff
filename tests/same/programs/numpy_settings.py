"""NumPy's errors and print options, and an array that tasks read."""

import numpy as np
from ways import go

np.set_printoptions(precision=2, suppress=True)
np.seterr(divide="raise")
READINGS = np.arange(300_000.0)


def task(index):
    try:
        given = str(np.float64(1) / np.zeros(1))
    except FloatingPointError as error:
        given = str(error)
    return given, str(READINGS[index : index + 3] / 7), READINGS.dtype


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
