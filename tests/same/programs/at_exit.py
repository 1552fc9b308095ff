"""What is registered for the exit of the program happens once, there."""

import atexit
import weakref

from ways import go


class Thing:
    pass


THING = Thing()
weakref.finalize(THING, print, "the thing goes")
atexit.register(print, "bye")


def task(index):
    return index


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
