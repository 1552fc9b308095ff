"""The process's own limits, each set for real in a child and compared with what the kernel does."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adaptive_exec.config import GIB, MIB
from adaptive_exec.core.snapshot import Limit
from adaptive_exec.host import own_limits
from adaptive_exec.host.cpu import own_cores, read_cores
from adaptive_exec.host.own_limits import OwnProcess

CHILD_SECONDS = 120
PROJECT = Path(__file__).parents[2]
PAGES_OF_A_SNAPSHOT = 16 * MIB
_users = itertools.count(50_000 + os.getpid() % 5_000 * 10)

PRELUDE = """
import json, mmap, os, resource, sys, threading
from adaptive_exec.host.own_limits import OwnProcess
from adaptive_exec.host.survey import HostProbe, take_snapshot

def limit(name, soft):
    which = getattr(resource, name)
    resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))

def become(user):
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)

def start_threads(most):
    started = 0
    try:
        for started in range(most):
            threading.Thread(target=hold.wait, args=(30,), daemon=True).start()
    except RuntimeError:
        return started
    return most

hold = threading.Event()
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' limits")
root_only = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root to become another user"
)


def run_child(code: str, *arguments: str) -> dict:
    child = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *arguments],
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
        cwd=PROJECT,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


@linux_only
def test_the_address_space_limits_and_what_is_mapped_is_gone():
    code = """
limit("RLIMIT_AS", 2 << 30)
before = take_snapshot()
kept = mmap.mmap(-1, 512 << 20)
after = take_snapshot()
print(json.dumps({"limit": before.limit_bytes, "source": before.limit_source,
    "before": before.available_bytes, "after": after.available_bytes,
    "available": after.available_source}))
"""
    seen = run_child(code)

    assert (seen["limit"], seen["source"]) == (2 * GIB, "RLIMIT_AS")
    assert seen["available"] == "RLIMIT_AS"
    assert abs(seen["before"] - seen["after"] - 512 * MIB) < PAGES_OF_A_SNAPSHOT


@linux_only
def test_a_heap_limit_is_found():
    seen = run_child("""
limit("RLIMIT_DATA", 1 << 30)
print(json.dumps({"source": take_snapshot().available_source}))
""")

    assert seen["source"] == "RLIMIT_DATA"


@linux_only
def test_as_many_descriptors_as_are_free_can_be_opened():
    seen = run_child("""
limit("RLIMIT_NOFILE", 64)
free = take_snapshot().free_descriptors
opened = []
try:
    while len(opened) < 100:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
print(json.dumps({"free": free, "opened": len(opened)}))
""")

    assert seen["free"] == seen["opened"] > 0


@linux_only
@root_only
def test_as_many_threads_as_are_free_can_be_started_by_a_limited_user():
    code = """
become(int(sys.argv[1]))
limit("RLIMIT_NPROC", 12)
threading.Thread(target=hold.wait, args=(30,), daemon=True).start()
free = HostProbe().take().free_processes
started = start_threads(50)
left = HostProbe().take().free_processes
hold.set()
print(json.dumps({"free": free, "started": started, "left": left}))
"""
    assert run_child(code, str(next(_users))) == {"free": 12 - 2, "started": 10, "left": 0}


@linux_only
@root_only
def test_far_from_the_limit_the_whole_host_is_counted_instead():
    seen = run_child(
        """
become(int(sys.argv[1]))
limit("RLIMIT_NPROC", 90_000)
print(json.dumps({"free": take_snapshot().free_processes}))
""",
        str(next(_users)),
    )

    assert 45_000 < seen["free"] < 90_000


@linux_only
@root_only
def test_root_is_exempt_from_the_limit_of_processes_just_where_the_kernel_says_so():
    seen = run_child("""
limit("RLIMIT_NPROC", 1)
own = OwnProcess().read(0.0)
print(json.dumps({"own": own.free_processes, "started": start_threads(5)}))
hold.set()
""")

    # Root of a container with a user namespace of its own is not exempt.
    assert (seen["own"] is None) == (seen["started"] == 5)


def test_a_count_of_processes_stays_good_for_a_while(monkeypatch):
    counts = iter([5, 8])
    monkeypatch.setattr(own_limits, "_count_everyone", lambda: None)
    monkeypatch.setattr(own_limits, "_count_processes", lambda: next(counts))
    process = OwnProcess()

    free = [process._free_processes(20, now) for now in (100.0, 100.9, 101.1)]

    assert free == [15, 15, 12]


def test_descriptors_are_counted_one_by_one_on_older_kernels(monkeypatch):
    newer = own_limits._count_descriptors()
    monkeypatch.setattr(own_limits, "_size_counts", lambda: False)

    assert own_limits._count_descriptors() == newer


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        pytest.param("1", 1, id="a number lowers it"),
        pytest.param("100000", None, id="a large number changes nothing"),
        pytest.param("0", 1, id="zero means one"),
        pytest.param("-3", 1, id="less than zero means one"),
        pytest.param("many", None, id="a word is ignored"),
        pytest.param(None, None, id="unset is ignored"),
    ],
)
def test_the_variable_of_loky_limits_the_cores(monkeypatch, text, cores):
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    without = read_cores((), own_cores())
    if text is not None:
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", text)

    assert read_cores((), own_cores()).usable == min(cores or without.usable, without.usable)


@linux_only
def test_the_affinity_mask_limits_the_cores():
    seen = run_child("""
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(json.dumps({"cores": take_snapshot().usable_cores}))
""")

    assert seen["cores"] == 1


@linux_only
def test_one_core_by_the_variable_names_it_as_the_source(monkeypatch):
    cores = (Limit("cores", 8, "sched_getaffinity"), Limit("cores", 1, "LOKY_MAX_CPU_COUNT"))

    assert read_cores((), cores).source == "LOKY_MAX_CPU_COUNT"
