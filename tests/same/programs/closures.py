"""Closures over closures, lambdas, defaults, and a cell that is shared by two of them."""

from ways import go


def make(factor):
    table = {"base": factor}

    def inner(number, *, step=lambda value: value + 1):
        return step(number) * table["base"]

    def outer(index):
        add = lambda number: inner(number) + index
        return [add(number) for number in range(3)]

    return outer


def counted():
    total = 0

    def one(index):
        nonlocal total
        total = index
        return total + read()

    def read():
        return total

    return one


def main(each):
    return each(make(3)), each(counted()), each(lambda index: index**2)


if __name__ == "__main__":
    go(main)
