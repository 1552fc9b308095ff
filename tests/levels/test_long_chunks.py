"""What stands behind a long task in a chunk goes to another worker, and nothing else is noticed."""

import os
import signal
import time

import pytest

from adaptive_exec.levels.base import LONG_CHUNK_SECONDS
from tests.levels import work
from tests.levels.ladder import ISOLATED, executor_at

WAIT_SECONDS = 60.0
TASKS = 3000
LONG = 2000
"""The task that runs until it is told to end; by then chunks have many tasks."""


def wait_at(item):
    """Wait at one task until a file is there; all others do next to nothing."""
    number, gate = item
    if number == LONG:
        work.wait_for(gate)
    return number


def die_at(item):
    """Let one task be killed while it runs for long, once."""
    number, gate = item
    if number == LONG and not gate.exists():
        gate.touch()
        time.sleep(3 * LONG_CHUNK_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def nap_and_tell(number):
    time.sleep(LONG_CHUNK_SECONDS / 4)
    return os.getpid(), number


def items_with(gate):
    return [(number, gate) for number in range(TASKS)]


@pytest.mark.parametrize("row", ISOLATED)
@pytest.mark.parametrize("settings", [{}, {"seed": 3}], ids=["plain", "seeded"])
def test_those_behind_a_long_task_end_before_it(row, settings, tmp_path):
    gate = tmp_path / "gate"
    behind = set(range(LONG + 1, TASKS))
    came = []
    with executor_at(row, **settings) as executor:
        results = executor.map_unordered(wait_at, items_with(gate), timeout=WAIT_SECONDS)
        while not behind <= set(came):  # those right before it may come along with it
            came.append(next(results))
        assert LONG not in came
        gate.touch()
        came += results
    assert sorted(came) == list(range(TASKS))


@pytest.mark.parametrize("row", ISOLATED)
def test_each_has_one_outcome_in_its_place_where_the_long_one_kills_its_worker(row, tmp_path):
    with executor_at(row, retries=2) as executor:
        found = list(executor.outcomes(die_at, items_with(tmp_path / "gate")))
    found.sort()
    assert [one.value for one in found] == list(range(TASKS))
    again = [one.index for one in found if one.attempts > 1]  # half a millisecond may be lost
    assert again[-1] == LONG


def test_a_chunk_of_the_callers_own_size_stays_together():
    with executor_at("process") as executor:
        found = list(executor.map(nap_and_tell, range(24), chunksize=12))
    assert [number for _, number in found] == list(range(24))
    assert len({pid for pid, _ in found[:12]}) == len({pid for pid, _ in found[12:]}) == 1
