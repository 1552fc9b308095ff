"""Globals that the program changes between two batches: numbers, lists, functions and classes."""

from ways import go

RATE = 1
NAMES = ["a"]


def price(index):
    return index * RATE


class Shop:
    name = "old"


def task(index):
    return price(index), tuple(NAMES), Shop.name


def main(each):
    global RATE, price
    first = each(task)
    RATE = 2
    NAMES.append("b")
    Shop.name = "new"
    second = each(task)
    price = lambda index: -index
    return first, second, each(task)


if __name__ == "__main__":
    go(main)
