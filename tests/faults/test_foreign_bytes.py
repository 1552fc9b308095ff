"""A task may do to its worker's socket and memory what it likes: that is one worker's loss."""

import ctypes
import multiprocessing
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from adaptive_exec import PoisonTaskError, WorkerLostError, adaptive_executor
from adaptive_exec.levels import process, ways
from tests.faults.doom import WAYS, outcomes_of
from tests.levels.ladder import ISOLATED, executor_at
from tests.levels.leaks import descendants, eventually

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="as on Linux")
GARBAGE = b"\xff" * 64
DESCRIPTORS = range(3, 256)
"""All that a worker may hold, but for the streams, which are the caller's."""
WITHIN_SECONDS = 100.0
"""Seconds for a batch in which some workers are lost: 0.5 with a zygote, 5 with loky, if idle;
less than those for which some of them sleep."""
GROWTH_BYTES_MAX = 64 << 20
"""Bytes by which the parent may grow: a length that is believed made it 21 GB."""
EVIL = (13, 55)


def write_garbage():
    for descriptor in DESCRIPTORS:
        try:
            os.write(descriptor, GARBAGE)
        except OSError:
            continue


def write_garbage_from_a_child():
    if os.fork() == 0:
        write_garbage()
        os._exit(0)
    os.wait()


def send_garbage_with_a_descriptor():
    import socket

    for descriptor in DESCRIPTORS:
        try:
            with socket.socket(fileno=os.dup(descriptor)) as link:
                socket.send_fds(link, [GARBAGE], [1])
        except OSError:
            continue


def close_all():
    os.closerange(DESCRIPTORS.start, DESCRIPTORS.stop)


def put_null_over_all():
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        if descriptor != null:
            os.dup2(null, descriptor)


def put_a_pipe_over_all():
    read_end, write_end = os.pipe()
    for descriptor in DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        if descriptor not in (read_end, write_end):
            os.dup2(write_end, descriptor)


def overwrite_shared_memory():
    with pathlib.Path("/proc/self/maps").open() as maps:
        places = [line.split() for line in maps if "memfd:adaptive-exec" in line and "rw-s" in line]
    for place in places:
        start, stop = (int(word, 16) for word in place[0].split("-"))
        ctypes.memset(start, 0xFF, stop - start)


def flip_bits_in_what_is_sent():
    """Have one bit of each long body be another when it comes; the same for a body in a piece."""
    from adaptive_exec.levels import arena, channel

    def flip(part):
        flipped = bytearray(part)
        if len(flipped) > FLIPPED_FROM_BYTES:
            flipped[len(flipped) // 2] ^= 1
        return flipped

    write, put = arena.Arena.write, channel.Outgoing.put
    arena.Arena.write = lambda one, user, parts, size: write(
        one, user, [(at, flip(part)) for at, part in parts], size
    )
    channel.Outgoing.put = lambda one, parts: put(one, [flip(part) for part in parts])


def close_and_stay():
    close_all()
    time.sleep(120)


WAYS_TO_HARM = {
    "garbage": write_garbage, "garbage of a child": write_garbage_from_a_child,
    "garbage with a descriptor": send_garbage_with_a_descriptor, "closed": close_all,
    "closed and busy": close_and_stay, "null": put_null_over_all, "a pipe": put_a_pipe_over_all,
    "memory": overwrite_shared_memory,
}  # fmt: skip


FLIPPED_FROM_BYTES = 70_000
LONG = [{number: number} for number in range(20_000)]
"""Packed, 140 KB of opcodes: of 50 flipped bits one has who reads them fill gigabytes."""


def make_long(number):
    if number in EVIL:
        flip_bits_in_what_is_sent()
    time.sleep(0.001)
    return [number, LONG if number in EVIL else None]


@linux_only
@pytest.mark.parametrize("way", ["map", "outcomes", "submit"])
@pytest.mark.parametrize("is_beside", [True, False], ids=["in a piece", "in-band"])
def test_a_flipped_bit_in_a_long_result_is_its_workers_loss(way, is_beside, monkeypatch):
    if not is_beside:
        for room in (process, ways):
            monkeypatch.setattr(room, "ARENA_BYTES_MAX", 0)
    before_bytes = own_bytes()
    with adaptive_executor(levels="process", max_workers=1) as other:
        others = [other.submit(identity, number) for number in range(50)]
        with executor_at("process") as executor:
            found = outcomes_of(executor, way, make_long, range(80))
        assert [future.result(WITHIN_SECONDS) for future in others] == list(range(50))
    assert own_bytes() - before_bytes < GROWTH_BYTES_MAX
    for number in range(80):
        if number in EVIL:
            assert type(found[number]) is PoisonTaskError
        else:
            assert found[number] == [number, None]


class Harm:
    """A task that does harm to its worker on some inputs."""

    def __init__(self, how, evil=EVIL):
        self.how = how
        self.evil = evil

    def __call__(self, number):
        if number in self.evil:
            WAYS_TO_HARM[self.how]()
        else:
            time.sleep(0.001)
        return number


def identity(number):
    time.sleep(0.002)
    return number


def own_bytes():
    return psutil.Process().memory_info().rss


@linux_only
@pytest.mark.parametrize("level", ISOLATED)
@pytest.mark.parametrize("how", WAYS_TO_HARM)
def test_a_task_that_harms_its_workers_link_is_that_workers_loss(level, how):
    before_bytes, before = own_bytes(), time.monotonic()
    with adaptive_executor(levels="process", max_workers=1) as other:
        others = [other.submit(identity, number) for number in range(50)]
        with executor_at(level) as executor:
            found = outcomes_of(executor, "outcomes", Harm(how), range(80))
            assert outcomes_of(executor, "submit", identity, range(10)) == dict(
                zip(range(10), range(10), strict=True)
            )
        assert [future.result(WITHIN_SECONDS) for future in others] == list(range(50))
    assert time.monotonic() - before < WITHIN_SECONDS
    assert own_bytes() - before_bytes < GROWTH_BYTES_MAX
    for number in range(80):
        if number not in EVIL:
            assert found[number] == number
        else:  # what the worker had finished before its harm was seen counts
            assert found[number] == number or type(found[number]) is PoisonTaskError


@linux_only
@pytest.mark.parametrize("how", ["garbage", "closed", "memory"])
def test_where_nothing_may_run_twice_harm_ends_what_had_begun(how):
    with executor_at("process", retries=0) as executor:
        found = outcomes_of(executor, "outcomes", Harm(how), range(80))
    for number, outcome in found.items():
        assert outcome == number or type(outcome) is WorkerLostError
    lost = [number for number in found if found[number] != number]
    assert len(lost) < 60


def fork_and_go_on(number):
    os.fork()
    return number


def fork_and_sleep(number):
    if os.fork() == 0:
        time.sleep(60)
    return number


def fork_and_raise(number):
    if os.fork() == 0:
        sys.stderr = None
        raise ValueError(number)
    return number


def fork_and_exit(number):
    if os.fork() == 0:
        sys.exit(7)
    return number * os.waitstatus_to_exitcode(os.wait()[1]) // 7


def fork_without_python(number):
    ctypes.PyDLL(None).fork()
    return number


def fork_in_a_thread(number):
    thread = threading.Thread(target=os.fork)
    thread.start()
    thread.join()
    return number


@linux_only
@pytest.mark.parametrize("level", ISOLATED)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "task",
    [fork_and_go_on, fork_and_sleep, fork_and_raise, fork_and_exit, fork_without_python,
     fork_in_a_thread],
)  # fmt: skip
def test_a_forked_child_of_a_task_does_not_speak_for_the_worker(level, way, task):
    with executor_at(level) as executor:
        found = outcomes_of(executor, way, task, range(100))
    assert found == {number: number for number in range(100)}
    assert eventually(lambda: not [one for one in descendants() if not is_lokys(one)])


def is_lokys(process):
    try:
        return "resource_tracker" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return True


@linux_only
@pytest.mark.parametrize("level", ISOLATED)
def test_a_child_that_kills_its_worker_is_that_tasks_fault(level):
    with executor_at(level) as executor:
        found = outcomes_of(executor, "outcomes", fork_and_kill, range(40))
    assert type(found.pop(7)) is PoisonTaskError
    assert found == {number: number for number in range(40) if number != 7}


def fork_and_kill(number):
    if number == 7 and os.fork() == 0:
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(0)
    if number == 7:
        time.sleep(60)
    return number


def fork_and_tell(number):
    del number
    return os.fork()


@linux_only
def test_a_child_of_a_task_in_a_thread_ends_with_its_task():
    with executor_at("thread", max_workers=2) as executor:
        children = list(executor.map(fork_and_tell, range(3)))
    assert 0 not in children
    for child in children:
        pidfd = os.pidfd_open(child)
        ended, _, _ = select.select([pidfd], [], [], WITHIN_SECONDS)
        os.close(pidfd)
        assert ended
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def use_children(number):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        number = pool.apply(identity, (number,))
    process = multiprocessing.get_context("fork").Process(target=identity, args=(number,))
    process.start()
    process.join()
    assert process.exitcode == 0
    return int(subprocess.run(["echo", str(number)], capture_output=True, check=True).stdout)


@linux_only
@pytest.mark.parametrize("level", ISOLATED)
def test_children_that_go_their_own_way_work_as_ever(level):
    with executor_at(level) as executor:
        assert list(executor.map(use_children, range(8))) == list(range(8))


PRINTS = """
import os, sys
from adaptive_exec import adaptive_executor

def task(number):
    print("line", number)
    os.fork()
    return number

if __name__ == "__main__":
    with adaptive_executor(levels="process", max_workers=1) as executor:
        assert list(executor.map(task, range(20))) == list(range(20))
"""


@linux_only
def test_what_was_printed_before_a_fork_is_printed_once():
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], capture_output=True, text=True, timeout=60, check=True
    )
    assert sorted(done.stdout.splitlines()) == sorted(f"line {number}" for number in range(20))
