"""A task that takes its program with it does so a bounded number of times, others never."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.architecture.house import ROOT

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
SCRIPT = """
import os, signal, sys, time
from adaptive_exec import PoisonTaskError, WorkerLostError, adaptive_executor
folder, count, retries = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
program = os.getpid()
def work(index, program):
    file = os.open(folder + "/began", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, b"%d\\n" % index)
    os.close(file)
    if index == 2:
        if not retries:
            wait_until_alone()  # what runs as well may not run twice either
        os.kill(program, signal.SIGKILL)
        time.sleep(5)
    time.sleep(0.02)
    with open(folder + "/ended", "a") as ended:
        ended.write("%d\\n" % index)
    return index
def wait_until_alone():
    seen, since = None, time.monotonic()
    while time.monotonic() - since < 1.0:  # long enough for what it gave to be written, too
        now = read("began") - read("ended")
        if now != {2} or read("began") != seen:
            seen, since = read("began"), time.monotonic()
        time.sleep(0.02)
def read(name):
    try:
        with open(folder + "/" + name) as lines:
            return set(map(int, lines.read().split()))
    except FileNotFoundError:
        return set()
if __name__ == "__main__":
    settings = dict(journal=folder + "/run.journal", max_workers=2, retries=retries, isolate=True)
    with adaptive_executor(range(count), key=lambda index, program: index, **settings) as ex:
        found = list(ex.outcomes(work, range(count), [program] * count, chunksize=1))
    print(sorted((one.index, one.value) for one in found if one.error is None))
    print([(one.index, type(one.error).__name__) for one in found if one.error is not None])
"""


def run_until_it_ends(folder, count, retries):
    """Start the program anew as long as it is killed; return what it says, and how often it ran."""
    for starts in range(1, 9):
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder), str(count), str(retries)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if ran.returncode >= 0:
            assert ran.returncode == 0, ran.stderr
            return [eval(line) for line in ran.stdout.splitlines()], starts  # ours
    raise AssertionError("it is killed for ever")


@pytest.mark.parametrize(
    ("count", "retries", "starts", "error"),
    [
        pytest.param(12, 2, 4, "PoisonTaskError", id="as often as it may"),
        pytest.param(12, 0, 2, "WorkerLostError", id="once where nothing may run twice"),
        pytest.param(3, 1, 3, "PoisonTaskError", id="of few tasks too"),
    ],
)
def test_a_task_that_takes_its_program_with_it_is_poison_in_the_end(
    count, retries, starts, error, tmp_path
):
    (values, errors), started = run_until_it_ends(tmp_path, count, retries)

    assert values == [(index, index) for index in range(count) if index != 2]
    assert errors == [(2, error)]
    assert started == starts
    began = Counter(map(int, (tmp_path / "began").read_text().split()))
    assert began[2] == starts - 1
    if retries:
        assert max(began.values()) <= max(2, starts - 1)
    assert [path.name for path in tmp_path.iterdir() if "-left-" in path.name] == []
