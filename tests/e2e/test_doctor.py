"""The doctor says what the host affords, and tries it."""

import json
from pathlib import Path

import pytest

from adaptive_exec.cli.doctor import PLAN_TASKS, plan_rows
from adaptive_exec.config import Config
from adaptive_exec.core.snapshot import HostSnapshot
from tests.e2e.shell import run


def test_every_number_has_its_source_and_every_way_to_start_was_tried(tmp_path: Path):
    ended = run(tmp_path, "doctor", "--json")

    assert ended.returncode == 0
    found = json.loads(ended.stdout)
    assert all(found["snapshot"][f"{name}_source"] for name in ("limit", "available", "cores"))
    tried = {(one["level"], one["start"]): one["works"] for one in found["starts"]}
    assert set(tried) == {
        ("process", "zygote"), ("process", "loky"), ("thread", ""), ("sequential", ""),
    }  # fmt: skip
    assert all(tried.values()), found["starts"]
    assert [plan["tasks"] for plan in found["plans"]] == [1, 3, 10, 1000]


def test_the_plans_are_those_of_the_executor_for_this_snapshot():
    gib = 1 << 30
    snapshot = HostSnapshot(0.0, 8 * gib, "test", 7 * gib, "test", 4, "test")

    rows = plan_rows(snapshot, Config())

    assert [row["tasks"] for row in rows] == list(PLAN_TASKS)
    assert [row["level"] for row in rows] == ["thread", "thread", "process", "process"]
    assert [row["workers"] for row in rows] == [1, 3, 4, 4]


@pytest.mark.slow
def test_the_text_says_the_same_for_people(tmp_path: Path):
    ended = run(tmp_path, "doctor")

    assert ended.returncode == 0
    assert ended.stderr == ""
    for heading in ("This host affords", "Limits that were found", "Levels, tried", "Plans"):
        assert heading in ended.stdout
