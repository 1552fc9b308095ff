"""Under a real memory limit nothing is lost, and next to nothing is killed by the kernel."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.core.reason import Code
from adaptive_exec.levels import process, ways
from tests.cgroups import memory_group
from tests.levels import work
from tests.levels.leaks import eventually

SCRIPT: Final = Path(__file__).with_name("scripts") / "memory_batch.py"
MIB: Final = 1024 * 1024
MB: Final = 10**6
LIMIT_BYTES: Final = 256 * MIB
BOUND_SECONDS: Final = 150
NEIGHBOUR: Final = """
import sys, time
held = []
for _ in range(int(sys.argv[1]) // 4):
    held.append(bytearray(b"x") * 4_000_000)
    time.sleep(0.03)
print("full", flush=True)
time.sleep(float(sys.argv[2]))
"""


@dataclass
class Ran:
    said: dict
    log: str
    kills: int
    peak_share: float


def used_bytes(group):
    found = dict(line.split() for line in group.read("memory.stat").splitlines())
    rss = found.get("total_rss", found.get("anon", "0"))
    return int(rss) + int(found.get("total_shmem", found.get("shmem", "0")))


def run(way, tasks, *, limit_bytes=LIMIT_BYTES, neighbour=None, **settings):
    settings = {"max_workers": 4} | settings
    words = [str(SCRIPT), way, json.dumps(tasks), json.dumps(settings)]
    with memory_group(limit_bytes) as group:
        batch = subprocess.Popen(
            group.command([sys.executable, "-B", *words]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert batch.stdout.readline() == "ready\n"
        beside = None
        if neighbour is not None:
            command = [sys.executable, "-c", NEIGHBOUR, *map(str, neighbour)]
            beside = subprocess.Popen(group.command(command), stdout=subprocess.DEVNULL)
        peak, end = 0, time.monotonic() + BOUND_SECONDS
        while batch.poll() is None and time.monotonic() < end:
            peak = max(peak, used_bytes(group))
            time.sleep(0.002)
        batch.kill()
        out, log = batch.communicate()
        if beside is not None:
            assert beside.poll() in {None, 0}, "the kernel killed the neighbour"
            beside.kill()
            beside.wait()
        kills = group.kernel_kills()
    assert batch.returncode == 0, log
    return Ran(json.loads(out.splitlines()[-1]), log, kills, peak / limit_bytes)


@pytest.mark.parametrize("told", [{}, {"task_memory": "70MB"}], ids=["measured", "told"])
def test_more_than_fits_together_runs_one_after_the_other(told):
    ran = run("hold", [(70, 0.1)] * 14, **told)

    assert ran.said["right"] == 14
    assert ran.kills == 0
    assert ran.peak_share <= 0.9
    assert ran.said["window"] == 2
    assert 68 * MB <= ran.said["peak"] < 80 * MB
    assert all(68 * MB <= peak < 80 * MB for peak in ran.said["peaks"])


def test_a_target_of_the_users_is_kept():
    ran = run("hold", [(20, 0.1)] * 40, max_workers=8, target_memory=0.6)

    assert (ran.said["right"], ran.kills) == (40, 0)
    assert 0.4 <= ran.peak_share <= 0.65


def test_a_function_that_leaks_has_its_workers_replaced_and_is_told_of_once():
    ran = run("leak", [(5, 0.01)] * 100)

    assert (ran.said["right"], ran.kills) == (100, 0)
    assert ran.peak_share <= 0.9
    leaks = [leak for leak in ran.said["leaks"] if leak]
    assert leaks
    assert all(4 * MB < leak < 6 * MB for leak in leaks)
    assert ran.log.count("memory leak detected - restarting") == 1
    assert "WARNING Worker " in ran.log


def test_tasks_that_grow_tenfold_half_way_cost_at_most_two_kills():
    ran = run("hold", [(7, 0.05)] * 16 + [(70, 0.1)] * 12)

    assert ran.said["right"] == 28
    assert ran.kills <= 2


def test_tasks_that_grow_steadily_cost_at_most_two_kills():
    ran = run("hold", [(5 + 3 * number, 0.05) for number in range(40)])

    assert ran.said["right"] == 40
    assert ran.kills <= 2


def test_the_brake_comes_before_the_kernel(tmp_path):
    ran = run("creep", [(110, 0.05, str(tmp_path), 8)] * 12, chunksize=1)

    assert ran.said["right"] == 12
    assert Code.BRAKE in ran.said["codes"]
    assert ran.kills == 0
    assert "WARNING EMERGENCY BRAKE ACTIVATED [worker " in ran.log


def test_the_brake_strikes_although_everything_of_the_users_hangs(tmp_path):
    ran = run("creep", [(110, 0.05, str(tmp_path), 8)] * 12, chunksize=1, hang=1000)

    assert ran.said["right"] == 12
    assert Code.BRAKE in ran.said["codes"]
    assert ran.kills == 0


def test_a_neighbour_that_comes_and_goes_costs_nothing_but_time():
    ran = run("hold", [(12, 0.1)] * 120, neighbour=(150, 2.0))

    assert (ran.said["right"], ran.kills) == (120, 0)
    assert set(ran.said["events"]) >= {"planned", "windowed"}
    assert "lost" not in ran.said["events"]
    assert "degraded" not in ran.said["events"]


def pids_of(executor, count, function):
    return [outcome.value for outcome in executor.outcomes(function, range(count), chunksize=1)]


def test_a_worker_that_is_too_old_is_replaced_between_two_chunks():
    with adaptive_executor(isolate=True, max_workers=1, max_worker_age=0.2) as executor:
        pids = pids_of(executor, 8, work.slow_pid)
        codes = [decision.reason.code for decision in executor.report.decisions]

    assert len(set(pids)) >= 2
    assert Code.WORKER_OLD in codes


def test_a_worker_that_is_too_large_is_replaced_between_two_chunks():
    with adaptive_executor(isolate=True, max_workers=1, max_worker_memory="60MB") as executor:
        sizes = list(executor.map(work.keep, [20 * MB] * 9, chunksize=1))
        codes = [decision.reason.code for decision in executor.report.decisions]

    assert max(sizes) <= 4
    assert {Code.WORKER_LARGE, Code.TASKS_LEAK} & set(codes)


def test_a_worker_that_does_not_go_is_cut_off_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "LEFT_WORK_SECONDS", 3.0)
    monkeypatch.setattr(ways, "LEFT_WORK_SECONDS", 3.0)  # a minute, but this is a test
    with adaptive_executor(isolate=True, max_workers=1, max_tasks_per_worker=1) as executor:
        first = executor.submit(work.refuse_to_end, str(tmp_path)).result(BOUND_SECONDS)
        assert executor.submit(work.same, 1).result(BOUND_SECONDS) == 1  # another's, beside it
        assert eventually(lambda: not Path(f"/proc/{first}").exists())
        codes = [decision.reason.code for decision in executor.report.decisions]

    assert Code.WORK_LEFT in codes
