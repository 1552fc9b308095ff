"""Whatever kills the parent, and whenever: nothing that was delivered is run again.

JOURNAL_KILLS sets how many kills at random moments (default 20); 100 take two minutes.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from adaptive_exec import adaptive_executor
from tests.architecture.house import ROOT
from tests.faults.scripts.journaled import work
from tests.faults.sessions import wait_for_session

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

KILLS = int(os.environ.get("JOURNAL_KILLS", "20"))
SCRIPT = ROOT / "tests/faults/scripts/journaled.py"
IN_FLIGHT = 24
"""Tasks that may have run to their end and are lost: of two workers the task that had just noted
its end, and of those that take no time what was finished in the last half millisecond."""

IN_FLIGHT_BESIDE = 100
"""The same where another instance goes on at once: a chunk of each worker of a tenth of a second
and a tenth of a second of results; tasks take 3 ms each."""


def start(folder: Path, name: str, seed: int, tasks: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), name, str(seed), str(tasks)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill(process: subprocess.Popen) -> None:
    """Kill the parent; its workers die with it, and what they still wrote belongs to its run."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    process.stdout.close()


def read(folder: Path, name: str) -> Counter[int]:
    path = folder / name
    return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


def wait_for_more(folder: Path) -> None:
    """Wait until a task has run to its end."""
    before, end = read(folder, "ran").total(), time.monotonic() + 60
    while read(folder, "ran").total() == before:
        assert time.monotonic() < end, "no task was run"
        time.sleep(0.02)


def wait_for_outcome(folder: Path, name: str, other: subprocess.Popen) -> None:
    """Wait until an instance has delivered one more, or the other one is through."""
    before, end = read(folder, name).total(), time.monotonic() + 60
    while read(folder, name).total() == before and other.poll() is None:
        assert time.monotonic() < end, "nothing was delivered"
        time.sleep(0.02)


def test_nothing_delivered_is_run_again_whenever_the_parent_is_killed(tmp_path: Path):
    chance = random.Random(KILLS)
    tasks = 100_000
    ran: Counter[int] = Counter()
    seen: set[int] = set()
    again = []
    for number in range(KILLS):
        process = start(tmp_path, "one", number, tasks)
        assert process.stdout.readline() == "begun\n"
        if number % 3:  # at any moment of its work; else at any moment of its start, too
            wait_for_more(tmp_path)
        time.sleep(chance.random() * 0.6)
        kill(process)
        wait_for_session(process.pid)
        now = read(tmp_path, "ran")
        assert not [task for task in seen if now[task] != ran[task]], "a delivered task ran again"
        again.append(sum(1 for task in now - ran if ran[task]))
        ran, seen = now, set(read(tmp_path, "seen-one"))

    assert len(seen) > KILLS, "the runs were killed before they did anything"
    assert max(again) <= IN_FLIGHT
    check_file(tmp_path / "run.journal")
    with adaptive_executor(journal=tmp_path / "run.journal", levels="thread") as ex:
        numbers = sorted(seen)
        values = list(ex.map(work, [(str(tmp_path), number) for number in numbers]))
        assert ex.report.tasks == 0
    assert values == [number * number for number in numbers]


def test_an_instance_goes_on_while_another_one_is_killed_again_and_again(tmp_path: Path):
    chance = random.Random(7)
    tasks = 6000
    steady = start(tmp_path, "steady", 1, tasks)
    assert steady.stdout.readline() == "begun\n"
    kills = 0
    while steady.poll() is None and kills < KILLS:
        other = start(tmp_path, "other", kills, tasks)
        other.stdout.readline()
        wait_for_outcome(tmp_path, "seen-other", steady)
        time.sleep(chance.random() * 0.5)
        kill(other)
        kills += 1
    answer, _ = steady.communicate(timeout=200)

    ran = read(tmp_path, "ran")
    own, recalled = map(int, answer.split())
    assert steady.returncode == 0
    assert read(tmp_path, "seen-steady") == Counter(range(tasks))
    assert set(ran) == set(range(tasks))
    assert own + recalled == tasks
    assert recalled > 0, "the other one did nothing"
    # While another instance lives, what a killed one left on the disk is not taken up at once.
    assert ran.total() - tasks <= kills * IN_FLIGHT_BESIDE
    check_file(tmp_path / "run.journal")


def check_file(path: Path) -> None:
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    base.close()
