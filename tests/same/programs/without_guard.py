"""A script without `if __name__ == "__main__"`."""

from ways import go


def task(index):
    print("in", index)
    return index, __name__


go(lambda each: each(task))
