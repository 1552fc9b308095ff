"""Many instances on one simulated host: fair, steady, and quick to follow changes."""

from itertools import pairwise
from random import Random

import pytest

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.core.sharing.share import SHARE_TURN_SECONDS, Share
from adaptive_exec.sim.crowd import CrowdResult, Stay, simulate_crowd
from adaptive_exec.sim.machine import SimHost

CONFIG = Config(isolate=True)
ENDLESS = [0.3] * 2000


def jain(parts: list[float]) -> float:
    """Jain, Chiu, Hawe 1984: 1 where all get alike, 1/n where one gets all."""
    return sum(parts) ** 2 / (len(parts) * sum(part * part for part in parts))


def work_between(found: CrowdResult, number: int, start: int, stop: int) -> float:
    return sum(work for at, work in found.work[number].items() if start <= at < stop)


def assert_fair(found: CrowdResult, stays: list[Stay], until: int) -> None:
    """In every ten seconds all that were there throughout, and two seconds before, got alike."""
    for start in range(2, until - 10):
        there = [
            number
            for number, stay in enumerate(stays)
            if stay.arrives <= start - 2 and (stay.killed or until) >= start + 10
        ]
        if len(there) > 1:
            parts = [work_between(found, number, start, start + 10) for number in there]
            assert jain(parts) >= 0.95, (start, jain(parts))


@pytest.mark.parametrize("count", [2, 3, 4, 12])
def test_those_who_stay_get_alike(count: int):
    stays = [Stay(0.1 * number, ENDLESS) for number in range(count)]

    found = simulate_crowd(CONFIG, SimHost(cores=8), stays, until=30.0)

    assert_fair(found, stays, 30)
    worked = sum(work_between(found, number, 5, 25) for number in range(count))
    assert worked >= 0.9 * 8 * 20, "no core is left idle for long"


@pytest.mark.parametrize(("cores", "count"), [(3, 2), (4, 3), (8, 5)])
def test_a_core_that_cannot_be_divided_goes_round_and_changes_a_share_twice_a_minute(
    cores: int, count: int
):
    stays = [Stay(0.1 * number, [0.3] * 3000) for number in range(count)]
    round_seconds = int(count * SHARE_TURN_SECONDS)

    found = simulate_crowd(CONFIG, SimHost(cores=cores), stays, until=round_seconds + 35.0)

    parts = [work_between(found, number, 30, 30 + round_seconds) for number in range(count)]
    assert jain(parts) >= 0.99, "over a whole round all get alike"
    assert sum(parts) >= 0.9 * cores * round_seconds, "no core is left idle for long"
    for number in range(count):
        told = [(at, share.slots) for at, share in found.shares[number]]
        times = [after[0] for before, after in pairwise(told) if before[1] != after[1]]
        late = [at for at in times if at > 5]  # when all had come
        assert late, "it goes round"
        assert max(sum(at <= other < at + 55 for other in late) for at in late) <= 2, late


def test_an_older_instance_has_made_room_within_three_seconds_and_has_it_back_as_soon():
    stays = [Stay(0.0, ENDLESS), Stay(10.0, ENDLESS, killed=20.0)]

    found = simulate_crowd(CONFIG, SimHost(cores=8), stays, until=30.0)

    alone, beside, after = (
        work_between(found, 0, *span) / 5 for span in ((4, 9), (13, 18), (23, 28))
    )
    assert alone == pytest.approx(8, rel=0.05)
    assert beside == pytest.approx(4, rel=0.1)
    assert work_between(found, 1, 13, 18) / 5 == pytest.approx(4, rel=0.1)
    assert after == pytest.approx(8, rel=0.05)


def test_one_that_ends_by_itself_leaves_its_part_to_the_others():
    stays = [Stay(0.0, ENDLESS), Stay(0.0, [0.3] * 40)]

    found = simulate_crowd(CONFIG, SimHost(cores=4), stays, until=20.0)

    assert found.ended[1] < 12
    assert work_between(found, 0, 15, 20) / 5 == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("count", [6, 20])
def test_memory_stays_under_the_limit_but_for_one_estimate(count: int):
    task_bytes, limit_bytes = GIB, 16 * GIB
    host = SimHost(cores=32, memory_bytes=limit_bytes, task_bytes=task_bytes)
    random = Random(count)
    stays = [Stay(random.uniform(0.0, 0.01), ENDLESS) for _ in range(count)]

    found = simulate_crowd(CONFIG, host, stays, until=20.0)

    most = max(found.running.values()) * task_bytes
    assert most <= limit_bytes + task_bytes
    at_work = sum(bool(work_between(found, number, 5, 20)) for number in range(count))
    assert at_work >= min(count, 10)


def changes(found: CrowdResult, number: int) -> list[Share]:
    """The shares of an instance that differ from the one before in what it may have."""
    shares = [share for _, share in found.shares[number]]
    return [
        after for before, after in pairwise(shares) if what_it_has(before) != what_it_has(after)
    ]


def what_it_has(share: Share) -> tuple[int, int | None, bool]:
    return share.slots, share.slot_bytes, bool(share.place)


@pytest.mark.parametrize("task_bytes", [0, 4096, 20 * MIB, GIB])
@pytest.mark.parametrize(("cores", "count"), [(2, 2), (8, 2), (8, 4), (2, 5)])
def test_shares_change_at_most_twice_for_each_who_comes_or_goes(
    task_bytes: int, cores: int, count: int
):
    stays = [Stay(0.1 * number, ENDLESS) for number in range(count)]
    stays.append(Stay(20.0, ENDLESS, killed=40.0))
    host = SimHost(cores=cores, task_bytes=task_bytes)

    found = simulate_crowd(CONFIG, host, stays, until=60.0)

    events = count + 2  # of which those who stay come all but at once
    for number in range(count):
        assert len(changes(found, number)) <= 2 * events, changes(found, number)


@pytest.mark.parametrize("task_bytes", [0, 4096, 20 * MIB])
def test_a_share_of_memory_is_a_fair_part_of_what_is_free_however_little_tasks_take(
    task_bytes: int,
):
    host = SimHost(cores=2, memory_bytes=32 * GIB, task_bytes=task_bytes)
    stays = [Stay(0.0, ENDLESS), Stay(1.0, ENDLESS)]

    found = simulate_crowd(CONFIG, host, stays, until=20.0)

    for number in range(2):
        least = min(share.slot_bytes for _, share in found.shares[number] if share.slot_bytes)
        assert least >= 10 * GIB


@pytest.mark.slow
@pytest.mark.parametrize(("task_bytes", "least"), [(2 * GIB, 256), (8 * GIB, 100)])
def test_a_thousand_instances_on_256_cores_keep_the_limit_but_for_one_estimate(
    task_bytes: int, least: int
):
    random, limit_bytes, until = Random(7), 1024 * GIB, 8.0
    tasks = [1.0] * 100
    stays = [Stay(random.uniform(0.0, 1.0), tasks) for _ in range(900)]
    for _ in range(100):
        arrives = random.uniform(1.0, 5.0)
        killed = arrives + random.uniform(1.0, 5.0) if random.random() < 0.5 else None
        stays.append(Stay(arrives, tasks, killed))
    host = SimHost(cores=256, memory_bytes=limit_bytes, task_bytes=task_bytes)

    found = simulate_crowd(CONFIG, host, stays, until=until)

    assert max(found.running.values()) * task_bytes <= limit_bytes + task_bytes
    at_work = sum(bool(work_between(found, number, 0, int(until))) for number in range(1000))
    assert at_work >= least


@pytest.mark.slow
def test_a_thousand_instances_on_256_cores_get_alike_while_others_come_and_die():
    random = Random(7)
    tasks = [1.0] * 100
    stays = [Stay(random.uniform(0.0, 1.0), tasks) for _ in range(900)]
    for _ in range(100):
        arrives = random.uniform(1.0, 10.0)
        killed = arrives + random.uniform(1.0, 5.0) if random.random() < 0.5 else None
        stays.append(Stay(arrives, tasks, killed))

    found = simulate_crowd(CONFIG, SimHost(cores=256, memory_bytes=4096 * GIB), stays, until=15.0)

    assert_fair(found, stays, 15)
