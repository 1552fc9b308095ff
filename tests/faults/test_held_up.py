"""Users' code and disks that hang hold up neither the brake, nor a time-out, nor another batch."""

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from adaptive_exec import TaskTimeoutError, adaptive_executor
from tests.levels.leaks import eventually, is_alive

HANG_SECONDS = 120.0
LIMIT_SECONDS = 1.0
"""A hundred times what other tasks take."""
STRIKE_SECONDS = 10.0
"""Seconds that a time-out may be late, 0.2 on an idle host; whom the hang held up is much later."""
FREEZE = """
set -e
truncate -s 64M "$1/disk"
mkfs.ext4 -q "$1/disk"
mkdir "$1/mounted"
mount -o loop "$1/disk" "$1/mounted"
"""


class Hang:
    """Hangs wherever it is used, until it is let go; holds up nothing once it was."""

    def __init__(self):
        self.entered = threading.Event()
        self.over = threading.Event()

    def __call__(self, *_):
        self.entered.set()
        self.over.wait(HANG_SECONDS)


hang = Hang()


@pytest.fixture(autouse=True)
def fresh_hang():
    hang.__init__()
    yield
    hang.over.set()


class HangsWhenUnpacked:
    def __reduce__(self):
        return _unpack, ()


class HangsWhenPacked:
    def __reduce__(self):
        if os.getpid() == _HERE:
            hang()
        return int, ()


_HERE = os.getpid()


def _unpack():
    if os.getpid() == _HERE:
        hang()
    return 0


def make_one(_):
    return HangsWhenUnpacked()


def write_pid(path):
    whole = path.with_suffix(".new")  # who waits for the file finds it whole
    whole.write_text(str(os.getpid()))
    whole.replace(path)
    time.sleep(1000)


def same(value):
    return value


def nap(value):
    time.sleep(0.01)
    return value


class HangingHandler(logging.Handler):
    def emit(self, record):
        hang()


@contextlib.contextmanager
def callback(tmp_path):
    with adaptive_executor(isolate=True, task_timeout=LIMIT_SECONDS) as executor:
        future = executor.submit(nap, 1)
        future.add_done_callback(hang)
        assert future.result(30) == 1
        yield executor
        hang.over.set()


@contextlib.contextmanager
def on_event(tmp_path):
    with adaptive_executor(isolate=True, task_timeout=LIMIT_SECONDS, on_event=hang) as executor:
        executor.submit(nap, 1)
        yield executor
        hang.over.set()


@contextlib.contextmanager
def log_handler(tmp_path):
    logger, handler = logging.getLogger("adaptive_exec"), HangingHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with adaptive_executor(isolate=True, task_timeout=LIMIT_SECONDS) as executor:
            executor.submit(nap, 1)
            yield executor
            hang.over.set()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextlib.contextmanager
def result_of_a_call(tmp_path):
    with adaptive_executor(isolate=True, task_timeout=LIMIT_SECONDS) as executor:
        future = executor.submit(make_one, 1)
        yield executor
        hang.over.set()
        assert future.result(30) == 0


@contextlib.contextmanager
def result_of_a_map(tmp_path):
    with adaptive_executor(isolate=True, task_timeout=LIMIT_SECONDS) as executor:
        results = executor.map(make_one, [1])
        taker = threading.Thread(target=list, args=(results,))
        taker.start()
        yield executor
        hang.over.set()
        taker.join(30)


@contextlib.contextmanager
def argument(tmp_path):
    with adaptive_executor(isolate=True, task_timeout=LIMIT_SECONDS) as executor:
        future = executor.submit(same, HangsWhenPacked())
        yield executor
        hang.over.set()
        assert future.result(30) == 0


WAYS = [callback, on_event, log_handler, result_of_a_call, result_of_a_map, argument]


@pytest.mark.parametrize("way", WAYS)
def test_a_time_out_strikes_in_time_whatever_hangs(way, tmp_path):
    with way(tmp_path) as executor:
        assert hang.entered.wait(30)
        path = tmp_path / "pid"
        (outcome,) = executor.outcomes(write_pid, [path])
        late_seconds = time.time() - path.stat().st_mtime - LIMIT_SECONDS
    assert type(outcome.error) is TaskTimeoutError
    assert late_seconds < STRIKE_SECONDS


@pytest.mark.parametrize("way", WAYS)
def test_other_batches_go_on_whatever_hangs(way, tmp_path):
    with way(tmp_path) as executor:
        assert hang.entered.wait(30)
        assert list(executor.map(same, range(1000))) == list(range(1000))
        assert executor.submit(same, 5).result(60) == 5
        assert not hang.over.is_set()


def test_callbacks_run_one_after_the_other_in_the_order_of_the_results():
    order, inside = [], []

    def note(future):
        inside.append(1)
        time.sleep(0.002)
        assert len(inside) == 1
        inside.pop()
        order.append(future.result())

    with adaptive_executor(isolate=True, max_workers=1) as executor:
        for number in range(30):
            executor.submit(nap, number).add_done_callback(note)
    assert order == list(range(30))


def test_a_callback_may_wait_for_another_call():
    found = []
    with adaptive_executor(isolate=True) as executor:
        first = executor.submit(nap, 1)
        first.add_done_callback(lambda _: found.append(executor.submit(nap, 2).result(60)))
        first.result(60)
        assert eventually(lambda: found == [2])


@pytest.fixture
def frozen_disk(tmp_path):
    """Give a file system that can be frozen, so that whoever writes to it stands still."""
    folder = tmp_path / "mounted"
    try:
        subprocess.run(["sh", "-c", FREEZE, "sh", str(tmp_path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs a loop device and ext4, got {error}")
    try:
        yield folder
    finally:
        subprocess.run(["fsfreeze", "-u", str(folder)], check=False, capture_output=True)
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def test_a_journal_whose_disk_stands_still_delays_no_time_out(frozen_disk, tmp_path):
    path, journal = tmp_path / "pid", frozen_disk / "batch.journal"
    with adaptive_executor(task_timeout=LIMIT_SECONDS, max_workers=2, journal=journal) as executor:
        results = executor.outcomes(_write_pid_or_nap, [path, *range(300)], chunksize=1)
        assert eventually(path.exists)
        subprocess.run(["fsfreeze", "-f", str(frozen_disk)], check=True)
        pid = int(path.read_text())
        try:
            assert eventually(lambda: not is_alive(pid), seconds=LIMIT_SECONDS + STRIKE_SECONDS)
            with adaptive_executor(isolate=True) as other:
                assert list(other.map(same, range(100))) == list(range(100))
        finally:
            subprocess.run(["fsfreeze", "-u", str(frozen_disk)], check=True)
        found = {outcome.index: outcome for outcome in results}
    assert type(found.pop(0).error) is TaskTimeoutError
    assert [found[index].value for index in sorted(found)] == list(range(300))


def _write_pid_or_nap(value):
    return nap(value) if isinstance(value, int) else write_pid(value)


def test_a_stopped_zygote_delays_no_kill(tmp_path):
    path = tmp_path / "pid"
    with adaptive_executor(isolate=True, task_timeout=LIMIT_SECONDS, max_workers=1) as executor:
        results = executor.outcomes(write_pid, [path])
        assert eventually(path.exists)
        pid = int(path.read_text())
        zygote = int(_state_of(pid)[1])
        os.kill(zygote, signal.SIGSTOP)
        began = path.stat().st_mtime
        assert eventually(lambda: _has_ended(pid))
        late_seconds = time.time() - began - LIMIT_SECONDS
        (outcome,) = results
    assert late_seconds < STRIKE_SECONDS
    assert type(outcome.error) is TaskTimeoutError


def _has_ended(pid):
    try:
        return _state_of(pid)[0] in {"Z", "X"}
    except OSError:
        return True


def _state_of(pid):
    """Return the fields of /proc/<pid>/stat from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
