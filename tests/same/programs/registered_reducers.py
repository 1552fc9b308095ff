"""`copyreg` reducers of the program's for a class that cannot be pickled by itself."""

import copyreg

from ways import go


class Handle:
    def __init__(self, number):
        self.number = number
        self.work = lambda: number


def rebuild(number):
    return Handle(number)


copyreg.pickle(Handle, lambda handle: (rebuild, (handle.number,)))


def task(index):
    handle = Handle(index)
    return handle


def main(each):
    return [(handle.number, handle.work(), type(handle) is Handle) for handle in each(task)]


if __name__ == "__main__":
    go(main)
