"""What chunks of a batch were measured to take of memory: quantile, mean, spread, and their sum.

The newest measurements count, fewer for the quantile than for mean and deviation, so that tasks
that change are seen soon and the sum of many is known well. Mean and deviation are those of the
chunks that one finds running: one that takes ten times as long is met ten times as often. Pure;
how many chunks are let out with it is `core/memory/window`.
"""

from bisect import insort
from collections.abc import Sequence
from math import sqrt
from operator import itemgetter
from typing import NamedTuple

from adaptive_exec.core.bounds import BYTES, SECONDS, bound

PEAKS_KEPT = 64
"""Measurements that count for the quantile, the fourth highest of them. Source: own choice."""
SUMS_KEPT = 1024
"""Measurements that count for mean and deviation. Source: own choice; the mean is then off by a
thirtieth of the deviation."""
QUANTILE = 0.95
"""Share of the measurements that a reserve for one chunk covers. Source: own choice, one in
twenty."""
MANY_PEAKS = 20
"""Measurements from which mean and deviation speak; of fewer the 95th percentile is the highest.
Source: of so many the 95th percentile is the highest."""
SUM_DEVIATIONS = 4.0
"""Deviations beside the mean that a reserve for many chunks covers: a normal sum exceeds it once in
30,000 times, and 256 workers are thousands of sums an hour. Source: the normal distribution."""


class Peaks(NamedTuple):
    """The newest measurements of one batch, in bytes.

    Attributes:
        recent: At most SUMS_KEPT measurements, oldest first.
        weights: How long each of them took, in microseconds, so that sums stay exact.
        ordered: The newest PEAKS_KEPT of them with their weights, smallest first.
        p95_bytes: The 95th percentile of these, 0 while there is none.
        weight: Sum of `weights`.
        weight_squares: Sum of their squares.
        total: Sum of `recent`, each times its weight.
        squares: Sum of their squares, each times its weight.
        mean_bytes: The mean of those that run at once, 0 while there is none.
        deviation_bytes: Its standard deviation, 0 while there is none.
    """

    recent: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    ordered: tuple[tuple[int, int], ...] = ()
    p95_bytes: int = 0
    weight: int = 0
    weight_squares: int = 0
    total: int = 0
    squares: int = 0
    mean_bytes: float = 0.0
    deviation_bytes: float = 0.0

    @property
    def measured(self) -> int:
        """How many measurements these are."""
        return len(self.recent)

    @property
    def counted(self) -> float:
        """By how many alike they are worth as much: fewer where a few took most of the time."""
        return self.weight**2 / max(1, self.weight_squares)


NOTHING_KNOWN = Peaks()


def learn_peak(before: Peaks, peak_bytes: int, seconds: float = 1.0) -> Peaks:
    """Take a measurement in; the oldest goes when there are too many.

    Args:
        before: What was known.
        peak_bytes: What a chunk took.
        seconds: How long it took it.

    Returns:
        The new measurements.

    >>> learn_peak(learn_peak(NOTHING_KNOWN, 10), 30).p95_bytes
    30
    >>> learn_peak(learn_peak(NOTHING_KNOWN, 10, 3.0), 30, 1.0).mean_bytes
    15.0
    """
    recent, weights, ordered = before.recent, before.weights, list(before.ordered)
    peak_bytes = bound(peak_bytes, BYTES)
    new = max(1, int(1e6 * bound(seconds, SECONDS)))
    if len(ordered) >= PEAKS_KEPT:
        ordered.remove((recent[-PEAKS_KEPT], weights[-PEAKS_KEPT]))
    insort(ordered, (peak_bytes, new))
    weight, weight_squares = before.weight + new, before.weight_squares + new * new
    total, squares = before.total + new * peak_bytes, before.squares + new * peak_bytes**2
    if len(recent) >= SUMS_KEPT:
        oldest, old = recent[0], weights[0]
        weight, weight_squares = weight - old, weight_squares - old * old
        total, squares = total - old * oldest, squares - old * oldest**2
        recent, weights = recent[1:], weights[1:]
    deviation = sqrt(max(0, weight * squares - total * total)) / weight
    return Peaks(
        (*recent, peak_bytes),
        (*weights, new),
        tuple(ordered),
        _quantile(ordered),
        weight,
        weight_squares,
        total,
        squares,
        total / weight,
        deviation,
    )


def _quantile(ordered: Sequence[tuple[int, int]]) -> int:
    """Return what all but a twentieth of those that run at once stay within."""
    beyond = (1.0 - QUANTILE) * sum(map(itemgetter(1), ordered))
    for peak_bytes, weight in reversed(ordered):
        beyond -= weight
        if beyond < 0.0:
            return peak_bytes
    return ordered[0][0]


def reserve_bytes(peaks: Peaks, chunks: int) -> float:
    """Say how much memory so many chunks may take together.

    Each its 95th percentile, at least the mean; or, once that is less, the mean of all with four
    deviations of the sum, since many chunks are not at their highest at once. The mean itself is
    known only so well.

    Args:
        peaks: What was measured, at least once.
        chunks: 0 or more.

    Returns:
        Bytes.
    """
    most = chunks * _each_bytes(peaks)
    if peaks.measured < MANY_PEAKS:
        return most
    return min(most, _sum_bytes(peaks, chunks))


def counts_as_sum(peaks: Peaks, chunks: int) -> bool:
    """Say whether so many chunks are reserved for together, not each by itself."""
    is_sure = peaks.measured >= MANY_PEAKS
    return is_sure and _sum_bytes(peaks, chunks) < chunks * _each_bytes(peaks)


def _each_bytes(peaks: Peaks) -> float:
    """Return what one of many takes at most; the newest may all be short ones, and small."""
    return max(float(peaks.p95_bytes), peaks.mean_bytes)


def _sum_bytes(peaks: Peaks, chunks: int) -> float:
    variance = chunks * (1.0 + chunks / max(1.0, peaks.counted))
    return chunks * peaks.mean_bytes + SUM_DEVIATIONS * peaks.deviation_bytes * sqrt(variance)


def fitting_chunks(peaks: Peaks, room_bytes: float, most: int) -> int:
    """Say how many chunks fit into a room, 0 to `most`; the inverse of `reserve_bytes`."""
    if room_bytes <= 0:
        return 0
    each = max(1.0, _each_bytes(peaks))
    count = int(room_bytes / each)
    if peaks.measured >= MANY_PEAKS:
        count = max(count, _fitting_sum(peaks, min(room_bytes, most * each)))
    return min(most, count)


def spread_of_sum(peaks: Peaks, chunks: int) -> float:
    """Say by which share of their mean so many chunks may together exceed it.

    Returns:
        0 where all take the same; infinity while too little was measured to say.
    """
    if chunks < 1 or peaks.measured < max(SURE_PEAKS, chunks // 2):
        return float("inf")
    expected = max(1.0, chunks * peaks.mean_bytes)
    return reserve_bytes(peaks, chunks) / expected - 1.0


SURE_PEAKS = 3
"""Measurements before a spread is believed, of many chunks half as many as there are of them.
Source: own choice."""


def _fitting_sum(peaks: Peaks, room_bytes: float) -> int:
    """Find the most chunks whose sum fits: where `_sum_bytes` meets the room, a quadratic."""
    mean = max(1.0, peaks.mean_bytes)
    doubt = (SUM_DEVIATIONS * peaks.deviation_bytes) ** 2
    middle = 2.0 * mean * room_bytes + doubt
    slack = doubt * (middle + 2.0 * mean * room_bytes + 4.0 * room_bytes**2 / peaks.counted)
    count = int(2.0 * room_bytes**2 / (middle + sqrt(slack)))
    return count + 1 if _sum_bytes(peaks, count + 1) <= room_bytes else count
