"""Generators, `yield from`, context managers and iterators inside tasks."""

import contextlib
import itertools

from ways import go


def count(stop):
    yield from range(stop)
    return stop


@contextlib.contextmanager
def noted(seen):
    seen.append("in")
    try:
        yield
    finally:
        seen.append("out")


def task(index):
    seen = []
    with noted(seen):
        seen.extend(itertools.islice(count(index), 3))
    pairs = itertools.pairwise(count(index % 5))
    return seen, list(pairs), sum(number for number in count(index))


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
