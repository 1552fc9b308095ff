"""What a snapshot costs, within generous bounds; run with `-m benchmark -s` to see the figures."""

import statistics
import time

import pytest

from adaptive_exec.host.survey import HostProbe

LOOKS = 500
BOUND_SECONDS = 0.003


@pytest.mark.benchmark
def test_a_snapshot_is_cheap():
    probe = HostProbe()
    probe.take()
    seconds = []
    for _ in range(LOOKS):
        since = time.perf_counter()
        probe.take()
        seconds.append(time.perf_counter() - since)

    tenths = statistics.quantiles(seconds, n=10)
    print(f"snapshot: median {tenths[4] * 1e6:.0f} us, 90th percentile {tenths[8] * 1e6:.0f} us")
    assert tenths[4] < BOUND_SECONDS
