"""Nothing grows or decays: two minutes of everything at once, and hundreds of maps at each level.

The first is `benchmarks/soak.py` in short; tolerances are those of a busy host, whose rate says
little: what every second round left behind, of thirty to a hundred, would be seen all the same.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adaptive_exec import adaptive_executor
from tests.levels.leaks import descendants, eventually

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"
MINUTES = 1.6
MAPS = 300
NOISE_BYTES = 3 * 2**20
"""By how much the parent may grow by chance in two hundred maps: each closure holds 100 kB."""


def test_two_minutes_of_everything_at_once_leave_nothing_behind():
    words = f"--minutes {MINUTES} --every 5 --trifle 8 --rate 95 --cpu 60 --tasks 5000".split()
    done = subprocess.run(
        [sys.executable, str(SOAK), *words],
        env=os.environ | {"MALLOC_ARENA_MAX": "1"},  # of several it gives not all back
        capture_output=True,
        text=True,
        timeout=350,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]


@pytest.mark.parametrize("levels", ["auto", "process", "thread", "sequential"])
def test_hundreds_of_maps_on_one_executor_leave_what_a_hundred_left(levels):
    with adaptive_executor(levels=levels, max_workers=2) as executor:
        for number in range(MAPS // 3):
            run(executor, number)
        early = readings()
        for number in range(MAPS // 3, MAPS):
            run(executor, number)
        assert eventually(lambda: stays_within(early, readings())), (early, readings())


def run(executor, number):
    held = bytes([number % 251]) * 100_000
    found = executor.map(lambda one: held[one] + number + one, range(40))
    assert list(found) == [number % 251 + number + one for one in range(40)]


def readings():
    return {
        "bytes": own_bytes(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "processes": len(descendants()),
    }


def stays_within(early, late):
    noise = {"bytes": NOISE_BYTES, "descriptors": 3, "threads": 1, "processes": 1}
    return all(late[name] <= early[name] + noise[name] for name in early)


def own_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    names = ("RssAnon", "RssShmem")
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(names))
