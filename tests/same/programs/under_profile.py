"""A program that is run under cProfile."""

from ways import go


def task(index):
    return sum(number for number in range(index))


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
