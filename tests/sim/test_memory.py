"""Memory on hosts that we do not have: never much over the limit, and no slower for it."""

from math import log
from random import Random

import pytest

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.sim.driver import simulate
from adaptive_exec.sim.machine import SimHost

TIB = 1024 * GIB


def lognormal(count: int, mean: float, sigma: float, seed: int) -> list[float]:
    random, mu = Random(seed), log(mean) - sigma * sigma / 2
    return [random.lognormvariate(mu, sigma) for _ in range(count)]


def sizes_of(count: int, mean_bytes: int, sigma: float) -> list[int]:
    return [min(64 * GIB, int(size)) for size in lognormal(count, mean_bytes, sigma, seed=1)]


def bound(durations, sizes, host) -> float:
    """No schedule is faster: neither its cores nor its memory are more than all used."""
    byte_seconds = sum(a * b for a, b in zip(durations, sizes, strict=True))
    return max(sum(durations) / host.cores, byte_seconds / host.memory_bytes)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.3, 0.6, 1.0])
def test_256_cores_are_busy_with_mixed_sizes_and_the_limit_is_kept(sigma: float):
    count = 10_000
    durations, sizes = lognormal(count, 0.4, 0.5, seed=2), sizes_of(count, 2 * GIB, sigma)
    host = SimHost(cores=256, memory_bytes=TIB, size_of=sizes.__getitem__)

    result = simulate(Config(), host, durations)

    assert set(result.batches[0].outcomes) == {"value"}
    assert result.memory_deaths == 0
    assert result.most_bytes <= TIB
    assert result.seconds <= 1.1 * bound(durations, sizes, host) + max(durations)


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "most"), [(0.0, 1.2), (0.3, 1.2), (0.6, 1.35)])
def test_where_memory_is_what_is_short_it_is_nearly_all_used(sigma: float, most: float):
    count = 10_000
    durations, sizes = lognormal(count, 0.4, 0.5, seed=2), sizes_of(count, 5 * GIB, sigma)
    host = SimHost(cores=256, memory_bytes=TIB, size_of=sizes.__getitem__)

    result = simulate(Config(), host, durations)

    assert set(result.batches[0].outcomes) == {"value"}
    assert result.memory_deaths == 0
    assert result.most_bytes <= TIB
    assert result.seconds <= most * bound(durations, sizes, host) + max(durations)


@pytest.mark.slow
@pytest.mark.parametrize("large_bytes", [3 * GIB, 10 * GIB])
def test_large_tasks_that_run_for_long_are_expected_where_many_small_ones_end(large_bytes: int):
    random, durations, sizes = Random(5), [], []
    for _ in range(60_000):
        which = random.random()
        seconds, size = (0.01, 0.2 * GIB) if which < 0.9 else (0.5, 2 * GIB)
        if which > 0.99:
            seconds, size = 10.0, large_bytes
        durations.append(seconds * random.lognormvariate(-0.125, 0.5))
        sizes.append(int(size * random.lognormvariate(-0.125, 0.5)))
    host = SimHost(cores=256, memory_bytes=TIB, size_of=sizes.__getitem__)

    result = simulate(Config(), host, durations)

    assert set(result.batches[0].outcomes) == {"value"}
    assert result.most_bytes <= TIB + max(sizes)
    assert result.memory_deaths <= 5
    assert result.seconds <= 3.5 * bound(durations, sizes, host) + max(durations)


@pytest.mark.slow
def test_tasks_that_grow_tenfold_half_way_cost_few_deaths():
    sizes = [100 * MIB] * 500 + [1000 * MIB] * 500
    host = SimHost(cores=16, memory_bytes=8 * GIB, size_of=sizes.__getitem__)

    result = simulate(Config(), host, [0.5] * 1000, check=True)

    assert set(result.batches[0].outcomes) == {"value"}
    assert result.memory_deaths <= 16


def test_a_host_that_fits_one_task_runs_one_at_a_time_without_a_death():
    host = SimHost(cores=8, memory_bytes=8 * GIB, task_bytes=5 * GIB)

    result = simulate(Config(), host, [0.1] * 50, check=True)

    assert set(result.batches[0].outcomes) == {"value"}
    assert (result.memory_deaths, result.most_bytes) == (0, 5 * GIB)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.6, 0.999])
@pytest.mark.parametrize("period", [10.0, 90.0])
def test_a_neighbour_that_comes_and_goes_makes_the_level_change_at_most_twice_a_period(
    period: float, share: float
):
    def neighbour(at: float) -> int:
        return int(share * 16 * GIB) if at % period < period / 2 else 0

    host = SimHost(cores=8, memory_bytes=16 * GIB, task_bytes=100 * MIB, neighbour=neighbour)

    result = simulate(Config(), host, [1.0] * 800)

    assert set(result.batches[0].outcomes) == {"value"}
    changes = result.report.degrades + result.report.restores
    assert changes <= 2 * (result.seconds / period + 1)


def test_once_a_neighbour_has_gone_all_cores_are_busy_again_within_seconds():
    def neighbour(at: float) -> int:
        return 14 * GIB if 20.0 <= at < 60.0 else 0

    host = SimHost(cores=8, memory_bytes=16 * GIB, task_bytes=500 * MIB, neighbour=neighbour)

    result = simulate(Config(), host, [0.5] * 2000)

    unhindered = 2000 * 0.5 / 8
    assert result.memory_deaths <= 2
    assert result.seconds <= unhindered + 40.0 + 5.0
