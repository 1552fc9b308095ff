"""What is shared travels once, and what many workers need lies in memory once."""

import gc
import logging
import pickle
import time
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.errors import UnsendableError
from adaptive_exec.levels import functions
from tests.levels import work
from tests.levels.ladder import LEVELS, executor_at
from tests.levels.leaks import eventually, workers
from tests.levels.test_what_leaves import LARGE, shared_files

NOISE = 30 << 20
"""By how much a worker may grow with NumPy, which its first task imports: less than an array."""


def own_bytes(process):
    """Return what a process has written itself, not what it has mapped."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def load_all(executor):
    """Have workers load what this module imports; return those that have it."""
    return {pid for pid, _ in executor.map(pid_and_total, [np.ones(2)] * 12, chunksize=1)}


def pid_and_total(item):
    time.sleep(0.01)
    return work.pid_of(item), total(item)


def total(item, number=0):
    if isinstance(item, dict):
        return sum(total(one, number) for one in item.values())
    if isinstance(item, list):
        return sum(total(one, number) for one in item)
    return int(item.sum().sum()) + number


@pytest.mark.parametrize("make", [np.ones, lambda size: pd.DataFrame({"a": np.ones(size)})])
@pytest.mark.parametrize("level", LEVELS)
def test_a_shared_object_arrives_wherever_its_handle_is(level, make):
    size = LARGE // 40
    with executor_at(level) as executor:
        ref = executor.share(make(size))
        assert list(executor.map(total, [ref] * 5)) == [size] * 5
        assert list(executor.map(total, [[ref, {"x": ref}]] * 5, range(5))) == [
            2 * (size + number) for number in range(5)
        ]
        assert executor.submit(total, ref, number=2).result(60) == size + 2
        assert executor.submit(total, {"x": [ref]}).result(60) == size
        small = executor.share(np.ones(3))
        assert list(executor.map(total, [small] * 4)) == [3] * 4


def test_a_shared_object_is_there_once_and_leaves_with_its_handle():
    with executor_at("process", max_workers=3) as executor:
        assert eventually(lambda: len(load_all(executor)) == 3)
        before = {process.pid: own_bytes(process) for process in workers()}
        array = np.ones(LARGE // 8)
        ref = executor.share(array)
        seen = weakref.ref(array)
        del array
        for _ in range(3):
            assert set(executor.map(total, [ref] * 50)) == {LARGE // 8}
        assert {executor.submit(total, ref).result(60) for _ in range(5)} == {LARGE // 8}
        assert shared_files() == 1
        for process in workers():
            assert own_bytes(process) < before[process.pid] + NOISE

        del ref
        gc.collect()
        assert eventually(lambda: shared_files() == 0 and seen() is None)


def test_a_handle_ends_with_its_executor_and_travels_to_its_workers_only():
    with executor_at("process") as executor:
        ref = executor.share(np.ones(LARGE // 8))
        with pytest.raises(TypeError, match="shared handle"):
            pickle.dumps(ref)
        with pytest.raises(UnsendableError):
            executor.share(one for one in [1])
    assert shared_files() == 0
    with (
        executor_at("process") as other,
        pytest.raises(UnsendableError, match="executor has ended"),
    ):
        other.submit(total, ref).result(60)


def test_many_workers_and_maps_take_a_large_global_once():
    array = np.ones(LARGE // 8)
    with executor_at("process", max_workers=3) as executor:
        assert eventually(lambda: len(load_all(executor)) == 3)
        before = {process.pid: own_bytes(process) for process in workers()}
        maps = [executor.map(lambda n: int(array[n]), range(20)) for _ in range(5)]
        calls = [executor.submit(lambda n: int(array[n]), n) for n in range(20)]
        assert [list(one) for one in maps] == [[1] * 20] * 5
        assert [one.result(60) for one in calls] == [1] * 20
        for process in workers():
            assert own_bytes(process) < before[process.pid] + NOISE


def test_a_function_that_carries_much_is_named_once(caplog, monkeypatch):
    monkeypatch.setattr(functions, "_named", set())
    data = np.ones(LARGE // 8)

    def heavy(number):
        return int(data[number])

    with (
        caplog.at_level(logging.INFO, "adaptive_exec"),
        adaptive_executor(max_workers=2) as executor,
    ):
        for _ in range(2):
            assert list(executor.map(heavy, range(8))) == [1] * 8
            assert executor.submit(heavy, 1).result(60) == 1
    lines = [one.getMessage() for one in caplog.records if "carries" in one.getMessage()]
    assert len(lines) == 1
    assert "heavy carries bytes=41MB itself=4" in lines[0]
