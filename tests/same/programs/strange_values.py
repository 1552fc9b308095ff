"""Values of many kinds come back as they are: dates, zones, patterns, numbers, views, ranges."""

import array
import collections
import datetime
import fractions
import pathlib
import re
import types
import uuid
import zoneinfo

from ways import go


def task(index):
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    return (
        datetime.datetime(2024, 3, 31, index % 24, tzinfo=zone).utcoffset(),
        fractions.Fraction(index, 7), complex(index, 1), float("inf"), 10**50 + index,
        re.compile(r"a+").sub("b", "caab"), pathlib.PurePosixPath("a") / str(index),
        uuid.UUID(int=index), array.array("i", [index]), range(index), slice(1, index),
        collections.Counter("aab"), collections.OrderedDict(a=index), frozenset({index}),
        types.SimpleNamespace(a=index), collections.deque([index], maxlen=2), Ellipsis,
        bytearray(b"x"), NotImplemented, collections.defaultdict(list, a=[index]),
    )  # fmt: skip


def main(each):
    return each(task)


if __name__ == "__main__":
    go(main)
