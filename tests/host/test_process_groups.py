"""The memory of process groups: leader, members, and what has left the group."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adaptive_exec.config import MIB
from adaptive_exec.host import process_groups
from adaptive_exec.host.process_groups import read_groups

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs process groups")

PARENT = """
import os, sys, time
held = bytearray(b"1") * (int(sys.argv[1]) << 20)
for where in sys.argv[2:]:
    if os.fork() == 0:
        if where == "apart":
            os.setsid()
        if where != "shared":
            held = bytearray(b"1") * (20 << 20)
        break
else:
    time.sleep(0.2)
os.write(1, b"ready\\n")
time.sleep(60)
"""


@contextlib.contextmanager
def running(megabytes, *children):
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(megabytes), *children],
        stdout=subprocess.PIPE,
        process_group=0,
        text=True,
    )
    try:
        for _ in range(1 + len(children)):
            assert process.stdout.readline() == "ready\n"
        yield process.pid
    finally:
        for pid in process_groups._members():
            if process_groups._leader_of(pid, process_groups._members(), [process.pid]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait(60)
        process.stdout.close()


def megabytes_of(leader):
    return read_groups([leader])[leader] / MIB


def test_a_process_alone_counts_what_it_holds():
    with running(40) as leader:
        assert 40 <= megabytes_of(leader) < 70


@pytest.mark.parametrize("where", ["inside", "apart"])
def test_children_count_also_when_they_have_left_the_group(where):
    with running(40, where) as leader:
        assert 60 <= megabytes_of(leader) < 100


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux 4.14")
def test_what_children_share_with_their_parent_counts_once():
    with running(80, "shared", "shared", "shared") as leader:
        assert 80 <= megabytes_of(leader) < 130


def test_several_groups_are_told_apart_in_one_pass():
    with running(40) as large, running(5) as small:
        found = read_groups([large, small])

    assert found[large] > found[small] + 30 * MIB


def test_a_group_that_is_gone_is_unknown():
    process = subprocess.Popen([sys.executable, "-c", "pass"], process_group=0)
    process.wait(30)

    assert read_groups([process.pid]) == {process.pid: None}


def test_where_no_proc_is_psutil_tells(monkeypatch):
    pytest.importorskip("psutil")
    monkeypatch.setattr(process_groups.os.path, "isdir", lambda _path: False)

    with running(40, "inside") as leader:
        assert 60 <= megabytes_of(leader) < 110
