"""A share of cores is a share of computing: who waits holds no core, and the next one begins."""

import pytest

from adaptive_exec.config import GIB, Config
from adaptive_exec.core.reason import Code
from adaptive_exec.core.sharing.share import Claim
from tests.core.world import World, make_host

BUSY = Claim("other", -1.0, 2, 1)


def begin(*, max_workers: int = 2, tasks: int = 8, cores: int = 2) -> World:
    """Beside a busy neighbour, as many tasks are out as the share of the cores has places."""
    world = World(Config(levels="process", max_workers=max_workers), make_host(cores=cores))
    world.neighbours = [BUSY]
    world.open(tasks=tasks, chunk_tasks=1)
    world.arrive(1, tasks)
    staff(world)
    return world


def staff(world: World) -> None:
    for _ in range(5):
        for worker in list(world.starting):
            world.ready(worker)
        world.wait(0.01)


def go_on(world: World, seconds: float) -> None:
    end = world.at + seconds
    while world.at < end:
        world.wait(0.05)
        while world.reads:
            world.sample(world.host.available_bytes)
        staff(world)


def told(world: World) -> list[Code]:
    return [reason.code for reason in world.told]


def test_beside_a_neighbour_the_second_task_waits_while_the_first_computes():
    world = begin()

    go_on(world, 5.0)

    assert len(world.chunks) == 1
    assert Code.CORE_UNUSED not in told(world)


def test_a_task_that_has_computed_nothing_for_a_second_lets_the_next_begin():
    world = begin()
    (first,) = world.workers
    world.computed[first] = 0.3
    go_on(world, 0.9)
    assert len(world.chunks) == 1

    go_on(world, 1.0)

    assert len(world.chunks) == 2
    assert told(world).count(Code.CORE_UNUSED) == 1


def test_no_more_begin_than_there_may_be_workers():
    world = begin(max_workers=3)
    world.computed = dict.fromkeys(range(1, 100), 0.3)

    go_on(world, 20.0)

    assert len(world.chunks) == 3
    assert told(world).count(Code.CORE_UNUSED) <= 3


@pytest.mark.parametrize("used_seconds", [0.0, 0.04])
def test_a_task_that_polls_now_and_then_waits_too(used_seconds):
    world = begin()
    (first,) = world.workers
    start = world.at

    for _ in range(20):
        world.computed[first] = 1.0 + used_seconds * (world.at - start)
        go_on(world, 0.1)

    assert len(world.chunks) == 2


def test_once_it_computes_again_the_next_idle_worker_goes():
    world = begin()
    (first,) = world.workers
    world.computed[first] = 0.3
    go_on(world, 2.0)
    second = next(chunk for chunk in world.chunks.values() if chunk.order.worker != first)
    del world.computed[first]

    go_on(world, 1.0)
    world.done(second.order.chunk)

    assert len(world.chunks) == 1
    assert second.order.worker in world.retired


def test_a_task_that_computes_in_what_it_started_and_has_ended_since_is_no_one_that_waits():
    world = begin()
    (first,) = world.workers

    for step in range(30):  # a child's time goes with it
        world.computed[first] = 5.0 if step % 2 else 1.0
        go_on(world, 0.2)

    assert len(world.chunks) == 1


def test_cores_that_nobody_uses_are_not_claimed():
    world = begin()
    world.computed = dict.fromkeys(range(1, 100), 0.3)

    go_on(world, 5.0)

    claim = world.offers[-1].claim
    assert (claim.wanted_slots, claim.held_slots) == (1, 0)


def test_alone_nobody_looks_at_processor_times():
    world = begin()
    world.neighbours = []
    go_on(world, 2.0)
    history = len(world.history)

    go_on(world, 3.0)

    orders = [type(order).__name__ for _, orders in world.history[history:] for order in orders]
    assert "TimeWorkers" not in orders


def test_while_memory_is_short_nobody_looks_at_processor_times():
    world = begin()
    world.host = make_host(cores=2, available=GIB)
    world.sample(GIB)
    history = len(world.history)

    go_on(world, 3.0)

    orders = [type(order).__name__ for _, orders in world.history[history:] for order in orders]
    assert "ReadHost" in orders
    assert "TimeWorkers" not in orders
