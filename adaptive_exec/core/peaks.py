"""What chunks of a batch were measured to take of memory: quantile, mean, spread, and their sum.

The newest measurements count, fewer for the quantile than for mean and deviation, so that tasks
that change are seen soon and the sum of many is known well. Pure; how many chunks are let out with
it is `core/window`.
"""

from bisect import insort
from math import ceil, sqrt
from typing import NamedTuple

PEAKS_KEPT = 64
"""Measurements that count for the quantile, the fourth highest of them. Source: own choice."""
SUMS_KEPT = 1024
"""Measurements that count for mean and deviation. Source: own choice; the mean is then off by a
thirtieth of the deviation."""
QUANTILE = 0.95
"""Share of the measurements that a reserve for one chunk covers."""
MANY_PEAKS = 20
"""Measurements from which mean and deviation speak; of fewer the 95th percentile is the highest."""
SUM_DEVIATIONS = 4.0
"""Deviations beside the mean that a reserve for many chunks covers: a normal sum exceeds it once in
30,000 times, and 256 workers are thousands of sums an hour."""


class Peaks(NamedTuple):
    """The newest measurements of one batch, in bytes.

    Attributes:
        recent: At most SUMS_KEPT measurements, oldest first.
        ordered: The newest PEAKS_KEPT of them, smallest first.
        total: Sum of `recent`.
        squares: Sum of their squares.
    """

    recent: tuple[int, ...] = ()
    ordered: tuple[int, ...] = ()
    total: int = 0
    squares: int = 0

    @property
    def measured(self) -> int:
        """How many measurements these are."""
        return len(self.recent)

    @property
    def p95_bytes(self) -> int:
        """The 95th percentile, 0 while there is none."""
        return self.ordered[ceil(QUANTILE * len(self.ordered)) - 1] if self.ordered else 0

    @property
    def mean_bytes(self) -> float:
        """The mean, 0 while there is none."""
        return self.total / max(1, len(self.recent))

    @property
    def deviation_bytes(self) -> float:
        """The standard deviation, 0 while there is none."""
        count = max(1, len(self.recent))
        return sqrt(max(0, count * self.squares - self.total * self.total)) / count


NOTHING_KNOWN = Peaks()


def learn_peak(before: Peaks, peak_bytes: int) -> Peaks:
    """Take a measurement in; the oldest goes when there are too many.

    >>> learn_peak(learn_peak(NOTHING_KNOWN, 10), 30).p95_bytes
    30
    """
    recent, ordered = before.recent, list(before.ordered)
    total, squares = before.total + peak_bytes, before.squares + peak_bytes * peak_bytes
    if len(ordered) >= PEAKS_KEPT:
        ordered.remove(recent[-PEAKS_KEPT])
    insort(ordered, peak_bytes)
    if len(recent) >= SUMS_KEPT:
        total, squares = total - recent[0], squares - recent[0] * recent[0]
        recent = recent[1:]
    return Peaks((*recent, peak_bytes), tuple(ordered), total, squares)


def reserve_bytes(peaks: Peaks, chunks: int) -> float:
    """Say how much memory so many chunks may take together.

    Each its 95th percentile; or, once that is less, the mean of all with four deviations of the
    sum, since many chunks are not at their highest at once. The mean itself is known only so well.

    Args:
        peaks: What was measured, at least once.
        chunks: 0 or more.

    Returns:
        Bytes.
    """
    most = float(chunks * peaks.p95_bytes)
    if peaks.measured < MANY_PEAKS:
        return most
    return min(most, _sum_bytes(peaks, chunks))


def counts_as_sum(peaks: Peaks, chunks: int) -> bool:
    """Say whether so many chunks are reserved for together, not each by itself."""
    is_sure = peaks.measured >= MANY_PEAKS
    return is_sure and _sum_bytes(peaks, chunks) < chunks * peaks.p95_bytes


def _sum_bytes(peaks: Peaks, chunks: int) -> float:
    variance = chunks * (1.0 + chunks / max(1, peaks.measured))
    return chunks * peaks.mean_bytes + SUM_DEVIATIONS * peaks.deviation_bytes * sqrt(variance)


def fitting_chunks(peaks: Peaks, room_bytes: float, most: int) -> int:
    """Say how many chunks fit into a room, 0 to `most`; the inverse of `reserve_bytes`."""
    if room_bytes <= 0:
        return 0
    each = max(1, peaks.p95_bytes)
    count = int(room_bytes / each)
    if peaks.measured >= MANY_PEAKS:
        count = max(count, _fitting_sum(peaks, min(room_bytes, float(most * each))))
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
"""Measurements before a spread is believed, of many chunks half as many as there are of them."""


def _fitting_sum(peaks: Peaks, room_bytes: float) -> int:
    """Find the most chunks whose sum fits, by halving; it grows with their number."""
    low, high = 0, int(room_bytes / max(1.0, peaks.mean_bytes)) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _sum_bytes(peaks, middle) <= room_bytes else (low, middle)
    return low
