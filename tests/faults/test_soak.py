"""Thousands of short tasks while an outsider kills, stops and starves workers: nothing is lost.

The outsider draws its doings from a fixed seed and may hit a worker, now and then the zygote, at
any moment of its life. Afterwards every outcome is right, no task was blamed, and nothing is left.
"""

import contextlib
import faulthandler
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.faults.doom import WAYS, outcomes_of
from tests.levels.ladder import executor_at
from tests.levels.leaks import descendants, eventually, workers, zygotes

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]

SEED = 20_240
NAP_SECONDS = 0.006
WORKERS = 4
SHARES = {"kill": 55, "stop": 10, "pause": 20, "starve": 13, "kill the zygote": 2}
"""How often the outsider does what, of a hundred."""
TASKS = {"process": 20_000, "loky": 12_000}
PACE_SECONDS = {"process": (0.05, 0.3), "loky": (0.4, 1.2)}
"""Least and most time between two of its doings: a worker of loky needs 0.3 s to start."""


class Outsider:
    """Harms workers from a thread of its own until told to end."""

    def __init__(self, level):
        self.done = Counter()
        self._level = level
        self._chooser = random.Random(SEED)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._harm_now_and_then)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(10)

    def _harm_now_and_then(self):
        while not self._over.wait(self._chooser.uniform(*PACE_SECONDS[self._level])):
            deed = self._chooser.choices(list(SHARES), list(SHARES.values()))[0]
            alive = zygotes() if deed == "kill the zygote" else workers()
            if alive:
                with contextlib.suppress(OSError, psutil.NoSuchProcess):
                    self._do(deed, self._chooser.choice(sorted(alive, key=lambda one: one.pid)))
                    self.done[deed] += 1

    def _do(self, deed, process):
        match deed:
            case "kill" | "kill the zygote":
                process.kill()
            case "stop":
                process.suspend()
            case "pause":
                process.suspend()
                self._over.wait(self._chooser.uniform(0.01, 0.5))
                process.resume()
            case "starve":
                os.setpriority(os.PRIO_PROCESS, process.pid, 19)


@pytest.fixture(autouse=True)
def no_dump_of_threads():
    """Call off the dump that is due after 50 s: it reads frames of running threads, and crashed."""
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("level", list(TASKS))
def test_an_outsider_who_harms_workers_at_random_harms_no_task(level):
    events = []
    share = TASKS[level] // len(WAYS)
    begun = time.monotonic()
    outsider = Outsider(level)
    with executor_at(level, max_workers=WORKERS, on_event=events.append) as executor, outsider:
        for way in WAYS:
            found = outcomes_of(executor, way, nap, range(share))
            assert found == {number: number for number in range(share)}
    took = time.monotonic() - begun
    counts = Counter(event["event"] for event in events)
    print(f"{TASKS[level]} tasks in {took:.0f} s, {dict(outsider.done)}, {dict(counts)}")
    assert outsider.done["kill"] >= 5
    assert outsider.done["stop"]
    assert not counts["quarantined"]
    assert not counts["degraded"]
    assert eventually(lambda: not [one for one in descendants() if "tracker" not in words_of(one)])
    assert "adaptive-exec" not in Path("/proc/self/maps").read_text()


def words_of(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def nap(number):
    time.sleep(NAP_SECONDS)
    return number
