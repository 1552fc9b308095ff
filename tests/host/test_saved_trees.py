"""Snapshots of saved trees: what the files of known hosts look like, and what they say."""

from pathlib import Path
from typing import NamedTuple

import pytest

from adaptive_exec.config import GIB, MIB
from adaptive_exec.core.snapshot import HostSnapshot, Limit
from adaptive_exec.host.own_limits import OwnLimits
from adaptive_exec.host.survey import HostProbe, take_snapshot

TREES = Path(__file__).parent / "trees"
JOB = "/system.slice/slurmstepd.scope/job_4411"
SERVICE = "/system.slice/batch.service"


class Expected(NamedTuple):
    limit: tuple[int, str]
    available: tuple[int, str]
    cores: tuple[int, str]
    free_processes: int | None
    oom_kills: int | None
    stall_percent: float | None


TABLE = {
    "bare_metal": Expected(
        limit=(64 * GIB, "/proc/meminfo MemTotal"),
        available=(48 * GIB, "/proc/meminfo MemAvailable"),
        cores=(1, "assumed"),
        free_processes=67_000 - 300,
        oom_kills=0,
        stall_percent=1.25,
    ),
    "docker_v1": Expected(
        limit=(2 * GIB, "cgroup v1 memory.limit_in_bytes at /"),
        available=(
            (2048 - 1536 + 300 + 400 - 50 - 150) * MIB,
            "cgroup v1 memory.usage_in_bytes at /",
        ),
        cores=(2, "cgroup v1 cpu.cfs_quota_us at /"),
        free_processes=512 - 37,
        oom_kills=3,
        stall_percent=None,
    ),
    "docker_v2": Expected(
        limit=(900 * MIB, "cgroup v2 memory.high at /"),
        available=((900 - 600 + 100 + 150 - 20 - 30) * MIB, "cgroup v2 memory.current at /"),
        cores=(3, "cgroup v2 cpu.max at /"),
        free_processes=100 - 12,
        oom_kills=1,
        stall_percent=7.31,
    ),
    "kaggle": Expected(
        limit=(30 * GIB, "cgroup v1 memory.limit_in_bytes at /"),
        available=(
            (30 - 6 + 1 + 2) * GIB - (128 + 384) * MIB,
            "cgroup v1 memory.usage_in_bytes at /",
        ),
        cores=(4, "cgroup v1 cpu.cfs_quota_us at /"),
        free_processes=None,
        oom_kills=0,
        stall_percent=None,
    ),
    "nested_v2": Expected(
        limit=(4 * GIB, f"cgroup v2 memory.max at {JOB}"),
        available=(GIB + (256 + 512 - 64 - 192) * MIB, f"cgroup v2 memory.current at {JOB}"),
        cores=(2, f"cgroup v2 cpu.max at {JOB}"),
        free_processes=300 - 290,
        oom_kills=5,
        stall_percent=0.0,
    ),
    "hybrid": Expected(
        limit=(3 * GIB, f"cgroup v1 memory.limit_in_bytes at {SERVICE}"),
        available=(
            GIB + (512 + 256 - 128 - 128) * MIB,
            f"cgroup v1 memory.usage_in_bytes at {SERVICE}",
        ),
        cores=(4, f"cgroup v1 cpu.cfs_quota_us at {SERVICE}"),
        free_processes=4915 - 9,
        oom_kills=0,
        stall_percent=2.5,
    ),
    "no_proc": Expected(
        limit=(2 * GIB, "assumed"),
        available=(GIB, "assumed, half of the limit"),
        cores=(1, "assumed"),
        free_processes=None,
        oom_kills=None,
        stall_percent=None,
    ),
    "broken": Expected(
        limit=(2 * GIB, "assumed"),
        available=(GIB, "assumed, half of the limit"),
        cores=(1, "assumed"),
        free_processes=None,
        oom_kills=None,
        stall_percent=None,
    ),
}

SENTENCES = {
    "bare_metal": "bare metal without limits is limited by its RAM",
    "docker_v1": "a container of cgroup v1 is limited by its own folder",
    "docker_v2": "in a namespace of cgroup v2 memory.high limits too",
    "kaggle": "a host path that does not exist inside means the root of the mount",
    "nested_v2": "a parent tighter than its child decides",
    "hybrid": "in a hybrid the v1 controllers decide and the unified tree adds nothing",
    "no_proc": "without proc the figures are assumed and say so",
    "broken": "garbage in every file is nothing at all",
}


def as_expected(snapshot: HostSnapshot) -> Expected:
    return Expected(
        (snapshot.limit_bytes, snapshot.limit_source),
        (snapshot.available_bytes, snapshot.available_source),
        (snapshot.usable_cores, snapshot.cores_source),
        snapshot.free_processes,
        snapshot.oom_kills,
        snapshot.stall_percent,
    )


@pytest.mark.parametrize("tree", TABLE, ids=SENTENCES.get)
def test_a_saved_tree_reads_as(tree):
    assert as_expected(take_snapshot(str(TREES / tree), now=0.0)) == TABLE[tree]


def test_the_tables_of_trees_and_sentences_are_complete():
    assert set(TABLE) == set(SENTENCES) == {folder.name for folder in TREES.iterdir()}


def test_the_time_of_a_snapshot_is_the_given_one():
    assert take_snapshot(str(TREES / "no_proc"), now=12.5).taken_at == 12.5


def test_every_limit_is_listed_with_its_source():
    limits = take_snapshot(str(TREES / "docker_v2")).limits

    assert limits == (
        Limit("memory", 16 * GIB, "/proc/meminfo MemTotal"),
        Limit("memory", GIB, "cgroup v2 memory.max at /"),
        Limit("memory", 900 * MIB, "cgroup v2 memory.high at /"),
        Limit("cores", 2.5, "cgroup v2 cpu.max at /"),
        Limit("processes", 100, "cgroup v2 pids.max at /"),
    )


def test_own_limits_count_beside_those_of_the_groups():
    own = OwnLimits(
        cores=(Limit("cores", 2, "sched_getaffinity"),),
        processes=60,
        free_processes=50,
        descriptors=1024,
        free_descriptors=1000,
    )

    snapshot = HostProbe(str(TREES / "docker_v2"), own=own).take(0.0)

    assert (snapshot.usable_cores, snapshot.cores_source) == (2, "sched_getaffinity")
    assert snapshot.free_processes == 50
    assert snapshot.free_descriptors == 1000
    assert Limit("processes", 60, "RLIMIT_NPROC") in snapshot.limits
    assert Limit("descriptors", 1024, "RLIMIT_NOFILE") in snapshot.limits


def test_the_address_space_is_a_limit_and_what_is_left_of_it_is_available():
    own = OwnLimits(address_space_bytes=8 * GIB)

    snapshot = HostProbe(str(TREES / "bare_metal"), own=own).take(0.0)

    assert (snapshot.limit_bytes, snapshot.limit_source) == (8 * GIB, "RLIMIT_AS")
    assert (snapshot.available_bytes, snapshot.available_source) == (7 * GIB, "RLIMIT_AS")
    assert Limit("address space", 8 * GIB, "RLIMIT_AS") in snapshot.limits


def test_the_limit_of_the_heap_counts_likewise():
    own = OwnLimits(heap_bytes=2 * GIB)

    snapshot = HostProbe(str(TREES / "bare_metal"), own=own).take(0.0)

    assert (snapshot.available_bytes, snapshot.available_source) == (3 * GIB // 2, "RLIMIT_DATA")


def test_an_unreadable_statm_leaves_the_address_space_out():
    snapshot = HostProbe(str(TREES / "broken"), own=OwnLimits(address_space_bytes=GIB)).take(0.0)

    assert snapshot.limit_source == "assumed"
