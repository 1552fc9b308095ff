"""The functions that benchmarks run, importable from any process. They decide nothing."""

import os
import time


def identity(value):
    return value


def count_primes(limit):
    """Compute in pure Python, holding the GIL: 7,000 takes about 10 ms."""
    return sum(
        all(number % divisor for divisor in range(2, int(number**0.5) + 1))
        for number in range(2, limit)
    )


def nap(seconds):
    time.sleep(seconds)
    return seconds


def total_of(array):
    """Reduce an array to one number, so that the argument is all that travels."""
    return float(array.sum())


def meet(place):
    """Wait, 30 s at most, until so many processes have come; return our id and when we came.

    Args:
        place: The path of the folder where they meet, and how many are awaited.
    """
    folder, awaited = place
    came = time.monotonic()
    os.mkdir(f"{folder}/{os.getpid()}")  # noqa: PTH102  # importing pathlib would count as the worker's cost
    while len(os.listdir(folder)) < awaited and time.monotonic() < came + 30:  # noqa: PTH208  # as above
        time.sleep(0.001)
    return os.getpid(), came


def length(item):
    return len(item)


_arrays = {}


def array_of(size):
    if size not in _arrays:
        import numpy as np

        _arrays[size] = np.ones(size, np.uint8)
    return _arrays[size]
