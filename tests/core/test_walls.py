"""How much memory a worker may take before an allocation in it is refused, and what follows."""

import pytest

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.memory.walls import (
    HARD_KEPT_SHARE,
    HIGH_REMEDY,
    KILL_REMEDY,
    WALL_SLACK_BYTES,
    find_remedy,
    may_wall,
)
from adaptive_exec.core.quarantine import STOPPED, WALLED
from adaptive_exec.core.reason import Code, Decision
from tests.core.world import World, make_host

SOURCE = "cgroup v2 memory.oom.group at /"
CRITICAL_BYTES = int(0.08 * GIB)


def begin(*, cores=2, tasks=8, available=GIB, wide_kill=SOURCE, **settings) -> World:
    host = make_host(cores=cores, available=available, limit=GIB)
    world = World(Config(**settings), host._replace(wide_kill=wide_kill))
    world.open(tasks=tasks, chunk_tasks=1)
    world.arrive(1, tasks)
    for worker in list(world.starting):
        world.ready(worker, 10**7)
    return world


def chunks(world: World) -> list[ins.SendChunk]:
    orders = [order for _, orders in world.history for order in orders]
    return [order for order in orders if isinstance(order, ins.SendChunk)]


def errors(world: World) -> list[str]:
    orders = [order for _, orders in world.history for order in orders]
    return [str(one.reason.fact("cause")) for one in orders if isinstance(one, ins.FailTasks)]


def decisions(world: World) -> list[Decision]:
    orders = [order for _, orders in world.history for order in orders]
    return [one.decision for one in orders if isinstance(one, ins.Explain)]


def look(world: World, available: int, *, wide_kill: str = SOURCE, **sizes) -> None:
    world.reads = max(0, world.reads - 1)
    host = make_host(cores=2, available=available, limit=GIB, at=world.at)
    world.say(ev.HostSampled(world.at, host._replace(wide_kill=wide_kill), **sizes))


def hit_wall(world: World, chunk: int, peak: int = 0) -> None:
    order = world.chunks[chunk].order
    world.lose(order.worker, offset=0, cause=WALLED, memory=True, walled=True, peak_bytes=peak)
    for worker in list(world.starting):
        world.ready(worker, 10**7)


@pytest.mark.parametrize(
    ("settings", "wide_kill", "expected"),
    [
        pytest.param({}, "", False, id="none where a kill costs a worker"),
        pytest.param({}, SOURCE, True, id="where it would cost the caller"),
        pytest.param({"task_memory": "1MiB"}, "", True, id="where sizes are told"),
        pytest.param({"wall": "soft"}, "", True, id="where it is asked for"),
        pytest.param({"wall": None, "task_memory": "1MiB"}, SOURCE, False, id="never"),
    ],
)
def test_walls_stand_where_they_are_needed_or_wanted(settings, wide_kill, expected):
    host = make_host()._replace(wide_kill=wide_kill)

    assert may_wall(host, Config(**settings)) is expected


def test_what_two_chunks_may_take_leaves_the_critical_mark():
    world = begin()
    look(world, GIB, sizes=tuple((order.worker, 10**7) for order in chunks(world)))
    sizes = [one.wall_bytes for one in world.run.flights.values()]

    assert sum(size or 0 for size in sizes) <= GIB - CRITICAL_BYTES


def test_a_told_size_is_the_wall():
    world = begin(wide_kill="", task_memory="100MiB")

    assert chunks(world)[0].wall_bytes == int(1.1 * 100 * MIB) + WALL_SLACK_BYTES


def test_a_wall_comes_nearer_when_room_goes_and_goes_back_when_it_is_there_again():
    world = begin(tasks=4)
    told = {one.chunk: one.wall_bytes for one in chunks(world)}
    first = next(iter(world.run.flights.values()))

    look(world, 400 * MIB)
    look(world, 400 * MIB)
    near = first.wall_bytes
    look(world, GIB)
    look(world, GIB)

    moves = [o for _, orders in world.history for o in orders if isinstance(o, ins.MoveWalls)]
    assert near < told[first.chunk]
    assert first.wall_bytes > near
    assert len(moves) >= 2


def test_a_task_that_ran_into_a_wall_runs_again_alone_under_a_wider_one_and_is_then_poison():
    world = begin(retries=5)
    first = chunks(world)[0]

    hit_wall(world, first.chunk)
    while any(one.order.start != first.start for one in world.chunks.values()):
        world.done(next(iter(world.chunks)))
    again = chunks(world)[-1]
    assert again.start == first.start
    assert again.wall_bytes == GIB - CRITICAL_BYTES
    hit_wall(world, again.chunk)

    assert errors(world) == [WALLED]
    assert Code.POISON in {reason.code for reason in world.told}


def test_where_a_kill_costs_a_worker_only_a_refusal_of_what_is_not_used_is_tried_without_a_wall():
    world = begin(wide_kill="", wall="soft")
    first = chunks(world)[0]

    hit_wall(world, first.chunk, peak=MIB)
    while any(one.order.start != first.start for one in world.chunks.values()):
        world.done(next(iter(world.chunks)))
    hit_wall(world, chunks(world)[-1].chunk, peak=MIB)
    free = chunks(world)[-1]

    assert (free.start, free.wall_bytes) == (first.start, None)
    world.done(free.chunk, span_bytes=MIB, kept_bytes=0, birth_bytes=10**7)
    assert errors(world) == []
    assert Code.MEMORY_UNTOUCHED in {reason.code for reason in world.told}


def test_the_last_chunk_is_stopped_before_the_kernel_kills_us_all_and_once_is_enough():
    world = begin(tasks=5, cores=1, retries=5)
    worker = chunks(world)[0].worker
    for _ in range(3):
        look(world, 10 * MIB, sizes=((worker, GIB),))

    assert world.doomed
    world.lose(worker, offset=0, blameless=True)

    assert errors(world) == [STOPPED]


def test_where_a_kill_costs_a_worker_only_the_last_chunk_goes_on():
    world = begin(tasks=5, cores=1, wide_kill="", wall=None)
    worker = chunks(world)[0].worker
    for _ in range(4):
        world.reads = max(0, world.reads - 1)
        host = make_host(cores=1, available=10 * MIB, limit=GIB, at=world.at)
        world.say(ev.HostSampled(world.at, host, sizes=((worker, GIB),)))

    assert not world.doomed


def test_where_each_worker_has_a_group_of_its_own_each_chunk_has_a_wall_that_leaves_a_bit():
    world = begin(wide_kill="", tasks=4)
    assert chunks(world)[0].wall_bytes is None
    world.say(ev.GroupsMade(world.at, "process", "a container's own group"))
    look(world, GIB, wide_kill="", sizes=tuple((order.worker, 10**7) for order in chunks(world)))

    world.done(next(iter(world.chunks)))
    size = chunks(world)[-1].wall_bytes

    assert size == GIB - int(HARD_KEPT_SHARE * CRITICAL_BYTES)
    assert Code.GROUP_EACH in {reason.code for reason in world.told}


def test_a_task_that_outgrows_its_group_runs_again_alone_and_is_then_poison():
    world = begin(wide_kill="", retries=5)
    world.say(ev.GroupsMade(world.at, "process", "a container's own group"))
    first = next(iter(world.chunks.values())).order

    hit_wall(world, first.chunk, peak=GIB)
    while any(one.order.start != first.start for one in world.chunks.values()):
        world.done(next(iter(world.chunks)))
    again = chunks(world)[-1]
    hit_wall(world, again.chunk, peak=GIB)

    assert again.start == first.start
    assert errors(world) == [WALLED]


def test_groups_that_were_asked_for_and_are_refused_are_told_of():
    world = begin(wide_kill="", wall="hard")
    world.say(ev.GroupsMade(world.at, "process", "wall='hard'", "not to be had"))

    assert chunks(world)[0].wall_bytes is None
    told = [(one.severity, one.reason.code) for one in decisions(world)]
    assert ("warning", Code.GROUPS_REFUSED) in told


def test_that_a_kill_would_end_the_caller_is_said_once():
    world = begin()
    world.open(tasks=5)

    told = [reason for reason in world.told if reason.code is Code.KILL_SPREADS]
    assert [reason.fact("source") for reason in told] == [SOURCE]


def test_where_all_would_be_held_up_that_is_said_with_the_way_out():
    host = make_host(limit=GIB)._replace(throttles=0)
    host = host._replace(wide_kill=host.limit_source)
    world = World(Config(), host)
    world.open(tasks=5)

    told = [reason for reason in world.told if reason.code is Code.KILL_SPREADS]
    assert [reason.fact("remedy") for reason in told] == [HIGH_REMEDY]
    assert find_remedy(host._replace(throttles=None)) == KILL_REMEDY


def crawl(world: World, *, stall: float | None, grows: int, throttles: int = 1) -> None:
    """Let 14 s pass at a group's `memory.high` without room."""
    worker = chunks(world)[0].worker
    for number in range(14):
        world.wait(1.0)
        world.reads = max(0, world.reads - 1)
        host = make_host(cores=1, available=0, limit=GIB, at=world.at)
        host = host._replace(stall_percent=stall, throttles=throttles * number)
        world.say(ev.HostSampled(world.at, host, sizes=((worker, GIB + grows * number),)))


@pytest.mark.parametrize(
    ("stall", "grows"),
    [
        pytest.param(80.0, 0, id="it stalls"),
        pytest.param(None, MIB, id="the kernel does not tell whether it stalls, and it grows"),
    ],
)
def test_a_task_that_is_held_up_for_long_with_no_room_is_stopped_and_alone_it_is_poison(
    stall, grows
):
    world = begin(tasks=5, cores=1, wide_kill="", retries=5)
    crawl(world, stall=stall, grows=grows)

    assert [reason.code for reason in world.told if reason.code is Code.THROTTLED]
    world.lose(chunks(world)[0].worker, offset=0, blameless=True)
    assert errors(world) == [STOPPED]


@pytest.mark.parametrize(
    "signs",
    [
        pytest.param({"stall": 20.0, "grows": MIB}, id="it is not held up for most of the time"),
        pytest.param({"stall": None, "grows": 0}, id="nobody knows, and it does not grow"),
        pytest.param({"stall": 80.0, "grows": MIB, "throttles": 0}, id="nothing held it up"),
    ],
)
def test_a_task_that_goes_on_with_no_room_is_let_alone(signs):
    world = begin(tasks=5, cores=1, wide_kill="", retries=5)
    crawl(world, **signs)

    assert not [reason for reason in world.told if reason.code is Code.THROTTLED]


def test_swap_is_room_only_where_it_is_counted():
    swapping = make_host(available=GIB, limit=GIB)._replace(swap_bytes=GIB)

    without, counted = World(Config(), swapping), World(Config(count_swap=True), swapping)

    assert without.run.host.available_bytes == GIB
    assert counted.run.host.available_bytes == counted.run.host.limit_bytes == 2 * GIB
