"""The memory of one process: present, peak, private, and who it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adaptive_exec.config import MIB
from adaptive_exec.host import process_memory
from adaptive_exec.host.process_memory import own_memory, read_process, reset_peak

CHILD_SECONDS = 30
PROJECT = Path(__file__).parents[2]
SLACK_BYTES = 8 * MIB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def run_child(code: str) -> list[int]:
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            "from adaptive_exec.host.process_memory import *\nimport os\n" + code,
        ],
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
        cwd=PROJECT,
    )
    assert child.returncode == 0, child.stderr
    return [int(word) for word in child.stdout.split()]


def test_the_own_process_is_running_and_has_memory():
    process = read_process(os.getpid())

    assert process.state == "R"
    assert MIB < process.resident_bytes <= process.peak_bytes


def test_the_peak_falls_to_the_present_after_a_reset_and_rises_again():
    code = """
import mmap
def peak_after(size):
    block = mmap.mmap(-1, size)
    block.write(b"1" * size)
    block.close()
    return read_process(os.getpid()).peak_bytes
first = peak_after(64 << 20)
done = reset_peak()
reset = read_process(os.getpid()).peak_bytes
print(first, int(done), reset, peak_after(16 << 20))
"""
    first, done, reset, second = run_child(code)

    assert done
    assert first - reset > 64 * MIB - SLACK_BYTES
    assert second - reset > 16 * MIB - SLACK_BYTES


def test_a_refused_reset_is_false(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(process_memory.os, "open", refuse)

    assert reset_peak() is False


def test_own_memory_counts_private_pages_only():
    code = """
import mmap
before = own_memory()
shared = mmap.mmap(-1, 64 << 20)
shared.write(b"1" * (64 << 20))
child = os.fork()
if child == 0:
    os.write(1, f"{before} {own_memory()} ".encode())
    os._exit(0)
os.waitpid(child, 0)
"""
    before, in_child = run_child(code)

    assert before > MIB
    assert in_child < before + SLACK_BYTES


def test_a_process_that_ended_is_a_zombie_without_memory_until_it_is_reaped():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = read_process(child.pid)
    child.wait(CHILD_SECONDS)

    assert (zombie.state, zombie.resident_bytes, zombie.peak_bytes) == ("Z", None, None)
    assert read_process(child.pid) is None


def test_a_name_with_spaces_and_parentheses_is_no_trouble(tmp_path):
    program = tmp_path / "a ) R 1 (b"
    program.symlink_to("/bin/cat")
    child = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(b"x")
    child.stdin.flush()
    child.stdout.read(1)
    process = read_process(child.pid)
    child.communicate(timeout=CHILD_SECONDS)

    assert process.state in {"R", "S"}


def test_without_proc_nothing_is_readable(monkeypatch):
    monkeypatch.setattr(process_memory, "read_file", lambda path: None)

    assert read_process(os.getpid()) is None
    assert own_memory() is None
