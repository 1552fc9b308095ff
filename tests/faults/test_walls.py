"""Where a kernel's kill would end the program as well there is none, and nothing else changes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from adaptive_exec.core.quarantine import STOPPED, WALLED
from tests.cgroups import memory_group

pytestmark = pytest.mark.faults
SCRIPT: Final = Path(__file__).with_name("scripts") / "walled.py"
LIMIT_BYTES: Final = 384 * 1024 * 1024


def run(odd, **settings):
    """Run the batch in a real group; return what it says and how often the kernel killed."""
    settings = {"max_workers": 4} | settings
    words = [sys.executable, "-B", str(SCRIPT), odd, json.dumps(settings)]
    with memory_group(LIMIT_BYTES) as group:
        ran = subprocess.run(
            group.command(words), capture_output=True, text=True, timeout=150, check=False
        )
        kills = group.kernel_kills()
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout.splitlines()[-1])
    assert sorted(said["right"]) == sorted(set(range(48)) - {17, 31})
    return said["odd"], kills


@pytest.mark.parametrize(
    "odd", ["at_one_stroke", "little_by_little", "behind_an_import", "wrapped"]
)
def test_a_task_that_is_too_large_is_poison_and_the_kernel_kills_nobody(odd):
    found, kills = run(odd)

    assert kills == 0
    assert {kind for kind, _, _ in found.values()} == {"PoisonTaskError"}
    assert {cause for _, cause, _ in found.values()} <= {WALLED, STOPPED}
    refused = [stack for _, cause, stack in found.values() if cause == WALLED]
    assert all("MemoryError" in stack for stack in refused)


@pytest.mark.slow
def test_loky_workers_have_walls_too():
    found, kills = run("at_one_stroke", start="loky")

    assert (kills, {cause for _, cause, _ in found.values()}) == (0, {WALLED})


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        pytest.param("caught", -1, id="a task that makes do with less"),
        pytest.param("threads", -3, id="a task with many threads"),
        pytest.param("reserved", -2, id="a task that reserves much and uses little of it"),
        pytest.param("large", 150 << 20, id="a task that takes most of the room"),
    ],
)
def test_a_task_that_fits_alone_has_its_value(odd, expected):
    assert run(odd) == ({"17": expected, "31": expected}, 0)


def test_an_error_that_a_task_raises_by_itself_is_its_own():
    found, _ = run("raised")

    assert {tuple(one[:2]) for one in found.values()} == {("MemoryError", "this is what it says")}


@pytest.mark.slow
def test_without_walls_and_where_a_kill_costs_a_worker_the_kernel_has_its_say():
    found, kills = run("at_one_stroke", wide=False)

    assert kills > 0
    assert {cause for _, cause, _ in found.values()} == {"out of memory (confirmed)"}
