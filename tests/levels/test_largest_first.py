"""The largest tasks begin first where that is asked for; results keep the order of the input."""

from functools import partial
from pathlib import Path

import pytest

from tests.levels.ladder import LEVELS, executor_at

SIZES = [3, 1, 9, 4, 7, 2, 8, 5, 6, 11, 10, 12]


def note(path, size):
    with Path(path).open("a") as file:
        file.write(f"{size} ")
    return -size


def begun(path) -> list[int]:
    return [int(word) for word in path.read_text().split()]


@pytest.mark.parametrize("level", LEVELS)
def test_the_largest_begin_first_and_results_come_in_the_order_of_the_input(level, tmp_path):
    path = tmp_path / "begun"
    paths = [str(path)] * len(SIZES)
    with executor_at(level, order="largest", size=lambda _, size: size, max_workers=1) as executor:
        results = list(executor.map(note, paths, SIZES, chunksize=1))

    assert results == [-size for size in SIZES]
    assert begun(path) == sorted(SIZES, reverse=True)


def note_length(path, data):
    note(path, len(data))
    return len(data)


def test_what_an_argument_shows_counts_where_nothing_is_said(tmp_path):
    path = tmp_path / "begun"
    tasks = [b"x" * size for size in SIZES]
    with executor_at("process", order="largest", max_workers=1) as executor:
        assert list(executor.map(partial(note_length, path), tasks, chunksize=1)) == SIZES

    assert begun(path) == sorted(SIZES, reverse=True)


def test_a_buffer_bounds_how_far_ahead_the_largest_is_looked_for(tmp_path):
    path = tmp_path / "begun"
    with executor_at("process", order="largest", size=lambda _, size: size, max_workers=1) as one:
        paths = [str(path)] * len(SIZES)
        results = one.map(note, paths, SIZES, chunksize=1, buffersize=4)
        assert next(results) == -SIZES[0]
        assert list(results) == [-size for size in SIZES[1:]]

    assert begun(path)[:3] == sorted(SIZES[:4], reverse=True)[:3]
    assert sorted(begun(path)) == sorted(SIZES)


def test_an_input_without_a_length_keeps_its_order(tmp_path):
    path = tmp_path / "begun"
    with executor_at("process", order="largest", size=lambda task: task[1], max_workers=1) as one:
        tasks = ((str(path), size) for size in SIZES)
        results = list(one.map(note_pair, tasks, chunksize=1))

    assert results == [-size for size in SIZES]
    assert begun(path) == SIZES


def note_pair(task):
    return note(*task)
