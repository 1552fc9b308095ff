"""A recursion limit that was raised."""

import sys

from ways import go

sys.setrecursionlimit(5000)


def depth(number):
    return 0 if number == 0 else 1 + depth(number - 1)


def task(index):
    return depth(3000) + index, sys.getrecursionlimit()


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
