"""What a worker has used of the processor, with what its task started."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from adaptive_exec.levels.processor import read_used_seconds
from tests.levels.leaks import eventually

pytestmark = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="needs /proc with children"
)

SPIN = "while True: pass"


@pytest.fixture
def start():
    started = []

    def begin(code):
        started.append(subprocess.Popen([sys.executable, "-c", code], process_group=0))
        return started[-1].pid

    yield begin
    for child in started:
        os.killpg(child.pid, signal.SIGKILL)  # with what it has started itself
        child.wait()


def grows(pid, seconds=0.2):
    before = read_used_seconds(pid)
    return eventually(lambda: read_used_seconds(pid) >= before + seconds)


def test_one_that_computes_uses_it(start):
    assert grows(start(SPIN))


def test_one_that_sleeps_does_not(start, tmp_path):
    ready = tmp_path / "ready"
    pid = start(f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(600)")
    assert eventually(ready.exists)
    assert eventually(lambda: state_of(pid) == "S")
    before = read_used_seconds(pid)

    time.sleep(0.5)

    assert read_used_seconds(pid) - before < 0.05


def test_what_it_started_counts(start):
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN!r}])"

    assert grows(start(child))


def test_other_threads_count():
    is_over = threading.Event()

    def spin():
        while not is_over.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        assert grows(os.getpid())
    finally:
        is_over.set()
        thread.join()


def test_one_that_is_gone_has_none():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()

    assert read_used_seconds(child.pid) is None


def state_of(pid):
    with Path(f"/proc/{pid}/stat").open() as file:
        return file.read().rpartition(")")[2].split()[0]
