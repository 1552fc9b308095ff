"""What tells of a task's size is found by trying; what was never seen is not guessed small."""

from random import Random

import pytest

from adaptive_exec.config import MIB
from adaptive_exec.core.bounds import unbounded
from adaptive_exec.core.memory.sizes import NUMBERS_MAX, SAMPLES_KEPT, Measure, Sizing, join

MB = 10**6


def learned(sizing: Sizing, *tasks, flat_bytes: float | None = None) -> Sizing:
    """Learn `(numbers, megabytes)` one after the other; without a `flat` the highest so far."""
    for numbers, megabytes in tasks:
        flat = sizing.highest_bytes if flat_bytes is None else flat_bytes
        index = sizing.tasks
        sizing.learn(Measure(1, numbers), int(megabytes * MB), 1.0, index=index, flat_bytes=flat)
    return sizing


def said(sizing: Sizing, *numbers: float, index: int = 10**6) -> tuple[float, bool]:
    expected = sizing.expect(numbers, index)
    return expected.bytes / MB, expected.is_known


def test_nothing_is_said_before_anything_was_measured():
    assert said(Sizing(), 7.0) == (0, True)


def test_of_like_tasks_nothing_speaks():
    sizing = learned(Sizing(), *[((10.0,), 50)] * 20)

    assert sizing.speaker is None
    assert said(sizing, 10.0) == (0, True)


def test_two_kinds_of_sizes_are_told_apart_after_one_of_each():
    sizing = learned(Sizing(), *[((10.0, 5.0), 10)] * 60, ((200.0, 5.0), 200), flat_bytes=10 * MB)

    assert said(sizing, 200.0, 5.0)[0] == pytest.approx(212, abs=10)
    assert said(sizing, 10.0, 5.0)[0] == pytest.approx(12.6, abs=3)


@pytest.mark.parametrize("place", range(NUMBERS_MAX))
def test_the_number_that_tells_is_found_among_others(place: int):
    random, sizing = Random(place), Sizing()
    for index in range(60):
        size = random.uniform(10, 100)
        numbers = [float(index), random.uniform(0, 1000), 4.0, random.uniform(0, 9)]
        numbers[place] = size
        learned(sizing, (tuple(numbers), 3 * size), flat_bytes=290 * MB)

    numbers = [30.0, 500.0, 4.0, 5.0]
    numbers[place] = 20.0
    assert sizing.speaker is not None
    assert sizing.speaker[0] == place
    assert 60 <= said(sizing, *numbers)[0] <= 100


def test_a_curve_is_followed_by_those_nearest():
    random, sizing = Random(1), Sizing()
    for _ in range(100):
        size = random.uniform(1, 20)
        learned(sizing, ((size,), size * size), flat_bytes=400 * MB)

    assert 100 <= said(sizing, 10.0)[0] <= 250


def test_what_is_larger_than_any_before_is_unknown_and_scaled():
    sizing = learned(Sizing(), *[((10.0,), 50)] * 5)

    assert said(sizing, 15.0) == (0, True)
    assert said(sizing, 100.0) == (500, False)


def test_a_number_that_counts_the_tasks_is_no_size():
    sizing = Sizing()
    for index in range(3):
        assert said(sizing, 100.0 + 4.0 * index, index=4 * index) == (0, True)
        measure = Measure(1, (100.0 + 4 * index,))
        sizing.learn(measure, 50 * MB, 1.0, index=4 * index, flat_bytes=50 * MB)

    assert said(sizing, 500.0, index=400) == (0, True)


def test_numbers_far_apart_that_took_the_same_say_nothing():
    sizing = learned(Sizing(), ((1.0,), 50), ((1000.0,), 52))

    assert said(sizing, 10.0**6) == (0, True)


def test_what_was_told_is_raised_to_what_was_measured():
    sizing = Sizing()
    for _ in range(5):
        measure = Measure(1, (), 100 * MB)
        sizing.learn(measure, 150 * MB, 1.0, index=0, flat_bytes=0)

    assert sizing.told_ratio == pytest.approx(1.5)


def test_a_chunk_is_as_large_as_its_largest_task():
    assert join(Measure(1, (3.0, 9.0)), Measure(1, (5.0, 2.0))) == Measure(1, (5.0, 9.0))
    assert join(None, Measure(1, (5.0,), 7)) == Measure(1, (5.0,), 7)


def test_what_is_kept_is_bounded_whatever_comes():
    random, sizing = Random(1), Sizing()
    for index in range(2000):
        numbers = tuple(random.choice([0.0, 1e18, random.random()]) for _ in range(NUMBERS_MAX))
        need = random.choice([0, 1 << 62, random.randrange(MIB)])
        seconds = random.choice([0.0, 1e-9, 1e9])
        sizing.learn(Measure(1, numbers), need, seconds, index=index, flat_bytes=float(need))
        assert sizing.expect(numbers, index).bytes >= 0

    assert list(unbounded(sizing)) == []
    assert sizing.tasks == SAMPLES_KEPT
