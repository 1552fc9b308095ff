"""Decorators with and without arguments, of classes too, and `singledispatch`."""

import functools

from ways import go

REGISTERED = {}


def registered(kind):
    REGISTERED[kind.__name__] = kind
    return kind


def times(count):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            return [function(*args) for _ in range(count)]

        return wrapper

    return decorate


@registered
class Thing:
    pass


@functools.singledispatch
def describe(value):
    return f"something {value}"


@describe.register
def _(value: int):
    return f"number {value}"


@times(2)
def task(index):
    """Say what a task gives."""
    return describe(index), describe("x"), REGISTERED["Thing"] is Thing


def main(each):
    return each(task), task.__doc__, task.__name__


if __name__ == "__main__":
    go(main)
