"""What was killed and takes long to be gone is waited for, and leaves nothing."""

import os
import subprocess

import pytest

from adaptive_exec.levels import loky
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


@pytest.mark.slow
def test_a_killed_worker_of_lokys_that_is_not_gone_in_time_is_waited_for_all_the_same(monkeypatch):
    looks = []

    def stand_still(pid, options):
        looks.append(pid)
        return 0, 0, None

    executor = executor_at("loky", max_workers=1)
    pid = executor.submit(os.getpid).result(60)
    started = next(iter(executor._driver.runner("process")._starter._processes.values()))
    monkeypatch.setattr(loky, "CLOSE_SECONDS", 0.0)
    monkeypatch.setattr(loky.os, "wait4", stand_still)
    monkeypatch.setattr(started.process._popen, "poll", lambda flag=0: None)

    executor.kill_workers()
    assert eventually(lambda: looks == [pid])
    monkeypatch.undo()

    assert eventually(lambda: started.process._popen.returncode is not None)
