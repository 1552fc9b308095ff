"""Signals, groups, and what the kernel says of a process."""

import os
import select
import shutil
import signal
import subprocess
import sys

import pytest

from adaptive_exec.system import processes
from tests.levels.leaks import eventually

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")  # noqa: PTH110


def is_stopped(pid):
    try:
        with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
            return processes.says_stopped(file.read())
    except FileNotFoundError:
        return processes.says_stopped(b"")


@pytest.fixture
def sleeper():
    code = "import time; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], process_group=0)
    yield child
    child.kill()
    child.wait()


def test_a_process_is_told_from_a_later_one_by_its_start(sleeper):
    started = processes.started_ticks(sleeper.pid)

    assert 0 < processes.started_ticks(os.getpid()) <= started

    sleeper.kill()
    sleeper.wait()
    assert processes.started_ticks(sleeper.pid) != started


def test_one_that_stands_still_is_told_from_one_that_sleeps(sleeper):
    assert not is_stopped(sleeper.pid)

    os.kill(sleeper.pid, signal.SIGSTOP)

    assert eventually(lambda: is_stopped(sleeper.pid), seconds=60)


def test_a_group_is_killed_and_its_end_is_seen(sleeper):
    end = processes.open_pidfd(sleeper.pid)

    processes.kill_group(sleeper.pid)

    assert sleeper.wait(60) == -signal.SIGKILL
    if end >= 0:
        assert select.select([end], [], [], 60)[0]
        os.close(end)
    processes.kill_group(sleeper.pid)  # gone is gone


def test_of_what_is_gone_nothing_is_said(sleeper):
    sleeper.kill()
    sleeper.wait()

    assert processes.read_stat(sleeper.pid) == []
    assert not is_stopped(sleeper.pid)


def test_a_name_with_spaces_and_parentheses_is_no_trouble(tmp_path):
    program = tmp_path / "a ) Z 1 (b"
    program.symlink_to(shutil.which("cat"))
    child = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(b"x")
    child.stdin.flush()
    child.stdout.read(1)
    state = processes.read_stat(child.pid)[processes.STATE]
    child.communicate(timeout=30)

    assert state in {b"R", b"S"}
