"""Several instances in one real memory group: all complete, nobody is killed for memory, and those
that are killed by hand are done with their journals' help."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from adaptive_exec.ledger.leases import read_ledger
from tests.cgroups import RealGroup, memory_group
from tests.levels.leaks import eventually

ROOT = Path(__file__).parents[2]
MIB = 2**20
PATIENCE_SECONDS = 150.0
CODE = """
import os, sys, time
from adaptive_exec import adaptive_executor

def hold(task):
    number, folder = task
    block = b"x" * int(sys.argv[2])
    time.sleep(0.1)
    with open(f"{folder}/runs", "a") as file:
        file.write(f"{number}\\n")
    return number if block else None

if __name__ == "__main__":
    folder, _, count, journal = sys.argv[1:5]
    tasks = [(number, folder) for number in range(int(count))]
    options = {"journal": journal} if journal else {}
    with adaptive_executor(tasks, levels="process", **options) as ex:
        found = list(ex.map(hold, tasks, chunksize=1))
    assert found == list(range(int(count)))
"""

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]


class Crowd:
    """Instances that were started in a group, each with a folder of its own."""

    def __init__(self, group: RealGroup, folder: Path, size_bytes: int, tasks: int) -> None:
        self.group = group
        self.folder = folder
        self.words = [str(size_bytes), str(tasks)]
        self.script = folder / "hold.py"
        self.script.write_text(CODE)
        self.children: dict[int, subprocess.Popen[str]] = {}

    def start(self, number: int, *, has_journal: bool = False) -> None:
        home = self.folder / str(number)
        home.mkdir(exist_ok=True)
        journal = str(home / "journal") if has_journal else ""
        command = [sys.executable, str(self.script), str(home), *self.words, journal]
        self.children[number] = subprocess.Popen(
            self.group.command(command), cwd=ROOT, stderr=subprocess.PIPE, text=True
        )

    def end(self, number: int) -> tuple[int, str]:
        child = self.children.pop(number)
        _, err = child.communicate(timeout=PATIENCE_SECONDS)
        return child.returncode, err

    def runs(self, number: int) -> list[int]:
        """Return which tasks were run, as often as they were."""
        path = self.folder / str(number) / "runs"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def has_run(self, number: int, count: int) -> bool:
        return len(self.runs(number)) >= count

    def close(self) -> None:
        for child in self.children.values():
            child.kill()
            child.communicate()


@pytest.fixture
def crowd(tmp_path, monkeypatch):
    monkeypatch.setenv("ADAPTIVE_EXEC_LEDGER", str(tmp_path))
    made = []

    def make(group: RealGroup, *, size_bytes: int, tasks: int) -> Crowd:
        made.append(Crowd(group, tmp_path, size_bytes, tasks))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_eight_that_start_at_once_all_complete_without_a_kernel_kill(crowd):
    # A worker each would take 8 x 60 MiB beside 8 x 25 MiB of the instances themselves.
    with memory_group(512 * MIB) as group:
        instances = crowd(group, size_bytes=60 * MIB, tasks=12)
        for number in range(8):
            instances.start(number)
        ended = [instances.end(number) for number in range(8)]

        assert [code for code, _ in ended] == [0] * 8, ended
        assert group.kernel_kills() == 0
        assert all(sorted(instances.runs(number)) == list(range(12)) for number in range(8))
        assert any("waiting: " in err and "place=" in err for _, err in ended)
    assert read_ledger() == []


def test_killed_instances_resume_from_their_journals_and_the_others_go_on(crowd):
    with memory_group(512 * MIB) as group:
        instances = crowd(group, size_bytes=20 * MIB, tasks=16)
        for number in range(4):
            instances.start(number, has_journal=True)
        for number in (1, 2):
            has_begun = partial(instances.has_run, number, 4)
            assert eventually(has_begun, seconds=PATIENCE_SECONDS)
            instances.children[number].send_signal(signal.SIGKILL)
        killed = [instances.end(number)[0] for number in (1, 2)]
        instances.start(4, has_journal=True)  # one that joins late
        survivors = [instances.end(number) for number in (0, 3, 4)]
        for number in (1, 2):
            instances.start(number, has_journal=True)
        resumed = [instances.end(number) for number in (1, 2)]

        assert killed == [-signal.SIGKILL] * 2
        assert [code for code, _ in survivors] == [0] * 3, survivors
        assert [code for code, _ in resumed] == [0] * 2, resumed
        assert group.kernel_kills() == 0
        for number in (1, 2):
            runs = instances.runs(number)
            assert sorted(set(runs)) == list(range(16))
            again = len(runs) - 16
            assert again <= 2 * len(os.sched_getaffinity(0)) + 2, "only what was in flight again"
