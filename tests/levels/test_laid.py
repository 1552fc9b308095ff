"""What functions carry is laid down once for a loop of maps, as long as it is the same."""

import os

import numpy as np
import psutil
import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.levels import laid, told
from adaptive_exec.levels.functions import pack_function
from tests.levels import work
from tests.levels.test_what_leaves import eventually, shared_files

MEGABYTE = 1 << 20


def free_bytes():
    return psutil.virtual_memory().available


@pytest.fixture(autouse=True)
def much_time(monkeypatch):
    """Between two maps no moment is too long."""
    monkeypatch.setattr(told, "IDLE_SECONDS", 600)


@pytest.fixture(autouse=True)
def count(monkeypatch):
    counted = []
    share = laid.share

    def share_and_count(parts, size):
        counted.append(size)
        return share(parts, size)

    monkeypatch.setattr(laid, "share", share_and_count)
    return counted


def add(array, number):
    return lambda one: int(array[-1]) + number * one


def write(array):
    def write_and_say(_):
        before = int(array[0])
        array[0] = 99
        return before

    return write_and_say


def test_functions_over_one_array_find_it_where_it_lies(count):
    array = np.zeros(4 * MEGABYTE, np.uint8)
    first, second = pack_function(add(array, 1)), pack_function(add(array, 2))
    assert first.laid == second.laid != ()
    assert first.body != second.body
    assert len(count) == 1


@pytest.mark.parametrize("place", [0, 2 * MEGABYTE + 1, -1], ids=["first", "inner", "last"])
def test_a_single_other_byte_is_other_content(place, count):
    array = np.zeros(4 * MEGABYTE, np.uint8)
    first = pack_function(add(array, 1))
    array[place] = 1
    second = pack_function(add(array, 1))
    assert first.laid != second.laid
    assert len(count) == 2


def test_a_long_pickle_lies_with_the_rest(count):
    text = [str(number) for number in range(300_000)]
    first, second = (pack_function(lambda: text[0]) for _ in range(2))
    assert first.laid == second.laid != ()
    assert len(count) == 1


def test_what_nobody_carries_any_more_makes_room_for_what_takes_its_place():
    array = np.zeros(4 * MEGABYTE, np.uint8)
    function = pack_function(add(array, 1))
    (held,) = function.laid  # as a worker's place at the table does
    assert shared_files() == 1
    array[0] = 1
    other = pack_function(add(array, 1))
    assert shared_files() == 2, "both are carried"
    del function
    array[0] = 2
    assert pack_function(add(array, 1)).laid != other.laid
    assert held.piece is None
    assert shared_files() == 1


def test_of_what_nobody_carries_so_much_stays_as_an_arena_has(monkeypatch):
    monkeypatch.setattr(laid, "ARENA_BYTES_MAX", 10 * MEGABYTE)
    arrays = [np.zeros(size * MEGABYTE, np.uint8) for size in (2, 3, 4, 5)]
    held = [one for array in arrays for one in pack_function(add(array, 1)).laid]
    assert [one.piece is not None for one in held] == [False, False, True, True]


def sums(*arrays):
    return lambda one: one + sum(int(array.sum()) for array in arrays)


@pytest.mark.parametrize("size", [4 * MEGABYTE, 3 * MEGABYTE], ids=["alike", "of two sizes"])
def test_of_several_arrays_only_the_one_that_changed_is_laid_again(size, count):
    arrays = [np.zeros(one, np.uint8) for one in (4 * MEGABYTE, size, 4 * MEGABYTE)]
    for array, number in zip(arrays, (1, 2, 3), strict=True):
        array[0] = number
    first = pack_function(sums(*arrays)).laid
    del count[:]
    arrays[1][-1] = 7
    second = pack_function(sums(*arrays)).laid
    assert count == [size]
    assert [one is other for one, other in zip(first, second, strict=True)] == [True, False, True]


def test_arrays_that_change_in_turn_arrive_as_they_are_and_are_laid_alone(count):
    arrays = [np.full(2 * MEGABYTE, number, np.uint8) for number in range(3)]
    small = np.arange(20_000)  # lies with all else
    with adaptive_executor(levels="process", max_workers=2) as executor:
        for turn in range(6):
            arrays[turn % 3][turn] += 1
            wanted = sum(int(one.sum()) for one in (*arrays, small))
            assert set(executor.map(sums(*arrays, small), [0] * 4)) == {wanted}
    assert [size for size in count if size >= MEGABYTE] == [2 * MEGABYTE] * 8  # three, then each


def test_of_very_many_arrays_the_largest_have_files_of_their_own():
    arrays = [np.full(MEGABYTE + 64 * number, 1, np.uint8) for number in range(20)]
    packed = pack_function(sums(*arrays))
    assert packed.spread.apart == tuple(range(4, 20))
    assert packed.spread.rest.lengths[1:] == tuple(MEGABYTE + 64 * one for one in range(4))
    with adaptive_executor(levels="process", max_workers=1) as executor:
        wanted = sum(array.size for array in arrays)
        assert list(executor.map(sums(*arrays), range(4))) == [wanted + one for one in range(4)]


def test_what_is_laid_in_part_only_travels_by_itself(monkeypatch):
    share, given = laid.share, []

    def share_twice(parts, size):
        given.append(size)
        return share(parts, size) if len(given) <= 2 else None

    monkeypatch.setattr(laid, "share", share_twice)
    arrays = [np.full(2 * MEGABYTE, number, np.uint8) for number in range(3)]
    packed = pack_function(sums(*arrays))
    assert not packed.laid
    assert len(packed.body) > 6 * MEGABYTE
    assert not laid._all()


def test_a_child_of_the_caller_lays_down_its_own():
    array = np.zeros(4 * MEGABYTE, np.uint8)
    function = pack_function(add(array, 1))
    pid = os.fork()
    if pid == 0:
        own = pack_function(add(array, 1))
        os._exit(own.laid == function.laid or shared_files() != 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_loop_of_maps_lays_down_once_what_stays_the_same(count):
    array = np.zeros(4 * MEGABYTE, np.uint8)
    with adaptive_executor(levels="process", max_workers=2) as executor:
        for number in range(6):
            made = list(executor.map(add(array, number), range(8)))
            assert made == [number * one for one in range(8)]
            assert sum(executor.map(work.same, range(8))) == 28  # others need nothing of it
        assert len(count) == 1


def test_a_loop_of_calls_lays_down_once_what_stays_the_same(count):
    array = np.zeros(4 * MEGABYTE, np.uint8)
    with adaptive_executor(levels="process", max_workers=2) as executor:
        for number in range(6):
            assert executor.submit(add(array, number), 1).result(60) == number
        assert len(count) == 1


def test_an_array_that_is_changed_in_place_arrives_as_it_is():
    array = np.zeros(4 * MEGABYTE, np.uint8)
    with adaptive_executor(levels="process", max_workers=2) as executor:
        for number in range(6):
            array[-1] = number // 2
            assert set(executor.map(add(array, 0), range(8))) == {number // 2}
            assert executor.submit(add(array, 0), 0).result(60) == number // 2


def test_what_tasks_write_into_it_the_next_map_does_not_find():
    array = np.zeros(4 * MEGABYTE, np.uint8)
    with adaptive_executor(levels="process", max_workers=1) as executor:
        for _ in range(3):
            assert list(executor.map(write(array), range(4))) == [0, 99, 99, 99]
    assert array[0] == 0


def test_nothing_of_it_is_left_when_its_executor_ends():
    array = np.zeros(4 * MEGABYTE, np.uint8)
    with adaptive_executor(levels="process", max_workers=2) as executor:
        assert sum(executor.map(add(array, 1), range(8))) == 28
    assert eventually(lambda: shared_files() == 0)
    assert not laid._all()


@pytest.mark.slow
@pytest.mark.skipif(free_bytes() < 6 << 30, reason="less than 6 GiB of memory is free")
def test_functions_over_more_than_two_gigabytes_run_in_workers():
    array = np.zeros((2 << 30) + 4096, np.uint8)  # of which this process has the last page alone
    array[-1] = 7
    with adaptive_executor(levels="process", max_workers=2) as executor:
        assert list(executor.map(add(array, 1), range(4))) == [7, 8, 9, 10]
        assert executor.submit(add(array, 1), 4).result(120) == 11
        assert executor.report.levels == ("process",)
