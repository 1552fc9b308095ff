"""`functools.lru_cache` and a dictionary that is one."""

import functools

from ways import go

KNOWN = {}


@functools.lru_cache(maxsize=None)
def squared(number):
    return number * number


class Table:
    @functools.cached_property
    def rows(self):
        return [squared(number) for number in range(5)]


TABLE = Table()


def task(index):
    KNOWN.setdefault(index % 3, squared(index % 3))
    return squared(index), KNOWN[index % 3], TABLE.rows


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
