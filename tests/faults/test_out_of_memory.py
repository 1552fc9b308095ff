"""A task that outgrows a real memory limit is quarantined; its parent and all others survive."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cgroups import memory_group
from tests.faults.doom import CAUSES, WAYS
from tests.levels import work
from tests.levels.leaks import eventually

SCRIPT: Final = Path(__file__).with_name("scripts") / "hungry.py"
LIMIT_BYTES: Final = 192 * 1024 * 1024
STARTS: Final = ["fresh", "snapshot", pytest.param("loky", marks=pytest.mark.slow)]


def run_in_a_group(folder, way, start, count, fates):
    log = folder / "log"
    command = [sys.executable, "-B", str(SCRIPT), str(log), way, start, str(count)]
    with memory_group(LIMIT_BYTES) as group:
        ran = subprocess.run(
            group.command([*command, json.dumps(fates)]),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert eventually(lambda: group.members() == [])  # loky's trackers end on their own
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1]), log


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("way", WAYS)
def test_a_task_that_outgrows_the_limit_one_that_exits_and_one_that_crashes_are_quarantined_alone(
    way, start, tmp_path
):
    fates = {7: "memory", 12: "exit", 20: "segfault"}
    said, log = run_in_a_group(tmp_path, way, start, 30, fates)
    assert said["right"] == [number for number in range(30) if number not in fates]
    assert {int(number) for number in said["errors"]} == set(fates)
    for number, (kind, index, cause, attempts, peak, limit) in said["errors"].items():
        assert (kind, index) == ("PoisonTaskError", int(number))
        assert attempts == work.executions(log, number)
        assert limit == LIMIT_BYTES
        if fates[index] != "memory":
            assert (cause, attempts) == (CAUSES[fates[index]], 3)
            continue
        assert cause == "out of memory (confirmed)"
        # The first death, in company, is not held against it.
        assert 3 <= attempts <= 4
        assert LIMIT_BYTES // 2 < peak <= LIMIT_BYTES
    assert said["pid"] not in work.pids_of_executions(log)


def test_two_such_tasks_are_told_apart_from_those_that_died_beside_them(tmp_path):
    fates = {3: "memory", 20: "memory"}
    said, _ = run_in_a_group(tmp_path, "outcomes", "fresh", 30, fates)
    assert set(said["errors"]) == {"3", "20"}
    assert {kind for kind, *_ in said["errors"].values()} == {"PoisonTaskError"}
    assert said["right"] == [number for number in range(30) if number not in fates]
