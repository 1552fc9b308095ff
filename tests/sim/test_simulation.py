"""Whole runs on hosts that we do not have."""

import time
from collections import Counter
from random import Random
from statistics import median

import pytest

from adaptive_exec.config import GIB, Config
from adaptive_exec.sim.driver import simulate
from adaptive_exec.sim.machine import SimHost

ALLOWANCE = 5
"""Times the figure that a loaded host may take."""


def heavy_tailed(count: int, *, sigma: float = 0.8, seed: int = 0) -> list[float]:
    random = Random(seed)
    return [random.lognormvariate(-1.0, sigma) for _ in range(count)]


def lower_bound(durations: list[float], cores: int) -> float:
    return max(sum(durations) / cores, *durations)


def ends(result) -> Counter[str]:
    return Counter(how for batch in result.batches for how in batch.outcomes)


def test_20_000_tasks_on_256_cores_are_simulated_within_a_second():
    before = time.process_time()

    result = simulate(Config(), SimHost(cores=256), [0.5] * 20_000)

    assert time.process_time() - before < 1.0 * ALLOWANCE
    assert ends(result) == {"value": 20_000}


@pytest.mark.slow
def test_heavy_tails_cost_at_most_15_percent_over_the_lower_bound():
    batches = [heavy_tailed(20_000, seed=seed) for seed in range(3)]

    ratios = [
        simulate(Config(), SimHost(cores=256), batch).seconds / lower_bound(batch, 256)
        for batch in batches
    ]

    assert median(ratios) <= 1.15


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_worker_idles_while_there_is_work(seed: int):
    durations = heavy_tailed(4_000, sigma=1.2, seed=seed)

    result = simulate(Config(), SimHost(cores=64), durations)

    # No schedule that knows nothing of the durations can promise more (Graham 1966).
    assert result.seconds <= sum(durations) / 64 + max(durations) + 0.5


def test_short_tasks_travel_in_chunks():
    result = simulate(Config(isolate=True), SimHost(cores=16), [0.002] * 20_000)

    assert result.report.chunks < 20_000 / 5
    assert result.seconds < 1.15 * 20_000 * 0.002 / 16


def test_the_same_seed_gives_the_same_run():
    host = SimHost(cores=16, deaths_per_chunk=0.05, seed=7)

    first, second = (simulate(Config(), host, heavy_tailed(500)) for _ in range(2))

    assert first == second


def test_another_seed_gives_another_run():
    first, second = (
        simulate(Config(), SimHost(deaths_per_chunk=0.05, seed=seed), heavy_tailed(200))
        for seed in range(2)
    )

    assert first.seconds != second.seconds


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_deaths_at_random_lose_no_task_and_double_none(seed: int):
    host = SimHost(cores=16, deaths_per_chunk=0.03, seed=seed)

    result = simulate(Config(), host, heavy_tailed(1000), [0.001] * 1000, check=True)

    assert ends(result) == {"value": 2000}
    assert result.report.degrades == 0


def test_nothing_runs_twice_with_no_retries():
    host = SimHost(cores=8, deaths_per_chunk=0.2, seed=1)

    result = simulate(Config(retries=0), host, heavy_tailed(400), check=True)

    assert max(result.batches[0].executions) == 1
    assert set(ends(result)) == {"value", "retries_spent"}


def test_killers_are_executed_three_times_each_and_all_others_deliver():
    host = SimHost(cores=4, killers=frozenset({3, 40, 99}))

    result = simulate(Config(), host, [0.01] * 200, check=True)

    batch = result.batches[0]
    assert ends(result) == {"value": 197, "poison": 3}
    assert {index: batch.executions[index] for index in host.killers} == {3: 3, 40: 3, 99: 3}


def test_refused_starts_that_pass_within_the_patience_cost_no_level():
    result = simulate(Config(), SimHost(cores=8, refused_until=1.0), [0.1] * 400, check=True)

    assert result.report.levels == ("process",)
    assert result.report.degrades == 0


@pytest.mark.slow
def test_a_longer_refusal_is_bridged_by_threads_until_the_level_is_back():
    result = simulate(Config(), SimHost(cores=8, refused_until=20.0), [0.5] * 1000, check=True)

    assert result.report.levels == ("thread", "process")
    assert (result.report.degrades, result.report.restores) == (1, 1)
    assert ends(result) == {"value": 1000}


def test_a_host_that_fits_one_task_runs_them_one_by_one():
    host = SimHost(cores=8, memory_bytes=8 * GIB, task_bytes=5 * GIB)

    result = simulate(Config(), host, [0.1] * 50, check=True)

    assert ends(result) == {"value": 50}


def test_batches_share_the_workers():
    long, short = [0.5] * 400, [0.5] * 40

    result = simulate(Config(max_workers=8), SimHost(cores=8), long, short)

    assert ends(result) == {"value": 440}
    assert result.seconds < 1.1 * 440 * 0.5 / 8


@pytest.mark.parametrize(
    ("inline", "levels"), [(False, ("process",)), (True, ("process", "sequential"))]
)
def test_tiny_tasks_end_in_the_callers_thread_only_where_that_was_allowed(inline, levels):
    result = simulate(Config(inline=inline), SimHost(cores=8), [1e-6] * 50_000)

    assert result.report.levels == levels
    assert result.seconds < 0.5


@pytest.mark.slow
def test_hours_of_trouble_pass_in_a_moment():
    host = SimHost(cores=32, refused_until=3600.0)

    result = simulate(Config(), host, [60.0] * 2000)

    assert ends(result) == {"value": 2000}
    assert result.report.restores == 1
    assert result.report.levels[-1] == "process"
