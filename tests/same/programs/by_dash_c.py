"""`python -c`, with a class, a global and a function."""

from ways import go

RATE = 3


class Shop:
    def __init__(self, index):
        self.index = index


def task(index):
    return Shop(index).index * RATE, __name__


go(lambda each: each(task))
