"""What `multiprocessing` made in a user's module is the program's own in workers, or it is said.

Each program runs by itself: what is forked is a process with one thread.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.levels.ladder import rows_of

MODULE = """
import multiprocessing

class Tally:
    def __init__(self):
        self.count = multiprocessing.Value("i", 0)

LOCK, COUNT, TALLY = multiprocessing.Lock(), multiprocessing.Value("i", 0), Tally()
QUEUES = {"found": multiprocessing.SimpleQueue()}

def task(number):
    with LOCK:
        COUNT.value += 1
        with TALLY.count.get_lock():
            TALLY.count.value += 1
    return number
"""

PROGRAM = """
import json, logging, os, sys, threading, time
import mine
from adaptive_exec import adaptive_executor

def park():
    one = threading.Thread(target=threading.Event().wait, args=(500,), daemon=True)
    one.start()
    while sys._current_frames()[one.ident].f_code.co_name != "wait":
        time.sleep(0.01)

def run(pool):
    assert [*pool.map(mine.task, range(20))] == [*range(20)]
    return pool.submit(mine.task, 7).result(60)

def said(pool):
    found = [one for one in pool.report.decisions if one.reason.code == "objects_copied"]
    return [one.subject for one in found]

def way(pool):
    found = [one for one in pool.report.decisions if one.reason.code == "starter_chosen"]
    return found[0].new if found else ""

if __name__ == "__main__":
    logging.getLogger("adaptive_exec").setLevel(logging.ERROR)
    with adaptive_executor(max_workers=2, share_host=False, start=eval(sys.argv[1])) as pool:
        {parent}
        run(pool)
        {later}
        print(json.dumps([mine.COUNT.value, mine.TALLY.count.value, way(pool), said(pool)]))
"""
NAMES = "mine.COUNT (Synchronized), mine.LOCK (Lock), mine.QUEUES['found'] (SimpleQueue), "
NAMES += "mine.TALLY.count (Synchronized)"


def run(folder: Path, start: str, *, parent: str = "pass", later: str = "pass"):
    """Run the program; return both counts, how workers were started, and of what was warned."""
    (folder / "mine.py").write_text(MODULE)
    (folder / "program.py").write_text(
        PROGRAM.replace("{parent}", parent).replace("{later}", later)
    )
    done = subprocess.run(
        [sys.executable, "program.py", start],
        capture_output=True, text=True, timeout=100, check=False, cwd=folder,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a fork of the caller")


def test_workers_that_are_forked_from_the_program_count_with_it(tmp_path):
    assert run(tmp_path, "None") == [21, 21, "snapshot", []]


@pytest.mark.slow
def test_a_thread_that_waits_does_not_keep_workers_from_counting_with_the_program(tmp_path):
    assert run(tmp_path, "None", parent="park()") == [21, 21, "snapshot", []]


@pytest.mark.parametrize("start", rows_of(["zygote", "loky"]))
def test_of_workers_that_count_for_themselves_it_is_said_once_and_by_name(start, tmp_path):
    assert run(tmp_path, repr(start), later="run(pool)") == [0, 0, "", [NAMES]]


@pytest.mark.slow
def test_a_thread_that_runs_leads_to_workers_of_which_it_is_said(tmp_path):
    parent = "threading.Thread(target=lambda: time.sleep(500), daemon=True).start()"
    assert run(tmp_path, "None", parent=parent) == [0, 0, "zygote", [NAMES]]


@pytest.mark.slow
def test_what_takes_its_place_after_the_fork_is_said_to_be_another(tmp_path):
    later = 'mine.COUNT = mine.multiprocessing.Value("i", 0); run(pool)'
    found = run(tmp_path, "None", later=later)
    assert found == [0, 42, "snapshot", ["mine.COUNT (Synchronized)"]]


OF_MAIN = """
import multiprocessing, sys
from multiprocessing.sharedctypes import RawArray
from adaptive_exec import adaptive_executor
from adaptive_exec.errors import UnsendableError

class Tally:
    def __init__(self):
        self.count = multiprocessing.Value("i", 0)

def task(number):
    with LOCK:
        COUNT.value += 1
        RAW[0] += 1
    with TALLY.count.get_lock():
        TALLY.count.value += 1
    QUEUE.put(number)
    return number

def other(number):
    with LATER:
        return number

if __name__ == "__main__":
    LOCK, COUNT, TALLY = multiprocessing.Lock(), multiprocessing.Value("i", 0), Tally()
    QUEUE, RAW = multiprocessing.Queue(), RawArray("i", 1)
    inner = multiprocessing.Value("i", 0)

    def closure(number):
        with inner.get_lock():
            inner.value += 1
        return number

    with adaptive_executor(max_workers=2, share_host=False) as pool:
        assert [*pool.map({first}, range(20))] == [*range(20)]
        assert [*pool.map(task, range(20))] == [*range(20)]
        assert pool.submit(task, 7).result(60) == 7
        assert [*pool.map(abs, [*range(9)])] == [*range(9)]
        took = sorted(QUEUE.get(timeout=60) for _ in range(COUNT.value))
        LATER = multiprocessing.Lock()
        try:
            [*pool.map(other, range(9))]
        except UnsendableError as error:
            print(error.path)
        ways = [one.new for one in pool.report.decisions if one.reason.code == "starter_chosen"]
    print(COUNT.value, RAW[0], TALLY.count.value, inner.value, len(took), ways)
"""


@pytest.mark.parametrize(
    ("first", "counts"),
    [("task", "41 41 41 0 41"), ("abs", "21 21 21 0 21"), ("closure", "21 21 21 20 21")],
)
def test_what_a_script_shares_is_its_own_in_workers_that_are_forked_from_it(
    first, counts, tmp_path
):
    (tmp_path / "script.py").write_text(OF_MAIN.replace("{first}", first))
    done = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "other.__globals__['LATER']", f"{counts} ['snapshot']",
    ], done.stderr  # fmt: skip


SCRIPT = """
import multiprocessing, sys
from adaptive_exec import adaptive_executor
from adaptive_exec.errors import LevelUnavailableError, UnsendableError

def begin(lock):
    pass

def task(number):
    with LOCK:
        return number

if __name__ == "__main__":
    LOCK = multiprocessing.Lock()
    settings = {"max_workers": 2, "share_host": False, "start": eval(sys.argv[1])}
    with adaptive_executor(**settings) as pool:
        try:
            [*pool.map(task, range(9))]
        except UnsendableError as error:
            print(error.path, "start='snapshot'" in str(error))
    with adaptive_executor(initializer=begin, initargs=(LOCK,), **settings) as pool:
        try:
            [*pool.map(abs, range(9))]
        except LevelUnavailableError as error:
            print("initargs[0]" in str(error), "start='snapshot'" in str(error))
"""


@pytest.mark.parametrize("start", rows_of(["zygote", "loky"]))
def test_a_lock_that_cannot_be_sent_is_refused_with_what_to_do(start, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py", repr(start)],
        capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["task.__globals__['LOCK'] True", "True True"], done.stderr


LOST = """
import multiprocessing, os, signal
from adaptive_exec import adaptive_executor
from adaptive_exec.errors import LevelUnavailableError, UnsendableError

def task(number):
    with LOCK:
        return number

if __name__ == "__main__":
    LOCK = multiprocessing.Lock()
    with adaptive_executor(max_workers=2, share_host=False) as pool:
        assert [*pool.map(task, range(9))] == [*range(9)]
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            for child in map(int, file.read().split()):
                os.kill(child, signal.SIGKILL)
        try:
            print([*pool.map(task, range(9))] == [*range(9)])
        except (LevelUnavailableError, UnsendableError) as error:
            print("multiprocessing" in str(error))
"""


def test_what_was_lost_with_a_snapshot_is_named_where_a_task_needs_it(tmp_path):
    (tmp_path / "script.py").write_text(LOST)
    done = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["True"], done.stderr
