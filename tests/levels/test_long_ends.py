"""What was killed and takes long to be gone is waited for, and leaves nothing."""

import subprocess

import pytest

from tests.levels.ladder import executor_at
from tests.levels.leaks import eventually


@pytest.mark.parametrize("row", ["process", "snapshot"])
def test_a_killed_zygote_that_is_not_gone_in_time_is_waited_for_all_the_same(row, monkeypatch):
    def stand_still(seconds):
        raise subprocess.TimeoutExpired([], seconds)

    executor = executor_at(row, max_workers=1)
    assert executor.submit(abs, -1).result(60) == 1
    process = executor._driver.runner("process")._starter._process
    monkeypatch.setattr(process, "wait", stand_still)

    executor.kill_workers()

    assert eventually(lambda: process.returncode is not None)
