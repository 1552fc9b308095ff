"""Tasks of different sizes on simulated hosts: each is let out by its own, in whatever order."""

from random import Random

import pytest

from adaptive_exec.config import MIB, Config
from adaptive_exec.sim.driver import simulate
from adaptive_exec.sim.machine import SimHost

LIMIT = 1000 * MIB
SHAPES = {
    "two clusters": lambda count, _: [10 * MIB] * (count * 5 // 6) + [200 * MIB] * (count // 6),
    "linear": lambda count, _: [(10 + 190 * i // count) * MIB for i in range(count)],
    "heavy tail": lambda count, random: [
        int(min(400, max(2, random.lognormvariate(3.2, 1.0))) * MIB) for _ in range(count)
    ],
}
ORDERS = {
    "rising": lambda sizes, _: sorted(sizes),
    "falling": lambda sizes, _: sorted(sizes, reverse=True),
    "shuffled": lambda sizes, random: random.sample(sizes, len(sizes)),
}


def known_seconds(sizes, seconds, host):
    """How long it takes who knows every size: each round the first that fit below the marks."""
    waiting, rounds = list(sizes), 0
    while waiting:
        room, seats, rest = 0.78 * host.memory_bytes, host.cores, []
        for size in waiting:
            if size <= room and seats and len(rest) < 2 * host.cores:
                room, seats = room - size, seats - 1
            else:
                rest.append(size)
        waiting, rounds = rest, rounds + 1
    return rounds * seconds


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_task_dies_for_memory_and_the_host_is_used(shape: str, order: str):
    random = Random(3)
    sizes = ORDERS[order](SHAPES[shape](240, random), random)
    host = SimHost(
        cores=8,
        memory_bytes=LIMIT,
        size_of=sizes.__getitem__,
        shows=lambda index: (float(index), sizes[index] / 1000.0, 7.0),
    )
    seconds = [0.4] * len(sizes)

    result = simulate(Config(max_workers=8), host, seconds)

    assert set(result.batches[0].outcomes) == {"value"}
    assert result.memory_deaths == 0
    assert result.most_bytes <= 0.9 * LIMIT
    assert result.seconds <= 1.25 * known_seconds(sizes, 0.4, host)


def test_what_nothing_is_known_of_is_let_out_as_before():
    sizes = [10 * MIB] * 120
    host = SimHost(
        cores=8, memory_bytes=LIMIT, size_of=sizes.__getitem__, shows=lambda index: (float(index),)
    )

    shown = simulate(Config(max_workers=8), host, [0.4] * 120)
    unseen = simulate(
        Config(max_workers=8),
        SimHost(cores=8, memory_bytes=LIMIT, size_of=sizes.__getitem__),
        [0.4] * 120,
    )

    assert shown.seconds == pytest.approx(unseen.seconds)


def test_a_large_one_is_passed_but_not_for_ever():
    sizes = [200 * MIB] + [60 * MIB] * 8 + [500 * MIB] + [60 * MIB] * 40
    host = SimHost(
        cores=8,
        memory_bytes=LIMIT,
        size_of=sizes.__getitem__,
        shows=lambda index: (float(sizes[index]),),
    )

    result = simulate(Config(max_workers=8), host, [1.0] * len(sizes), check=True)

    assert set(result.batches[0].outcomes) == {"value"}
    assert result.memory_deaths == 0


@pytest.mark.parametrize("is_known", [False, True])
def test_the_longest_do_not_begin_when_all_others_are_done(is_known: bool):
    random = Random(5)
    seconds = [0.2] * 300 + [12.0] * 3
    random.shuffle(seconds)
    seconds[-3:] = sorted(seconds)[-3:]
    host = SimHost(cores=8, shows=lambda index: (seconds[index],))
    order = "largest" if is_known else None

    result = simulate(Config(max_workers=8, order=order), host, seconds, check=True)

    assert set(result.batches[0].outcomes) == {"value"}
    bound = max(*seconds, sum(seconds) / 8)
    assert (result.seconds <= 1.2 * bound) is is_known


def test_the_largest_first_keeps_within_memory():
    random = Random(3)
    sizes = SHAPES["heavy tail"](240, random)
    host = SimHost(
        cores=8,
        memory_bytes=LIMIT,
        size_of=sizes.__getitem__,
        shows=lambda index: (float(index), sizes[index] / 1000.0),
    )

    result = simulate(Config(max_workers=8, order="largest"), host, [0.4] * 240, check=True)

    assert set(result.batches[0].outcomes) == {"value"}
    assert result.memory_deaths == 0
    assert result.seconds <= 1.25 * known_seconds(sizes, 0.4, host)
