"""A pool of `multiprocessing` in a task."""

import multiprocessing

from ways import go


def doubled(number):
    return number * 2


def task(index):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(doubled, range(index, index + 3))


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main, many=6)
