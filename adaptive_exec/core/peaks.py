"""What chunks of a batch were measured to take of memory: quantile, mean, spread, and their sum.

The newest PEAKS_KEPT measurements count, so that tasks that change are seen. Pure; how many
chunks are let out with it is `core/window`.
"""

from bisect import insort
from math import ceil, sqrt
from typing import NamedTuple

PEAKS_KEPT = 64
"""Measurements that count. Source: own choice; the third highest of them is their p95."""
QUANTILE = 0.95
"""Share of the measurements that a reserve for one chunk covers."""
MANY_PEAKS = 20
"""Measurements from which mean and deviation speak; of fewer the 95th percentile is the highest."""
SUM_DEVIATIONS = 3.0
"""Deviations beside the mean that a reserve for many chunks covers (99.9 % of a normal sum)."""


class Peaks(NamedTuple):
    """The newest measurements of one batch, in bytes.

    Attributes:
        recent: The measurements, oldest first.
        ordered: The same, smallest first.
        mean_bytes: Their mean.
        deviation_bytes: Their standard deviation.
        p95_bytes: Their 95th percentile, 0 while there is none.
    """

    recent: tuple[int, ...] = ()
    ordered: tuple[int, ...] = ()
    mean_bytes: float = 0.0
    deviation_bytes: float = 0.0
    p95_bytes: int = 0

    @property
    def measured(self) -> int:
        """How many measurements these are."""
        return len(self.recent)


NOTHING_KNOWN = Peaks()


def learn_peak(before: Peaks, peak_bytes: int) -> Peaks:
    """Take a measurement in; the oldest goes when there are too many.

    >>> learn_peak(learn_peak(NOTHING_KNOWN, 10), 30).p95_bytes
    30
    """
    recent, ordered = before.recent, list(before.ordered)
    if len(recent) >= PEAKS_KEPT:
        ordered.remove(recent[0])
        recent = recent[1:]
    insort(ordered, peak_bytes)
    count = len(ordered)
    mean = sum(ordered) / count
    deviation = sqrt(sum((peak - mean) ** 2 for peak in ordered) / count)
    p95 = ordered[ceil(QUANTILE * count) - 1]
    return Peaks((*recent, peak_bytes), tuple(ordered), mean, deviation, p95)


def reserve_bytes(peaks: Peaks, chunks: int) -> float:
    """Say how much memory so many chunks may take together.

    Each its 95th percentile; or, once that is less, the mean of all with three deviations of the
    sum, since many chunks are not at their highest at once.

    Args:
        peaks: What was measured, at least once.
        chunks: 0 or more.

    Returns:
        Bytes.
    """
    most = float(chunks * peaks.p95_bytes)
    if peaks.measured < MANY_PEAKS:
        return most
    return min(most, chunks * peaks.mean_bytes + _deviation_of_sum(peaks) * sqrt(chunks))


def fitting_chunks(peaks: Peaks, room_bytes: float, most: int) -> int:
    """Say how many chunks fit into a room, 0 to `most`; the inverse of `reserve_bytes`."""
    if room_bytes <= 0:
        return 0
    each = max(1, peaks.p95_bytes)
    count = int(room_bytes / each)
    if peaks.measured >= MANY_PEAKS:
        count = max(count, _fitting_sum(peaks, room_bytes))
    return min(most, count)


def spread_of_sum(peaks: Peaks, chunks: int) -> float:
    """Say by which share of their mean so many chunks may together exceed it.

    Returns:
        0 where all take the same; infinity while too little was measured to say.
    """
    if peaks.measured < SURE_PEAKS or chunks < 1:
        return float("inf")
    expected = max(1.0, chunks * peaks.mean_bytes)
    return reserve_bytes(peaks, chunks) / expected - 1.0


SURE_PEAKS = 3
"""Measurements before a spread is believed."""


def _deviation_of_sum(peaks: Peaks) -> float:
    return SUM_DEVIATIONS * peaks.deviation_bytes


def _fitting_sum(peaks: Peaks, room_bytes: float) -> int:
    """Solve mean * n + deviations * sqrt(n) = room for n."""
    mean, deviation = max(1.0, peaks.mean_bytes), _deviation_of_sum(peaks)
    root = (sqrt(deviation * deviation + 4 * mean * room_bytes) - deviation) / (2 * mean)
    return int(root * root + 1e-9)
