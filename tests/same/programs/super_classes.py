"""Inheritance: `super()`, mixins, abstract methods, metaclasses, `__init_subclass__`, `__slots__`."""

from abc import ABC, abstractmethod

from ways import go

KINDS = {}


class Named(type):
    def __new__(cls, name, bases, space):
        return super().__new__(cls, name, bases, {**space, "label": name.lower()})


class Base(ABC):
    def __init_subclass__(cls, **more):
        super().__init_subclass__(**more)
        KINDS[cls.__name__] = cls

    @abstractmethod
    def area(self): ...


class Loud:
    def area(self):
        return f"{super().area()}!"


class Square(Base):
    __slots__ = ("side",)

    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2

    def __eq__(self, other):
        return isinstance(other, Square) and self.side == other.side

    __hash__ = None


class LoudSquare(Loud, Square):
    def __init__(self, side):
        super().__init__(side + 1)


class Tagged(metaclass=Named):
    pass


def task(index):
    return Square(index), LoudSquare(index).area(), sorted(KINDS), Tagged.label


def main(each):
    given = each(task)
    return [(one.area(), one == Square(index), *more) for index, (one, *more) in enumerate(given)]


if __name__ == "__main__":
    go(main)
