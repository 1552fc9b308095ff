"""A module of the programs' own, with settings that they change."""

RATE = 1
FLAGS = {"fast": False}
NAMES = ()


def price(index):
    return index * RATE


def total(numbers):
    return sum(price(number) for number in numbers)
