"""An executor that rests leaves its cores to the others of this host."""

import os
import time

import pytest

from adaptive_exec.host.survey import take_snapshot
from tests.levels.ladder import LEVELS, executor_at
from tests.levels.leaks import eventually

SHARED_SECONDS = 1.5
"""Seconds after which all have traded with the ledger, twice a second each."""


def nap(_item):
    time.sleep(0.02)
    return os.getpid()


@pytest.mark.parametrize("level", LEVELS)
def test_an_executor_that_rests_leaves_its_cores_to_others(level):
    if take_snapshot().usable_cores != 2:
        pytest.skip("needs a host with two usable cores, so that each would have one")
    with executor_at(level) as resting, executor_at("process") as other:
        resting.submit(nap, 0).result(60)
        list(resting.map(nap, range(40), chunksize=1))
        end = time.monotonic() + SHARED_SECONDS
        while time.monotonic() < end:
            list(other.map(nap, range(4), chunksize=1))

        assert eventually(
            lambda: len(set(other.map(nap, range(4), chunksize=1))) == 2, seconds=60
        ), other.report
