"""`functools.partial`, also of partials and methods, and `operator`'s callables."""

import functools
import operator

from ways import go


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, index):
        return index * self.factor

    def added(self, more, index):
        return index * self.factor + more


def joined(first, second, *, between):
    return f"{first}{between}{second}"


def main(each):
    task = functools.partial(functools.partial(joined, "a"), between="-")
    return (
        each(task),
        each(functools.partial(Scale(3).added, 5)),
        each(operator.neg),
        each(Scale(2)),
    )


if __name__ == "__main__":
    go(main)
