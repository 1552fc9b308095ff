"""Tasks that differ in size under a real limit: let out by bytes, in whatever order they come."""

import random
import time
from typing import Final

import pytest

from tests.cgroups import memory_group
from tests.faults.memory_batches import BOUND_SECONDS, MIB, run_batch

SMALL, LARGE = [(5, 0.1)] * 40, [(100, 0.1)] * 12


def shuffled(tasks):
    return random.Random(1).sample(tasks, len(tasks))


@pytest.mark.slow
@pytest.mark.parametrize(
    "tasks",
    [
        pytest.param(SMALL + LARGE, id="rising"),
        pytest.param(LARGE + SMALL, id="falling"),
        pytest.param(shuffled(SMALL + LARGE), id="shuffled"),
    ],
)
def test_small_and_large_tasks_are_let_out_by_their_sizes(tasks):
    said, kills, _ = run_batch("hold", tasks)

    assert said["right"] == len(tasks)
    assert kills == 0
    assert "size_tells" in said["codes"]
    assert said["window"] >= 5


GLOBAL: Final = """
from adaptive_exec import adaptive_executor

table = bytearray(b"x") * 100_000_000

def look(number):
    return table[number], len(table)

with adaptive_executor(range(40)) as executor:
    for _ in range(5):
        assert list(executor.map(look, range(40))) == [(120, 100_000_000)] * 40
print("done")
"""


@pytest.mark.slow
def test_five_maps_over_a_large_global_fit_where_it_fits_twice():
    with memory_group(512 * MIB) as group:
        began = time.monotonic()
        ran = group.run_python(GLOBAL)
        kills = group.kernel_kills()

    assert (ran.stdout.strip(), kills) == ("done", 0), ran.stderr
    assert time.monotonic() - began < BOUND_SECONDS
