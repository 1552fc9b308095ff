"""A task that outgrows a real memory limit is quarantined; its parent and all others survive."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cgroups import memory_group
from tests.levels import work

SCRIPT: Final = Path(__file__).with_name("scripts") / "hungry.py"
LIMIT_BYTES: Final = 192 * 1024 * 1024


def run_in_a_group(folder, way, count, greedy):
    log = folder / "log"
    command = [sys.executable, "-B", str(SCRIPT), str(log), way, str(count), json.dumps(greedy)]
    with memory_group(LIMIT_BYTES) as group:
        ran = subprocess.run(
            group.command(command), capture_output=True, text=True, timeout=55, check=False
        )
        assert group.members() == []
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1]), log


@pytest.mark.parametrize("way", ["outcomes", "submit"])
def test_a_task_that_outgrows_the_limit_becomes_poison_and_all_others_are_delivered(way, tmp_path):
    said, log = run_in_a_group(tmp_path, way, 30, [7])
    assert said["right"] == [number for number in range(30) if number != 7]
    ((index, (kind, cause, attempts, peak, limit)),) = said["errors"].items()
    assert (index, kind) == ("7", "PoisonTaskError")
    assert "memory" in cause or cause == "signal 9"
    assert attempts == work.executions(log, 7)
    assert 3 <= attempts <= 5
    assert limit == LIMIT_BYTES
    assert peak is None or peak > LIMIT_BYTES // 4
    assert said["pid"] not in work.pids_of_executions(log)


def test_two_such_tasks_are_told_apart_from_those_that_died_beside_them(tmp_path):
    said, _ = run_in_a_group(tmp_path, "outcomes", 30, [3, 20])
    assert set(said["errors"]) == {"3", "20"}
    assert {kind for kind, *_ in said["errors"].values()} == {"PoisonTaskError"}
    assert said["right"] == [number for number in range(30) if number not in {3, 20}]
