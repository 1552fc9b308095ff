"""Snapshots taken inside real control groups of this host, where it lets us make them."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from adaptive_exec.config import MIB
from tests.cgroups import RealGroup, cpu_group, memory_group, pids_group

CHILD_SECONDS = 120
PROJECT = Path(__file__).parents[2]
LIMIT_BYTES = 512 * MIB
FILE_BYTES = 200 * MIB
SLACK_BYTES = 48 * MIB

PRELUDE = """
import json, sys, threading, time
from adaptive_exec.host.survey import HostProbe, take_snapshot

def show(snapshot):
    keys = ("limit_bytes", "limit_source", "available_bytes", "available_source", "usable_cores",
            "cores_source", "free_processes", "oom_kills")
    print(json.dumps({key: getattr(snapshot, key) for key in keys}), flush=True)
"""


def snapshots_inside(group: RealGroup, code: str, *arguments: str) -> list[dict]:
    """Run code in the group; it prints snapshots with `show`."""
    child = subprocess.run(
        [*group.python(PRELUDE + code), *arguments],
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
        cwd=PROJECT,
    )
    assert child.returncode == 0, child.stderr
    return [json.loads(line) for line in child.stdout.splitlines()]


def memory_source(group: RealGroup, first: str, second: str) -> str:
    return f"cgroup v{group.version} {first if group.version == 1 else second} at {group.name}"


def test_a_memory_group_is_the_limit_and_its_room_is_available():
    with memory_group(LIMIT_BYTES) as group:
        (snapshot,) = snapshots_inside(group, "show(take_snapshot())")

    assert snapshot["limit_bytes"] == LIMIT_BYTES
    assert snapshot["limit_source"] == memory_source(group, "memory.limit_in_bytes", "memory.max")
    assert LIMIT_BYTES - SLACK_BYTES < snapshot["available_bytes"] <= LIMIT_BYTES
    assert snapshot["available_source"] == memory_source(
        group, "memory.usage_in_bytes", "memory.current"
    )
    assert snapshot["oom_kills"] == 0


def test_memory_that_is_taken_is_no_longer_available():
    code = "show(take_snapshot()); kept = b'1' * (200 << 20); show(take_snapshot())"
    with memory_group(LIMIT_BYTES) as group:
        before, after = snapshots_inside(group, code)

    taken = before["available_bytes"] - after["available_bytes"]
    assert abs(taken - 200 * MIB) < SLACK_BYTES


@pytest.fixture
def cold_file(tmp_path):
    """A file of which no page is in memory, so that its reader's group is charged for them."""
    path = tmp_path / "cold"
    with path.open("wb") as file:
        for _ in range(FILE_BYTES // MIB):
            file.write(b"x" * MIB)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    yield path
    path.unlink()


def test_shared_memory_takes_nothing_from_the_file_cache(cold_file):
    code = """
import mmap
open(sys.argv[1], "rb").read()
show(take_snapshot())
shared = mmap.mmap(-1, 200 << 20)
for page in range(0, len(shared), mmap.PAGESIZE):
    shared[page] = 1
show(take_snapshot())
"""
    with memory_group(LIMIT_BYTES) as group:
        before, after = snapshots_inside(group, code, str(cold_file))

    taken = before["available_bytes"] - after["available_bytes"]
    assert abs(taken - 200 * MIB) < SLACK_BYTES


def test_a_file_that_is_mapped_is_in_use(cold_file):
    code = """
import mmap
show(take_snapshot())
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
for page in range(0, len(mapped), mmap.PAGESIZE):
    mapped[page]
show(take_snapshot())
"""
    with memory_group(LIMIT_BYTES) as group:
        before, after = snapshots_inside(group, code, str(cold_file))

    taken = before["available_bytes"] - after["available_bytes"]
    assert abs(taken - 200 * MIB) < SLACK_BYTES


def test_a_file_read_twice_stays_available(cold_file):
    code = """
def read():
    with open(sys.argv[1], "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass

show(take_snapshot())
read()
read()
show(take_snapshot())
"""
    with memory_group(LIMIT_BYTES) as group:
        before, after = snapshots_inside(group, code, str(cold_file))
        charged = int(
            group.read("memory.usage_in_bytes" if group.version == 1 else "memory.current")
        )

    if charged < FILE_BYTES // 2:
        pytest.skip(f"needs a folder on a disk, got {charged} bytes of file cache")
    assert before["available_bytes"] - after["available_bytes"] < SLACK_BYTES


def test_of_nested_groups_the_tighter_parent_decides():
    with (
        memory_group(LIMIT_BYTES // 2) as parent,
        memory_group(LIMIT_BYTES, inside=parent) as child,
    ):
        (snapshot,) = snapshots_inside(child, "show(take_snapshot())")

    assert snapshot["limit_bytes"] == LIMIT_BYTES // 2
    assert snapshot["limit_source"] == memory_source(parent, "memory.limit_in_bytes", "memory.max")


def test_a_process_that_moves_into_a_group_is_seen_by_the_same_probe():
    code = """
probe = HostProbe()
show(probe.take())
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
show(probe.take())
"""
    with memory_group(LIMIT_BYTES) as first, memory_group(LIMIT_BYTES // 2) as second:
        before, after = snapshots_inside(first, code, str(second.folder))

    assert before["limit_bytes"] == LIMIT_BYTES
    assert after["limit_bytes"] == LIMIT_BYTES // 2


@pytest.mark.faults
def test_a_kill_for_memory_is_counted_in_the_victims_group():
    with memory_group(64 * MIB) as group:
        victim = subprocess.run(
            group.python("kept = b'1' * (256 << 20)"), timeout=CHILD_SECONDS, check=False
        )
        (snapshot,) = snapshots_inside(group, "show(take_snapshot())")

    assert victim.returncode == -9
    assert snapshot["oom_kills"] == 1


def test_a_pids_group_leaves_room_for_so_many_threads_and_no_more():
    code = """
show(take_snapshot())
hold = threading.Event()
for _ in range(3):
    threading.Thread(target=hold.wait, args=(30,), daemon=True).start()
show(take_snapshot())
try:
    for more in range(100):
        threading.Thread(target=hold.wait, args=(30,), daemon=True).start()
except RuntimeError:
    print(json.dumps({"more": more}))
hold.set()
"""
    with pids_group(20) as group:
        before, after, refused = snapshots_inside(group, code)

    assert before["free_processes"] == 20 - 1
    assert after["free_processes"] == 20 - 4
    assert refused["more"] == after["free_processes"]


def test_half_a_core_of_quota_is_one_usable_core():
    with cpu_group(50_000) as group:
        (snapshot,) = snapshots_inside(group, "show(take_snapshot())")

    file_name = "cpu.cfs_quota_us" if group.version == 1 else "cpu.max"
    assert snapshot["usable_cores"] == 1
    assert snapshot["cores_source"] == f"cgroup v{group.version} {file_name} at {group.name}"


def test_a_group_is_emptied_and_removed_when_its_context_ends():
    with memory_group(LIMIT_BYTES) as group:
        member = subprocess.Popen(
            group.python("import time; print('here', flush=True); time.sleep(60)"),
            stdout=subprocess.PIPE,
        )
        assert member.stdout.readline() == b"here\n"
        assert group.members() == [member.pid]

    member.communicate(timeout=CHILD_SECONDS)
    assert member.returncode == -9
    assert not group.folder.exists()
