"""What belongs to a batch goes with it: in the caller, in the zygote and in the workers."""

import contextlib
import functools
import os
import signal
import time
import weakref
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest

from adaptive_exec import adaptive_executor
from tests.levels import work
from tests.levels.ladder import ISOLATED, LEVELS, executor_at
from tests.levels.leaks import eventually, workers

MEGABYTE = 1 << 20
LARGE = 40 * MEGABYTE
NOISE = 24 * MEGABYTE
"""By how much a process may grow with what its first tasks import and leave."""
FEW = 25
"""Descriptors that an executor with two workers may have; 50 maps came and went."""


class Payload:
    """Something that a closure holds; it can be seen to go."""

    def __init__(self, size=0):
        self.array = np.ones(size, np.uint8)


def add_with(payload):
    return lambda number: number + len(payload.array)


def own_bytes(process):
    """Return what a process has for itself: not what it shares with those it was forked from."""
    memory = process.memory_full_info()
    return memory.uss


def own_bytes_of_all(executor, count=2):
    """Return what each worker has for itself, once as many as there will be have run tasks."""
    assert eventually(
        lambda: len(set(executor.map(work.slow_pid, range(2 * count), chunksize=1))) == count
    )
    return {process.pid: own_bytes(process) for process in workers()}


def shared_files():
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # another thread has closed it
            count += "adaptive-exec-piece" in str(link.readlink())
    return count


@pytest.mark.parametrize("size", [0, 2 * MEGABYTE], ids=["small", "large"])
@pytest.mark.parametrize("level", LEVELS)
def test_the_caller_lets_go_of_a_function_whose_map_is_over(level, size):
    with executor_at(level) as executor:
        for way in ("map", "map_unordered", "outcomes"):
            payload = Payload(size)
            seen = weakref.ref(payload)
            results = getattr(executor, way)(add_with(payload), range(9))
            assert len(list(results)) == 9

            del payload
            assert eventually(lambda seen=seen: seen() is None), way


@pytest.mark.parametrize("end", ["dropped", "closed", "never begun", "cut off by an error"])
@pytest.mark.parametrize("level", LEVELS)
def test_the_caller_lets_go_of_a_function_however_its_map_ends(level, end):
    if (level, end) == ("sequential", "never begun"):
        pytest.skip("it runs when the executor is shut down")
    with executor_at(level) as executor:
        payload = Payload(2 * MEGABYTE)
        seen = weakref.ref(payload)
        items = range(50) if end != "cut off by an error" else broken_input()
        results = executor.map(add_with(payload), items)
        if end == "cut off by an error":
            with pytest.raises(ZeroDivisionError):
                list(results)
        elif end != "never begun":
            next(results)
        if end == "closed":
            results.close()
        else:
            del results

        del payload, items
        assert list(executor.map(abs, [-1])) == [1]  # without a thread who calls drives
        assert eventually(lambda: seen() is None)


def broken_input():
    yield 1
    yield 1 / 0


@pytest.mark.parametrize("level", LEVELS)
def test_who_keeps_the_iterator_keeps_no_input(level):
    with executor_at(level) as executor:
        items = [Payload() for _ in range(5)]
        seen = [weakref.ref(item) for item in items]
        results = executor.map(work.pid_of, items)
        assert len(list(results)) == 5

        del items
        assert eventually(lambda: not any(one() for one in seen))
        assert list(results) == []


@pytest.mark.parametrize("level", ISOLATED)
def test_a_worker_lets_go_of_a_function_whose_map_is_over(level):
    with executor_at(level) as executor:
        before = own_bytes_of_all(executor)
        for number in range(4):
            text = [str(number)] * (LARGE // 8)  # no array: each worker has its own
            assert list(executor.map(lambda _, text=text: len(text), range(20))) == [len(text)] * 20

        assert before.keys() >= {process.pid for process in workers()}
        assert eventually(
            lambda: all(own_bytes(one) < before[one.pid] + NOISE for one in workers())
        ), [own_bytes(one) - before[one.pid] for one in workers()]
        assert eventually(lambda: shared_files() == 0)


def test_workers_let_go_of_functions_that_call_each_other():
    text = ["x"] * (LARGE // 8)

    def even(number):
        return len(text) if number == 0 else odd(number - 1)

    def odd(number):
        return 0 if number == 0 else even(number - 1)

    with executor_at("process") as executor:
        before = own_bytes_of_all(executor)
        assert list(executor.map(even, range(20))) == [len(text), 0] * 10

        assert eventually(
            lambda: all(own_bytes(one) < before[one.pid] + NOISE for one in workers())
        )


@pytest.mark.parametrize("level", ISOLATED)
def test_the_arrays_of_a_function_are_there_once_for_all_workers(level, tmp_path):
    array = np.arange(LARGE // 8)
    gate = tmp_path / "gate"

    def sum_up(number):
        if number > 1:
            work.wait_for(gate)
        return int(array.sum())

    with executor_at(level, max_workers=3) as executor:
        before = own_bytes_of_all(executor, 3)
        results = executor.map(sum_up, range(4), chunksize=1)
        assert next(results) == next(results) == array.sum()

        assert shared_files() == 1
        for process in workers():
            assert own_bytes(process) < before[process.pid] + NOISE
        gate.touch()
        assert list(results) == [array.sum()] * 2
        assert eventually(lambda: shared_files() == 0)


def test_no_process_holds_a_function_when_its_map_is_over():
    with executor_at("process", max_workers=1) as executor:
        payload = Tracked()  # small, so that the zygote loads it
        assert list(executor.map(lambda _: payload.count(), range(9), chunksize=1)) == [1] * 9
        assert eventually(lambda: set(executor.map(count_tracked, range(3))) == {0})

        (before,) = set(executor.map(work.pid_of, range(9)))
        os.kill(before, signal.SIGKILL)
        assert eventually(lambda: before not in set(executor.map(work.pid_of, range(9))))
        assert set(executor.map(count_tracked, range(3))) == {0}, "the zygote had it"


class Tracked:
    """Something whose copies are counted in each process."""

    alive: ClassVar = weakref.WeakSet()

    def __reduce__(self):
        return make_tracked, ()

    def count(self):
        return len(self.alive)


def make_tracked():
    made = Tracked()
    Tracked.alive.add(made)
    return made


def count_tracked(_):
    return len(Tracked.alive)


def functions_of(member):
    return member.functions.keys() - {0}  # the first submitted one's module is loaded for good


def test_a_worker_that_is_born_late_is_told_as_well(tmp_path):
    gate = tmp_path / "gate"
    with executor_at("process", max_workers=2) as executor:
        first = executor.submit(work.note_and_wait, tmp_path / "begun", gate)
        assert eventually((tmp_path / "begun").exists)
        for number in range(3):
            assert sum(executor.map(lambda one, to=number: one * to, range(9))) == 36 * number
        runner = executor._driver.runner("process")
        assert eventually(lambda: not any(functions_of(one) for one in runner._members.values()))
        gate.touch()
        assert first.result(60) == "through"


def test_what_a_function_holds_is_what_it_held_when_map_was_called(tmp_path):
    array = np.zeros(2 * MEGABYTE, np.uint8)
    gate = tmp_path / "gate"

    with executor_at("process", max_workers=1) as executor:
        executor.submit(work.note_and_wait, tmp_path / "begun", gate)
        assert eventually((tmp_path / "begun").exists)
        results = executor.map(lambda number: int(array.sum()) + number, [0, 1])
        array[:] = 1
        gate.touch()
        assert list(results) == [0, 1]


def test_what_a_worker_writes_into_the_arrays_of_a_function_no_other_sees():
    array = np.zeros(2 * MEGABYTE, np.uint8)

    def count(_):
        array[0] += 1
        time.sleep(0.02)
        return os.getpid(), int(array[0])

    with executor_at("process") as executor:
        found = list(executor.map(count, range(20), chunksize=1))
        for pid in {pid for pid, _ in found}:
            own = [number for one, number in found if one == pid]
            assert own == list(range(1, len(own) + 1))
    assert array[0] == 0


def total(array, number):
    return int(array.sum()) + number


@pytest.mark.parametrize("size", [100_000, 2 * MEGABYTE], ids=["small", "large"])
@pytest.mark.parametrize("level", ISOLATED)
def test_functions_that_hold_arrays_arrive_whole(level, size):
    held = np.ones(size, np.uint8)
    with executor_at(level) as executor:
        function = functools.partial(total, held)
        assert list(executor.map(function, range(5))) == [size + number for number in range(5)]


_GIVEN = []


@pytest.mark.parametrize("level", ISOLATED)
def test_an_initializer_may_get_arrays(level):
    arrays = (np.ones(100_000, np.uint8), np.ones(2 * MEGABYTE, np.uint8))
    with executor_at(level, initializer=keep, initargs=(arrays,)) as executor:
        assert list(executor.map(sum_given, range(3))) == [100_000 + 2 * MEGABYTE] * 3


def keep(arrays):
    _GIVEN.extend(arrays)


def sum_given(_):
    return sum(int(array.sum()) for array in _GIVEN)


def test_a_loop_of_maps_leaves_nothing_in_the_workers():
    before = psutil.Process().num_fds()
    with adaptive_executor(levels="process", max_workers=2) as executor:
        for number in range(50):
            assert sum(executor.map(lambda one, to=number: one * to, range(4))) == 6 * number
        runner = executor._driver.runner("process")
        assert eventually(lambda: not any(functions_of(one) for one in runner._members.values()))
        assert psutil.Process().num_fds() < before + FEW


@pytest.mark.parametrize("level", ISOLATED)
def test_a_large_function_is_packed_once_for_the_calls_that_wait(level, tmp_path):
    class Counted:
        packed = 0

        def __init__(self):
            self.array = np.ones(4 * MEGABYTE, np.uint8)

        def __reduce__(self):
            Counted.packed += 1
            return Payload, (), {"array": self.array}

    held, gate = Counted(), tmp_path / "gate"
    with executor_at(level) as executor:
        waits = [executor.submit(work.note_and_wait, tmp_path / str(one), gate) for one in range(2)]
        assert eventually(lambda: all((tmp_path / str(one)).exists() for one in range(2)))
        futures = [executor.submit(lambda: int(held.array.sum())) for _ in range(30)]
        gate.touch()
        assert {one.result(60) for one in futures} == {4 * MEGABYTE}
        assert {one.result() for one in waits} == {"through"}

        assert Counted.packed == 1
        assert eventually(lambda: shared_files() == 0)
        runner = executor._driver.runner("process")
        assert eventually(lambda: not any(functions_of(one) for one in runner._members.values()))


def test_a_call_finds_in_a_large_function_what_it_holds_when_the_call_is_made():
    array = np.zeros(2 * MEGABYTE, np.uint8)
    rows = [array]

    def count():
        return len(rows), int(rows[0][0])

    with executor_at("process", max_workers=1) as executor:
        for number in range(5):
            array[0] = number
            assert executor.submit(count).result(60) == (number + 1, number)
            rows.append(None)


def test_the_caller_lets_go_of_a_large_function_of_submitted_calls():
    with executor_at("process") as executor:
        payload = Payload(2 * MEGABYTE)
        seen = weakref.ref(payload)
        futures = [executor.submit(add_with(payload), number) for number in range(9)]
        assert [one.result(60) for one in futures] == [2 * MEGABYTE + one for one in range(9)]

        del payload, futures
        assert eventually(lambda: seen() is None)
        assert eventually(lambda: shared_files() == 0)


def test_many_large_functions_of_submitted_calls_do_not_pile_up():
    with executor_at("process", max_workers=1) as executor:
        most = 0
        for number in range(20):
            held = np.full(2 * MEGABYTE, number, np.uint8)
            assert executor.submit(lambda held=held: int(held[-1])).result(60) == number
            most = max(most, shared_files())
        assert most <= 2
        assert eventually(lambda: shared_files() == 0)


class Broken:
    def __init__(self):
        self.array = np.ones(2 * MEGABYTE, np.uint8)

    def __call__(self):
        return len(self.array)

    def __setstate__(self, state):
        message = "not here"
        raise LookupError(message)


def test_each_call_of_a_large_function_that_cannot_be_loaded_says_why():
    broken = Broken()
    with executor_at("process") as executor:
        futures = [executor.submit(lambda: broken()) for _ in range(4)]  # noqa: PLW0108  # by value
        for future in futures:
            with pytest.raises(LookupError, match="not here"):
                future.result(60)
        assert executor.submit(abs, -3).result(60) == 3


def test_a_large_function_of_submitted_calls_outlives_a_worker(tmp_path):
    array = np.ones(2 * MEGABYTE, np.uint8)

    def die_once():
        if work.executions(tmp_path / "ran") == 0:
            work.note(tmp_path / "ran", 1)
            os.kill(os.getpid(), signal.SIGKILL)
        return int(array.sum())

    with executor_at("process") as executor:
        futures = [executor.submit(die_once) for _ in range(6)]
        assert {one.result(60) for one in futures} == {2 * MEGABYTE}
