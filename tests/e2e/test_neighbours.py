"""Instances that know nothing of each other share one host: cores are dealt out anew as they come
and go."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptive_exec.ledger.leases import read_ledger

ROOT = Path(__file__).parents[2]
CODE = """
import itertools, json, os, sys, time
from adaptive_exec import adaptive_executor

def spin(number):
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    return number

def numbers():
    for number in itertools.count():
        if os.path.exists(sys.argv[1]):
            break
        yield number

if __name__ == "__main__":
    tell = lambda decision: print(json.dumps(decision), flush=True)
    with adaptive_executor(tasks=100_000, levels="process", on_event=tell) as ex:
        found = list(ex.map(spin, numbers()))
    assert found == list(range(len(found)))
"""
PATIENCE_SECONDS = 90.0
needs_two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores to share",
)


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setenv("ADAPTIVE_EXEC_LEDGER", str(tmp_path))
    script = tmp_path / "spin.py"
    script.write_text(CODE)
    started = []

    def begin(until="never"):
        command = [sys.executable, str(script), str(tmp_path / until)]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(child)
        return child

    yield begin
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, [record.standing for record in read_ledger()]
        time.sleep(0.02)


def workers():
    return [record.standing.workers for record in read_ledger()]


def shares(child):
    out, _ = child.communicate(timeout=PATIENCE_SECONDS)
    decisions = [json.loads(line) for line in out.splitlines()]
    return [one["facts"]["instances"] for one in decisions if one["event"] == "shared"]


@pytest.mark.slow
@needs_two_cores
def test_an_older_instance_makes_room_and_grows_back_when_the_newer_is_killed(start):
    older = start()
    wait_until(lambda: workers() == [2])

    newer = start()
    wait_until(lambda: workers() == [1, 1])
    newer.kill()
    wait_until(lambda: workers() == [2])

    older.send_signal(signal.SIGKILL)
    wait_until(lambda: workers() == [])


@pytest.mark.slow
@needs_two_cores
def test_an_instance_that_ends_leaves_its_part_to_the_others_and_no_trace(start, tmp_path):
    first = start("first is to end")
    wait_until(lambda: workers() == [2])
    second = start("second is to end")
    wait_until(lambda: workers() == [1, 1])
    (tmp_path / "second is to end").touch()
    assert second.wait(PATIENCE_SECONDS) == 0
    wait_until(lambda: workers() == [2])
    (tmp_path / "first is to end").touch()
    told = shares(first)

    assert first.returncode == 0
    assert told[:1] == [2]
    assert read_ledger() == []
    assert list(tmp_path.rglob("*.lease")) == []


WATCHED = """
import json, sys, threading, time
from adaptive_exec import adaptive_executor

def spin(number):
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass

def watch(ex, shares, is_over):
    while not is_over.wait(0.02):
        share = ex._driver._run.share
        if share is not None and (not shares or shares[-1] != [share.slots, share.slot_bytes]):
            shares.append([share.slots, share.slot_bytes])

if __name__ == "__main__":
    shares, is_over = [], threading.Event()
    end = time.monotonic() + float(sys.argv[1])
    with adaptive_executor(levels="process", max_workers=2) as ex:
        watcher = threading.Thread(target=watch, args=(ex, shares, is_over))
        watcher.start()
        def numbers():
            number = 0
            while time.monotonic() < end:
                yield number
                number += 1
        for _ in ex.map(spin, numbers(), chunksize=1):
            pass
        is_over.set()
        watcher.join()
    print(json.dumps(shares))
"""


@pytest.mark.slow
@needs_two_cores
def test_shares_change_at_most_twice_when_another_comes_or_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    script = tmp_path / "watched.py"
    script.write_text(WATCHED)
    children = []
    for seconds in (12, 6):
        command = [sys.executable, str(script), str(seconds)]
        children.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        time.sleep(2)  # the second comes while the first works, and goes before it

    longer, shorter = (json.loads(child.communicate(timeout=150)[0]) for child in children)

    assert len(longer) - 1 <= 2 * 2, longer  # one came, one went
    assert len(shorter) - 1 <= 2, shorter
    least = min(size for _, size in [*longer, *shorter] if size is not None)
    assert least >= 256 * 2**20, "however little these tasks take"


MEETING = """
import json, os, sys, time
from adaptive_exec import adaptive_executor

def meet(number):
    folder = sys.argv[1]
    open(f"{folder}/{number}", "w").close()
    end = time.monotonic() + 80
    while not os.path.exists(f"{folder}/{1 - number}"):
        if time.monotonic() > end:
            raise TimeoutError("the other one never came")
        time.sleep(0.01)
    return number

if __name__ == "__main__":
    tell = lambda decision: print(json.dumps(decision), flush=True)
    with adaptive_executor(levels="process", max_workers=2, on_event=tell) as ex:
        if sys.argv[2] == "map":
            assert list(ex.map(meet, range(2), chunksize=1)) == [0, 1]
        else:
            assert [one.result() for one in [ex.submit(meet, 0), ex.submit(meet, 1)]] == [0, 1]
"""


@pytest.mark.slow
@needs_two_cores
@pytest.mark.parametrize("way", ["map", "submit"])
def test_two_tasks_that_wait_for_one_another_meet_beside_a_busy_neighbour(start, tmp_path, way):
    busy = start()
    wait_until(lambda: workers() == [2])
    (tmp_path / "place").mkdir()
    script = tmp_path / "meeting.py"
    script.write_text(MEETING)

    command = [sys.executable, str(script), str(tmp_path / "place"), way]
    child = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert busy.poll() is None
    assert child.returncode == 0, child.stderr
    decisions = [json.loads(line) for line in child.stdout.splitlines()]
    told = [one for one in decisions if one["reason"] == "core_unused"]
    assert 1 <= len(told) <= 2
    assert told[0]["facts"]["used"] <= 0.1 * max(1.0, told[0]["facts"]["past"])
