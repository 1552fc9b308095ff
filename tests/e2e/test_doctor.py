"""The doctor says what the host affords, and tries it."""

import json
import os
from pathlib import Path

import pytest

from adaptive_exec.cli import doctor
from adaptive_exec.cli.doctor import PLAN_TASKS, plan_rows
from adaptive_exec.config import Config
from adaptive_exec.core.instructions import Standing, TradeShare
from adaptive_exec.core.sharing.share import Claim
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.ledger.leases import Ledger
from adaptive_exec.system.folder import PLACE_VARIABLE
from tests.core.world import make_host
from tests.e2e.shell import run


def test_every_number_has_its_source_and_every_way_to_start_was_tried(tmp_path: Path):
    ended = run(tmp_path, "doctor", "--json")

    assert ended.returncode == 0
    found = json.loads(ended.stdout)
    assert all(found["snapshot"][f"{name}_source"] for name in ("limit", "available", "cores"))
    tried = {(one["level"], one["start"]): one["works"] for one in found["starts"]}
    assert set(tried) == {
        ("process", "by itself"), ("process", "snapshot"), ("process", "fresh"),
        ("process", "loky"), ("thread", ""), ("sequential", ""),
    }  # fmt: skip
    ways = {one["start"]: one["way"].partition(":")[0] for one in found["starts"]}
    assert ways["by itself"] in ("snapshot", "zygote")
    assert ways["snapshot"] == "snapshot"
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
    for heading in ("This host affords", "Limits that were found", "Other instances",
                    "Levels, tried", "Plans"):  # fmt: skip
        assert heading in ended.stdout


def test_it_says_where_instances_meet_and_who_is_there(tmp_path: Path, monkeypatch):
    monkeypatch.setenv(PLACE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(doctor, "_try_starts", list)
    ledger = Ledger("train.py --all")
    claim = Claim("", 0.0, wanted_slots=2, held_slots=2)
    standing = Standing("process", 2, 1, 3, 10, "normal")
    ledger.trade(TradeShare(claim, 4, 0, standing), make_host(cores=4))
    said = []
    monkeypatch.setattr(doctor, "say", said.append)

    doctor.examine(as_json=True)
    doctor.examine(as_json=False)
    ledger.close()

    found = json.loads(said[0])["ledger"]
    assert Path(found["folder"]).parent == tmp_path
    assert found["instances"] == [
        {"pid": os.getpid(), "program": "train.py --all", "cores": 2, "promised_bytes": 0,
         "elsewhere": False},
    ]  # fmt: skip
    assert f"of those that use {found['folder']}\n  pid {os.getpid()}  2 cores" in said[1]


def test_it_says_why_instances_do_not_meet(tmp_path: Path, monkeypatch):
    monkeypatch.setenv(PLACE_VARIABLE, str(tmp_path / "missing"))
    monkeypatch.setattr(doctor, "_try_starts", list)
    said = []
    monkeypatch.setattr(doctor, "say", said.append)

    doctor.examine(as_json=False)

    assert "Other instances cannot be counted: FileNotFoundError" in said[0]
