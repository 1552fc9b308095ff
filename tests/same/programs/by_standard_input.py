"""A program that comes by standard input."""

from ways import go

RATE = 4


def task(index):
    print("task", index)
    return index * RATE, __name__


go(lambda each: each(task))
