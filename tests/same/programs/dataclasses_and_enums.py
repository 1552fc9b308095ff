"""Dataclasses, enums, flags and named tuples, in and out."""

import enum
from collections import namedtuple
from dataclasses import dataclass, field, replace

from ways import go


class Colour(enum.Enum):
    RED = 1
    BLUE = enum.auto()

    @property
    def other(self):
        return Colour.BLUE if self is Colour.RED else Colour.RED


class Right(enum.Flag):
    READ = 1
    WRITE = 2


Point = namedtuple("Point", "x y")


@dataclass(frozen=True, slots=True, order=True)
class Car:
    number: int
    colour: Colour = field(compare=False, default=Colour.RED)
    rights: Right = field(compare=False, default=Right.READ | Right.WRITE)


def task(index):
    car = replace(Car(index), colour=Colour(index % 2 + 1))
    return car, car.colour.other, car.colour is Colour.RED, Point(index, car)


def main(each):
    given = each(task)
    same = [(car.colour in Colour, car == Car(index)) for index, (car, *_) in enumerate(given)]
    return given, same, max(given)[0], all(type(one[3]) is Point for one in given)


if __name__ == "__main__":
    go(main)
