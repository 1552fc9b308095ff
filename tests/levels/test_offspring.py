"""What a task has started takes memory for it, and is measured with its worker."""

import contextlib
import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from adaptive_exec.levels import meter, offspring
from adaptive_exec.levels.offspring import LOOK_SECONDS, Offspring
from adaptive_exec.levels.own_memory import SharedGrowth
from adaptive_exec.levels.worker import Worker
from tests.levels.ladder import ISOLATED, LEVELS, executor_at
from tests.levels.leaks import eventually

MB = 10**6
HELD_BYTES = 60 * MB
HOLD = f"block = bytearray(b'x') * {HELD_BYTES}; print(flush=True); input()"

pytestmark = pytest.mark.skipif(
    not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists(),
    reason="needs a kernel that tells children",
)


def wait_until_seen():
    """Wait until the parent has told this worker of what the running task has started."""
    frame = sys._getframe()
    while not isinstance(worker := frame.f_locals.get("self"), Worker):
        frame = frame.f_back
    eventually(lambda: worker._slate.offspring()[0] >= HELD_BYTES)


def hold_until_seen(command):
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        wait_until_seen()
        child.communicate(b"\n")
    return child.returncode


def take(_):
    return hold_until_seen([sys.executable, "-S", "-c", HOLD])


def take_further_down(_):
    command = shlex.join([sys.executable, "-S", "-c", HOLD])
    return hold_until_seen(["sh", "-c", f"{command}; true"])


def take_forked(_):
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(write_end)
        block = bytearray(b"x") * HELD_BYTES
        os.read(read_end, 1)
        os._exit(len(block) != HELD_BYTES)
    os.close(read_end)
    wait_until_seen()
    os.close(write_end)
    return os.waitpid(pid, 0)[1]


WAYS = {"child": take, "grandchild": take_further_down, "fork": take_forked}


def take_in(way):
    return WAYS[way](way)


@pytest.mark.parametrize("row", ISOLATED)
def test_what_tasks_start_counts_with_them(row):
    with executor_at(row, max_workers=len(WAYS)) as executor:
        outcomes = list(executor.outcomes(take_in, WAYS))
    assert [outcome.value for outcome in outcomes] == [0, 0, 0]
    peaks = {way: outcome.peak_bytes for way, outcome in zip(WAYS, outcomes, strict=True)}
    assert min(peaks.values()) >= HELD_BYTES, peaks
    assert max(peaks["child"], peaks["grandchild"]) < 2 * HELD_BYTES, peaks


@contextlib.contextmanager
def holder():
    """Yield a child that holds so much until it is told to end."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-S", "-c", HOLD], **pipes) as child:
        child.stdout.readline()
        try:
            yield child
        finally:
            child.communicate(b"\n")


@contextlib.contextmanager
def watched():
    offspring = Offspring(os.getpid())
    offspring.look(0.0)
    offspring.end()  # what this process has started before does not count
    try:
        yield offspring
    finally:
        offspring.close()


def test_a_child_counts_while_it_is_there():
    with watched() as offspring:
        with holder():
            assert offspring.look(1.0)
            assert HELD_BYTES <= offspring.bytes < 2 * HELD_BYTES
            assert offspring.peak_bytes >= offspring.bytes
        offspring.look(2.0)
        assert offspring.bytes == 0


def test_what_an_earlier_chunk_has_left_does_not_count():
    with watched() as offspring, holder():
        offspring.look(1.0)
        offspring.end()
        assert not offspring.look(2.0)
        assert offspring.bytes == offspring.peak_bytes == 0
        with holder():
            assert offspring.look(3.0)
            assert HELD_BYTES <= offspring.bytes < 2 * HELD_BYTES


def test_children_of_another_thread_count():
    begun, end = threading.Event(), threading.Event()

    def hold():
        with holder():
            begun.set()
            end.wait(60)

    with watched() as offspring:
        thread = threading.Thread(target=hold)
        thread.start()
        try:
            assert begun.wait(60)
            assert offspring.resident_bytes()  # which tells of threads
            assert offspring.look(1.0)
            assert offspring.bytes >= HELD_BYTES
        finally:
            end.set()
            thread.join()


def test_a_forked_child_counts_with_what_it_does_not_share():
    block = bytearray(b"x") * (4 * HELD_BYTES)  # far more than this process writes to meanwhile
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    os.close(read_end)
    try:
        with watched() as offspring:
            offspring._left = frozenset()
            offspring.look(1.0)
            assert offspring.look(1.0 + 2 * LOOK_SECONDS)
            assert offspring.bytes < len(block) / 2
    finally:
        os.close(write_end)
        os.waitpid(pid, 0)


@contextlib.contextmanager
def growing():
    """Yield the growth of this process while its own thread runs the first chunk of worker 1."""
    growth = SharedGrowth()
    growth.join(1)
    growth.begin(1)
    try:
        yield growth
    finally:
        growth.close()


def test_what_a_task_in_a_thread_starts_counts_with_it():
    with growing() as growth:
        with holder():
            assert HELD_BYTES <= growth.parts()[0][1] < 2 * HELD_BYTES
        assert HELD_BYTES <= growth.end(1, 1.0) < 2 * HELD_BYTES


def test_two_threads_have_a_part_each_of_what_both_have_started():
    with growing() as growth, holder():
        growth.begin(2)
        parts = dict(growth.parts())
        assert parts[1] == parts[2] >= HELD_BYTES // 2


def test_what_was_there_before_threads_had_tasks_does_not_count():
    with holder(), growing() as growth, holder():
        assert HELD_BYTES <= growth.parts()[0][1] < 2 * HELD_BYTES


def test_who_starts_workers_is_no_task():
    with growing() as growth, holder() as child:
        offspring.HOUSEHOLD.add(child.pid)
        try:
            assert growth.parts()[0][1] < HELD_BYTES
        finally:
            offspring.HOUSEHOLD.discard(child.pid)


def test_a_thread_level_that_is_closed_leaves_no_file_open():
    before = open_files()
    with growing() as growth:
        growth.parts()
    assert growth.end(1, 1.0) is None
    assert open_files() <= before


def test_threads_are_looked_at_soon_after_they_began_and_not_while_none_runs():
    with growing() as growth:
        now = time.monotonic()
        assert growth.watch(now) <= now + LOOK_SECONDS
        assert growth.watch(now + 1.0) > now + 1.0
        growth.end(1, 1.0)
        assert growth.watch(now + 2.0) is None


@pytest.mark.parametrize("row", LEVELS)
def test_no_level_keeps_the_number_of_a_worker_that_has_ended(row):
    with executor_at(row) as executor:
        assert list(executor.map(abs, range(8))) == list(range(8))
    eventually(lambda: not offspring.HOUSEHOLD)


def open_files():
    return set(Path(f"/proc/{os.getpid()}/fd").iterdir())


def test_many_children_leave_no_file_open():
    before = open_files()
    children = [
        subprocess.Popen(["sleep", "60"])  # wherever it is
        for _ in range(20)
    ]
    try:
        with watched() as offspring:
            offspring._left = frozenset()
            assert offspring.look(1.0)
            assert len(open_files() - before) < 20
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert open_files() <= before


class Slate:
    def __init__(self):
        self.seen = 0, 0

    def offspring(self):
        return self.seen

    def forget_offspring(self):
        self.seen = 0, 0


@pytest.mark.parametrize(
    ("seconds", "largest", "seen", "expected"),
    [
        pytest.param(0.0, 200 * MB, 0, 0, id="none has ended and none was seen"),
        pytest.param(0.0, 200 * MB, 30 * MB, 30 * MB, id="one was seen that lives on"),
        pytest.param(0.5, 20 * MB, 0, 0, id="those that take less than the worker are not known"),
        pytest.param(0.5, 300 * MB, 0, 300 * MB, id="the largest that ever was is known"),
        pytest.param(0.5, 300 * MB, 400 * MB, 400 * MB, id="several were seen at once"),
        pytest.param(0.01, 900 * MB, 0, 108 * MB, id="as far as it can have been filled"),
        pytest.param(0.5, 200 * MB, 0, 200 * MB, id="one may be as large as the largest"),
        pytest.param(0.01, 200 * MB, 0, 27 * MB, id="but not have filled more than time allows"),
        pytest.param(0.01, 200 * MB, 50 * MB, 77 * MB, id="since it was seen"),
    ],
)
def test_what_has_ended_is_known_by_the_largest(seconds, largest, seen, expected, monkeypatch):
    slate, most, used = Slate(), [200 * MB], [1.0]
    monkeypatch.setattr(meter, "_most_bytes", lambda **_: most[0])
    monkeypatch.setattr(meter, "_used_by_children", lambda: used[0])
    offspring = meter.EndedChildren(slate)
    used[0] += 1.0
    assert offspring.read(30 * MB) == 200 * MB

    offspring.begin()
    used[0] += seconds
    most[0] = largest
    slate.seen = seen, 0
    assert offspring.read(30 * MB) == pytest.approx(expected, abs=2)
