"""A sibling that tasks import."""

from ways import go

__all__ = ["RATE", "go", "price"]
RATE = 2


def price(index):
    return index * RATE
