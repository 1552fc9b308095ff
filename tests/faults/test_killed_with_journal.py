"""The whole tree is killed half-way through a batch with a journal: only what ran runs again."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.architecture.house import ROOT
from tests.faults.sessions import wait_for_session
from tests.levels.leaks import eventually

WORKERS = 2
ROUNDS = int(os.environ.get("TREE_KILLS", "3"))
SCRIPT = """
import os, sys, time
from adaptive_exec import adaptive_executor
folder, seconds, count = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
def work(index):
    time.sleep(seconds)
    file = os.open(folder + "/ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, b"%d\\n" % index)
    os.close(file)
    return [index] if index % 2 else index  # one that is packed with its neighbours, and one not
if __name__ == "__main__":
    with adaptive_executor(journal=folder + "/run.journal", levels="process",
                           max_workers=2) as ex:
        values = list(ex.map(work, range(count)))
    assert values == [[one] if one % 2 else one for one in range(count)]
"""


def start(folder: Path, seconds: float, count: int) -> subprocess.Popen:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(folder), str(seconds), str(count)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, start_new_session=True)


def ran(folder: Path) -> Counter[int]:
    path = folder / "ran"
    return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


@pytest.mark.parametrize(
    ("seconds", "count"),
    [
        pytest.param(0.05, 80, id="50 ms"),
        pytest.param(0.005, 500, id="5 ms"),
        pytest.param(0.001, 1500, id="1 ms"),
    ],
)
def test_no_more_tasks_run_again_than_there_are_workers(tmp_path: Path, seconds, count):
    chance = random.Random(count)
    again = []
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = start(folder, seconds, count)
        half = count * chance.uniform(0.3, 0.7)
        assert eventually(lambda folder=folder, half=half: ran(folder).total() >= half)
        time.sleep(chance.uniform(0, 0.1))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        wait_for_session(process.pid)  # what they still write belongs to the run that was killed
        process = start(folder, seconds, count)
        assert process.wait(120) == 0
        again.append(ran(folder).total() - count)
        assert set(ran(folder)) == set(range(count))
        assert not list(folder.glob("run.journal-*")), "all that lay beside it is gone"

    assert max(again) <= WORKERS, again
