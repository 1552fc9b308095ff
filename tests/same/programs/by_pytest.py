"""A test of pytest with a fixture, a parameter, `monkeypatch`, and a function of its own."""

import os

import pytest
from ways import go

RATE = 3


@pytest.fixture
def base(monkeypatch):
    monkeypatch.setenv("MINE", "set")
    monkeypatch.setitem(globals(), "RATE", 4)
    return 10


@pytest.mark.parametrize("more", [1])
def test_prices(base, more):
    def task(index):
        print("task", index)
        return base + more + index * RATE, os.environ["MINE"], Shop(index).index

    go(lambda each: each(task))


class Shop:
    def __init__(self, index):
        self.index = index
