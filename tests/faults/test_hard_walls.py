"""Each worker in a control group of its own: what is too large ends there, and nobody else does."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from adaptive_exec.core.quarantine import CONFIRMED, OUTGROWN, PROBABLE, STOPPED
from adaptive_exec.host.cgroup import WORKERS
from tests.cgroups import PROJECT, memory_group

pytestmark = pytest.mark.faults
SCRIPT: Final = Path(__file__).with_name("scripts") / "walled.py"
LIMIT_BYTES: Final = 384 * 1024 * 1024
START_SECONDS: Final = 30.0


def groups_in(group) -> list[str]:
    return sorted(one.name for one in group.folder.iterdir() if one.name.startswith(WORKERS))


def words(odd, **settings):
    settings = {"max_workers": 4, "wall": "hard", "wide": False} | settings
    return [sys.executable, "-B", str(SCRIPT), odd, json.dumps(settings)]


def run(odd, **settings):
    """Run the batch in a real group; return what it says of the odd ones, and the group's kills."""
    with memory_group(LIMIT_BYTES) as group:
        ran = subprocess.run(
            group.command(words(odd, **settings)),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        kills = group.kernel_kills() if group.version == 1 else 0  # version 2 counts all below
        left = groups_in(group)
    assert ran.returncode == 0, ran.stderr
    assert (kills, left) == (0, [])
    said = json.loads(ran.stdout.splitlines()[-1])
    assert sorted(said["right"]) == sorted(set(range(48)) - {17, 31})
    return said["odd"]


@pytest.mark.parametrize(
    "settings",
    [{}, pytest.param({"start": "loky"}, marks=pytest.mark.slow), {"wide": True}],
    ids=["zygote", "loky", "where a kill would end the caller"],
)
def test_a_task_that_is_too_large_ends_in_its_own_group_and_is_poison(settings):
    found = run("at_one_stroke", **settings)

    assert {one[0] for one in found.values()} == {"PoisonTaskError"}
    assert {one[1] for one in found.values()} <= {OUTGROWN, STOPPED, PROBABLE, CONFIRMED}


def test_memory_that_is_reserved_and_not_used_is_no_reason_for_a_wall():
    assert run("reserved") == {"17": -2, "31": -2}


def test_what_a_killed_program_has_left_the_next_one_removes():
    with memory_group(LIMIT_BYTES) as group:
        first = subprocess.Popen(
            group.command(words("sleeping")), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + START_SECONDS
        while not any(has_members(group, name) for name in groups_in(group)):
            assert time.monotonic() < until
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        left = groups_in(group)
        while members_below(group):
            assert time.monotonic() < until
            time.sleep(0.01)
        ran = subprocess.run(
            group.command(words("reserved")), capture_output=True, timeout=150, check=False
        )
        after = groups_in(group)

    assert left, "a killed program has no time to remove anything"
    assert (ran.returncode, after) == (0, [])


def has_members(group, name: str) -> bool:
    try:
        return bool((group.folder / name / "cgroup.procs").read_text())
    except OSError:  # it was made to see whether that is allowed
        return False


def members_below(group) -> list[int]:
    files = [*group.folder.glob("*/cgroup.procs"), group.folder / "cgroup.procs"]
    return [int(pid) for file in files for pid in file.read_text().split()]


def test_where_no_group_can_be_written_that_is_said_and_the_batch_ends_as_without():
    code = (
        "import sys; from adaptive_exec.host import delegated, survey\n"
        "import adaptive_exec.executor as e; e.find_place = lambda **_: None\n"
        "with e.adaptive_executor(range(8), wall='hard') as ex:\n"
        "    print(sum(ex.map(abs, range(8))), [str(d.reason.code) for d in ex.report.decisions])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ran.stdout.startswith("28 ")
    assert "groups_refused" in ran.stdout
    assert "no control group of this process can be written" in ran.stderr
