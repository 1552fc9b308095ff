"""The largest tasks begin first, among as many as may be compared; the rest stays as it was."""

from random import Random

import pytest

from adaptive_exec.config import MIB, Config
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.chunks import HELD_TASKS_MAX
from adaptive_exec.core.events import BatchOpened
from adaptive_exec.core.largest import AHEAD_TASKS, LargestFirst
from adaptive_exec.core.memory.sizes import Measure
from tests.core.world import World, make_host

SIZES = [3.0, 9.0, 1.0, 7.0, 5.0, 8.0]


def begin(count: int, *, buffer=None, **settings) -> World:
    world = World(Config(order="largest", max_workers=1, **settings), make_host(cores=1))
    world.is_shown_by_hand = True
    fields = {"sized": True, "largest_first": True, "kind": 1}
    world.open(tasks=count, chunk_tasks=1, buffer_tasks=buffer, **fields)
    return world


def fill(world: World, count: int) -> None:
    world.arrive(1, count)
    world.exhaust(1)


def show(world: World, start: int, sizes, told=None) -> None:
    told = told or [None] * len(sizes)
    measures = tuple(Measure(1, (size,), each) for size, each in zip(sizes, told, strict=True))
    world.say(ev.TasksSized(world.at, 1, start, measures, told[0] is not None))


def starts(world: World) -> list[int]:
    orders = [order for _, orders in world.history for order in orders]
    return [order.start for order in orders if isinstance(order, ins.SendChunk)]


def staff(world: World) -> None:
    for worker in list(world.starting):
        world.ready(worker, 10**7)


def finish(world: World) -> None:
    staff(world)
    while world.chunks:
        world.done(next(iter(world.chunks)))


def test_the_largest_goes_first():
    world = begin(len(SIZES))
    fill(world, len(SIZES))
    show(world, 0, SIZES)
    finish(world)

    assert starts(world) == [1, 5, 3, 4, 0, 2]


def test_of_equal_ones_the_first_goes_first():
    world = begin(4)
    fill(world, 4)
    show(world, 0, [2.0] * 4)
    finish(world)

    assert starts(world) == [0, 1, 2, 3]


def test_none_goes_before_all_have_come_and_were_looked_at():
    world = begin(4)
    staff(world)
    world.arrive(1, 2)
    show(world, 0, [1.0, 2.0])
    assert starts(world) == []
    fill(world, 2)
    assert starts(world) == []
    show(world, 2, [9.0, 3.0])

    assert starts(world) == [2]


def test_measures_may_come_before_their_tasks():
    world = begin(300)
    show(world, 0, [float(index) for index in range(300)])
    fill(world, 300)
    finish(world)

    assert starts(world) == list(reversed(range(300)))


def test_an_input_that_ends_early_is_waited_for_no_longer():
    world = begin(4)
    staff(world)
    world.arrive(1, 2)
    show(world, 0, [1.0, 2.0])
    world.exhaust(1)

    assert starts(world) == [1]


def test_what_the_user_says_a_task_takes_counts_before_what_its_arguments_show():
    world = begin(3)
    fill(world, 3)
    show(world, 0, [9.0, 8.0, 7.0], [MIB, 3 * MIB, 2 * MIB])
    finish(world)

    assert starts(world) == [1, 2, 0]


def test_the_users_own_size_counts_before_what_he_says_a_task_takes():
    world = begin(3, size=lambda number: number)
    fill(world, 3)
    show(world, 0, [9.0, 8.0, 7.0], [MIB, 3 * MIB, 2 * MIB])
    finish(world)

    assert starts(world) == [0, 1, 2]


def test_as_many_are_asked_for_as_may_be_held():
    asked = [one.count for one in begin(10**6).history[0][1] if isinstance(one, ins.Pull)]

    assert asked == [AHEAD_TASKS]
    assert AHEAD_TASKS <= HELD_TASKS_MAX


def test_a_buffer_is_kept_and_the_largest_is_looked_for_within_it():
    world = begin(len(SIZES), buffer=3)
    world.arrive(1, 3)
    show(world, 0, SIZES[:3])
    finish(world)

    assert starts(world) == [1, 0, 2]
    assert world.books[1].asked == 0
    world.take(1, 3)
    world.arrive(1, 3)
    show(world, 3, SIZES[3:])
    finish(world)
    assert starts(world) == [1, 0, 2, 5, 3, 4]


def test_a_task_that_is_run_again_goes_by_its_size():
    world = begin(len(SIZES))
    fill(world, len(SIZES))
    show(world, 0, SIZES)
    staff(world)
    world.lose(next(iter(world.workers)), offset=None)
    finish(world)

    assert starts(world)[:3] == [1, 1, 5]
    assert sorted(set(starts(world))) == list(range(len(SIZES)))


def make_batch(sizes) -> LargestFirst:
    opened = BatchOpened(0.0, 1, len(sizes), sized=True, largest_first=True)
    batch = LargestFirst(opened, level="process", home="process", by_size=False)
    batch.arrive(len(sizes))
    for index, size in enumerate(sizes):
        batch.measure_came(index, Measure(1, size))
    return batch


def test_another_number_counts_once_it_tells():
    batch = make_batch([(1.0, 30.0), (2.0, 10.0), (3.0, 20.0)])
    assert list(batch.waiting()) == [2, 1, 0]
    batch.go_by(1)

    assert list(batch.waiting()) == [0, 2, 1]


def test_what_is_taken_and_given_back_in_any_order_is_there_once():
    random = Random(1)
    sizes = [(random.random(),) for _ in range(300)]
    batch = make_batch(sizes)
    out: list[tuple[int, int, int]] = []
    done: list[int] = []
    while batch.pending or out:
        if out and random.random() < 0.5:
            start, stop, _ = out.pop(random.randrange(len(out)))
            if random.random() < 0.5:
                batch.give_back(start, stop, 1)
            else:
                done += range(start, stop)
        elif batch.may_begin:
            assert sizes[next(batch.waiting())] == max(
                sizes[one] for one in range(300) if one in batch._waits
            )
            out.append(batch.take(random.choice([1, 1, 4])))
        assert batch.sent == batch.arrived - batch.pending

    assert sorted(done) == list(range(300))


@pytest.mark.parametrize("dropped", [0, 3, 6])
def test_what_waits_when_a_batch_is_dropped_ends_once(dropped):
    world = begin(len(SIZES))
    fill(world, len(SIZES))
    show(world, 0, SIZES)
    staff(world)
    for _ in range(dropped):
        world.done(next(iter(world.chunks)))
    world.drop(1)
    while world.chunks:
        world.done(next(iter(world.chunks)))

    assert world.books[1].finished
