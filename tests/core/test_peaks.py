"""What chunks take of memory: quantile, sum, and how many fit."""

from math import sqrt
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.config import MIB
from adaptive_exec.core.memory.peaks import (
    MANY_PEAKS,
    NOTHING_KNOWN,
    PEAKS_KEPT,
    SUMS_KEPT,
    Peaks,
    fitting_chunks,
    learn_peak,
    reserve_bytes,
    spread_of_sum,
)

SIZES = st.lists(st.integers(0, 8 * 1024 * MIB), min_size=1, max_size=3 * PEAKS_KEPT)


def learned(sizes) -> Peaks:
    peaks = NOTHING_KNOWN
    for size in sizes:
        peaks = learn_peak(peaks, size)
    return peaks


@given(SIZES)
def test_mean_deviation_and_quantile_are_those_of_the_newest(sizes):
    peaks, newest = learned(sizes), sizes[-PEAKS_KEPT:]

    assert peaks.recent == tuple(sizes)
    assert [size for size, _ in peaks.ordered] == sorted(newest)
    assert peaks.mean_bytes == pytest.approx(fmean(sizes))
    assert peaks.deviation_bytes == pytest.approx(pstdev(sizes), rel=1e-6, abs=1)
    assert sum(size <= peaks.p95_bytes for size in newest) >= 0.95 * len(newest)


def test_a_chunk_that_runs_ten_times_as_long_is_met_ten_times_as_often():
    once, ten_times = NOTHING_KNOWN, NOTHING_KNOWN
    for _ in range(MANY_PEAKS):
        once = learn_peak(learn_peak(once, 10 * MIB, 0.1), 100 * MIB, 1.0)
        for size in (10 * MIB, *[100 * MIB] * 10):
            ten_times = learn_peak(ten_times, size, 0.1)

    assert once.mean_bytes == pytest.approx(ten_times.mean_bytes)
    assert once.deviation_bytes == pytest.approx(ten_times.deviation_bytes)
    assert once.p95_bytes == ten_times.p95_bytes == 100 * MIB
    assert once.counted < once.measured, "of which few took most of the time is known less well"


def test_many_chunks_take_at_least_their_mean_though_the_newest_are_all_short_and_small():
    peaks = NOTHING_KNOWN
    for _ in range(200):
        peaks = learn_peak(peaks, 1000 * MIB, 10.0)
    for _ in range(PEAKS_KEPT):
        peaks = learn_peak(peaks, MIB, 0.01)

    assert peaks.p95_bytes == MIB
    assert reserve_bytes(peaks, 100) >= 100 * 0.99 * 1000 * MIB


def test_the_oldest_are_forgotten():
    sizes = [number * MIB for number in range(SUMS_KEPT + 100)]

    assert learned(sizes) == learned(sizes[100:])


@given(SIZES, st.integers(0, 10**12), st.integers(0, 5000))
def test_what_fits_is_the_most_whose_reserve_is_within_the_room(sizes, room, most):
    peaks = learned(sizes)

    count = fitting_chunks(peaks, room, most)

    assert 0 <= count <= most
    assert reserve_bytes(peaks, count) <= room * (1 + 1e-9) + 1
    if 0 < count < most and peaks.p95_bytes:
        assert reserve_bytes(peaks, count + 1) > room * (1 - 1e-9) - 1


@pytest.mark.parametrize("count", [1, 3, MANY_PEAKS - 1])
def test_few_measurements_reserve_the_highest_for_each_chunk(count):
    peaks = learned([10 * MIB] * (count - 1) + [90 * MIB])

    assert reserve_bytes(peaks, 4) == 4 * 90 * MIB


def test_many_chunks_are_not_expected_at_their_highest_together():
    peaks = learned([10 * MIB, 20 * MIB, 30 * MIB, 100 * MIB] * 128)

    reserve = reserve_bytes(peaks, 256)

    assert reserve < 256 * peaks.p95_bytes
    variance = 256 * (1 + 256 / 512)
    assert reserve == 256 * peaks.mean_bytes + 4 * peaks.deviation_bytes * sqrt(variance)


@pytest.mark.parametrize(
    ("sizes", "chunks", "low", "high"),
    [
        pytest.param([MIB] * 2, 4, float("inf"), float("inf"), id="two say nothing"),
        pytest.param([MIB] * 5, 4, 0.0, 0.0, id="all alike"),
        pytest.param([MIB, 2 * MIB] * 4, 4, 0.3, 0.4, id="one or two"),
        pytest.param([MIB, 2 * MIB] * 500, 400, 0.0, 0.1, id="many of them together"),
        pytest.param([MIB] * 30 + [90 * MIB] * 4, 2, 3.0, 50.0, id="a heavy tail"),
    ],
)
def test_spread_is_judged_of_the_sum(sizes, chunks, low, high):
    assert low <= spread_of_sum(learned(sizes), chunks) <= high


def test_tasks_that_changed_are_seen_once_the_old_are_forgotten():
    assert learned([MIB] * 200 + [10 * MIB] * 4).p95_bytes == 10 * MIB
    assert learned([10 * MIB] * 200 + [MIB] * PEAKS_KEPT).p95_bytes == MIB
