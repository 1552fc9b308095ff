"""Single scenes of a Run, each with the one thing that must come of it."""

import pytest

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.ladder import CALM_SECONDS_MAX
from adaptive_exec.core.reason import Code
from adaptive_exec.core.sharing.share import Claim
from adaptive_exec.core.sharing.tenancy import LEDGER_AGAIN_SECONDS
from adaptive_exec.core.staffing import STRIKES_MAX
from tests.core.world import World, make_host


def begin(cores: int = 2, **settings) -> World:
    return World(Config(**settings), make_host(cores=cores))


def staff(world: World) -> None:
    for worker in list(world.starting):
        world.ready(worker)


def codes(world: World) -> set[Code]:
    return {reason.code for reason in world.told}


def sent(world: World) -> list[ins.SendChunk]:
    return [order for _, orders in world.history for order in orders if is_chunk(order)]


def killed(world: World) -> list[int]:
    orders = [order for _, orders in world.history for order in orders]
    return [order.worker for order in orders if isinstance(order, ins.KillWorker)]


def is_chunk(order: ins.Instruction) -> bool:
    return isinstance(order, ins.SendChunk)


def look(world: World, available: int, **sizes) -> None:
    """Read the host: one with GIB in all."""
    world.reads = max(0, world.reads - 1)
    host = make_host(cores=4, available=available, limit=GIB, at=world.at)
    world.say(ev.HostSampled(world.at, host, **sizes))


def outcomes(world: World, batch: int = 1) -> set[str]:
    return set(world.books[batch].outcomes.values())


def test_batches_of_different_levels_take_turns_under_max_in_flight():
    world = begin(max_in_flight=1)
    world.open(tasks=None)
    world.open(tasks=3)
    world.arrive(1, 4)
    world.arrive(2, 3)

    staff(world)
    for _ in range(4):
        world.done(next(iter(world.chunks)))

    assert [order.level for order in sent(world)][:4] == ["process", "thread"] * 2


def test_two_batches_of_one_level_take_turns():
    world = begin(cores=1)
    for batch in (1, 2):
        world.open(tasks=100, chunk_tasks=1)
        world.arrive(batch, 2)

    staff(world)
    for _ in range(3):
        world.done(next(iter(world.chunks)))

    assert [order.batch for order in sent(world)] == [1, 2, 1, 2]


def test_a_chunk_that_its_caller_does_not_fetch_holds_up_nobody():
    world = begin(levels=("process", "sequential"), max_in_flight=1)
    world.open(tasks=3)
    world.arrive(1, 3)
    staff(world)
    assert [order.level for order in sent(world)] == ["sequential"]

    world.open(tasks=100, chunk_tasks=1)
    world.arrive(2, 2)
    staff(world)
    world.lose(sent(world)[1].worker, offset=0, memory=True)
    world.exhaust(2)
    for _ in range(4):
        staff(world)
        for chunk in [n for n, one in world.chunks.items() if one.order.level == "process"]:
            world.done(chunk)

    assert len(world.books[2].outcomes) == 2


def test_a_slow_head_runs_although_many_later_results_are_held():
    world = begin(cores=2)
    world.open(tasks=None, chunk_tasks=4000)
    world.arrive(1, 12_000)
    staff(world)
    head = sent(world)[0]

    world.lose(head.worker, offset=0)
    staff(world)
    for _ in range(20):
        for chunk in [n for n, one in world.chunks.items() if one.order.start != 0]:
            world.done(chunk)

    assert any((order.start, order.attempt) == (0, 2) for order in sent(world))


def test_a_suspect_for_which_the_caller_waits_has_its_turn_once_the_results_behind_it_are_many():
    world = begin(cores=2)
    world.open(tasks=None, chunk_tasks=1)
    world.arrive(1, 400)
    staff(world)
    world.lose(sent(world)[0].worker, offset=0)
    staff(world)
    for _ in range(300):
        for chunk in list(world.chunks):
            world.done(chunk, result_bytes=MIB)

    again = [order for order in sent(world) if order.start == 0][1:]
    assert len(again) == 1
    assert outcomes(world) == {"value"}
    assert sent(world).index(again[0]) < 150  # 64 MiB of results, and what was out by then


def test_a_suspect_has_its_turn_after_ten_seconds_of_endless_input():
    world = begin(cores=1)
    world.open(tasks=None, chunk_tasks=1)
    world.arrive(1, 2)
    staff(world)
    world.lose(sent(world)[0].worker, offset=0)
    staff(world)
    for _ in range(30):
        world.wait(0.5)
        world.arrive(1, 1)
        world.done(next(iter(world.chunks)))

    again = [order for order in sent(world) if order.start == 0][1:]
    assert len(again) == 1
    assert sent(world).index(again[0]) > 10


def test_a_suspect_of_one_batch_does_not_wait_for_another_batch():
    world = begin(cores=1)
    world.open(tasks=None, chunk_tasks=1)
    world.open(tasks=None, chunk_tasks=1)
    world.arrive(1, 1)
    world.arrive(2, 50)
    staff(world)

    world.lose(sent(world)[0].worker, offset=0)
    staff(world)

    assert (sent(world)[-1].batch, sent(world)[-1].attempt) == (1, 2)


def test_a_new_batch_avoids_a_level_that_goes_down():
    world = begin()
    world.open(tasks=10)
    world.arrive(1, 4)
    for worker in list(world.starting):
        world.refuse(worker, lasting=True)

    world.open(tasks=10)

    assert world.run.batches[2].level == "thread"


def test_a_batch_opened_while_its_level_is_shut_is_restored_too():
    world = begin()
    world.open(tasks=10)
    for worker in list(world.starting):
        world.refuse(worker, lasting=True)
    world.close_level("process")
    world.exhaust(1)

    world.open(tasks=100)
    world.arrive(2, 4)
    world.wait(31)

    assert world.run.batches[2].trial == "process"


def test_workers_that_die_before_their_first_result_end_the_level():
    world = begin(cores=1)
    world.open(tasks=100)
    world.arrive(1, 4)

    for _ in range(STRIKES_MAX):
        staff(world)
        world.lose(next(iter(world.workers)))

    assert Code.NO_PROGRESS in codes(world)
    assert world.run.batches[1].level == "thread"


def test_workers_that_die_beside_a_busy_one_cost_workers_and_no_level():
    world = begin(cores=2)
    world.open(tasks=100, chunk_tasks=1)
    world.arrive(1, 1)
    staff(world)

    for _ in range(STRIKES_MAX):
        staff(world)
        idle = set(world.workers) - {one.order.worker for one in world.chunks.values()}
        world.lose(idle.pop())

    assert Code.WORKERS_MISSING in codes(world)
    assert world.run.rosters["process"].state == "open"


def test_an_idle_worker_that_served_and_is_killed_is_no_strike():
    world = begin(cores=1)
    world.open(tasks=None, chunk_tasks=1)

    for _ in range(2 * STRIKES_MAX):
        world.arrive(1, 1)
        staff(world)
        world.done(next(iter(world.chunks)))
        world.lose(next(iter(world.workers)))

    assert world.run.rosters["process"].strikes == 0


def test_a_worker_told_to_die_gets_no_more_work():
    world = begin(cores=1, task_timeout=1.0)
    world.open(tasks=100, chunk_tasks=1)
    world.arrive(1, 2)
    staff(world)
    chunk = sent(world)[0]

    world.say(ev.TaskOverdue(0.0, chunk.chunk, 0, 1.5))
    world.done(chunk.chunk)

    assert len(sent(world)) == 1
    assert world.starting


def test_attempts_count_executions_that_began_and_no_others():
    world = begin(cores=1)
    world.open(tasks=100, chunk_tasks=3)
    world.arrive(1, 3)

    for _ in range(2):
        staff(world)
        world.lose(next(iter(world.workers)), offset=0, blameless=True)
    staff(world)
    world.done(next(iter(world.chunks)))

    tail = [(order.start, order.stop, order.attempt) for order in sent(world)[-2:]]
    assert tail == [(0, 1, 3), (1, 3, 1)]


def test_no_chunk_serves_a_worker_past_its_age():
    world = begin(cores=1, max_tasks_per_worker=3)
    world.open(tasks=None)
    world.arrive(1, 20)
    world.exhaust(1)

    for _ in range(40):
        staff(world)
        for chunk in list(world.chunks):
            world.done(chunk, wall=0.0)

    served: dict[int, int] = {}
    for order in sent(world):
        served[order.worker] = served.get(order.worker, 0) + order.stop - order.start
    assert set(served.values()) <= {3, 2}


def test_an_initializer_that_fails_ends_every_task_also_those_of_later_batches():
    world = begin()
    world.open(tasks=2, portable=True)
    world.arrive(1, 2)
    worker = next(iter(world.starting))
    level = world.starting.pop(worker)

    world.say(ev.InitializerFailed(0.0, level, worker, "ValueError: no"))
    world.open(tasks=2)
    world.arrive(2, 2)

    assert outcomes(world, 1) == outcomes(world, 2) == {"initializer_failed"}


def test_a_function_that_cannot_travel_under_isolation_is_an_error_per_task():
    world = begin(isolate=True)
    world.open(tasks=4, portable=False)

    world.arrive(1, 4)

    assert outcomes(world) == {"function_not_portable"}
    assert not sent(world)


def test_a_function_refused_under_isolation_is_an_error_per_task():
    world = begin(cores=1, isolate=True)
    world.open(tasks=4, chunk_tasks=2)
    world.arrive(1, 4)
    staff(world)
    chunk = world.chunks.popitem()[0]

    world.say(ev.FunctionRefused(0.0, chunk, "ImportError: gone"))

    assert outcomes(world) == {"function_not_portable"}


def test_what_was_refused_everywhere_is_not_sent_again_while_a_worker_is_idle():
    world = begin(cores=2, levels="process")
    world.open(tasks=4, chunk_tasks=1)
    world.arrive(1, 4)
    staff(world)

    for chunk in sorted(world.chunks):
        del world.chunks[chunk]
        world.say(ev.FunctionRefused(0.0, chunk, "ImportError: gone"))

    assert len(sent(world)) == 2
    assert outcomes(world) == {"function_not_portable"}


def test_a_batch_that_left_isolation_returns_when_one_of_its_tasks_is_a_suspect():
    world = begin(cores=2, inline=True)
    world.open(tasks=100_000)
    world.arrive(1, 4)
    staff(world)
    first, second = world.chunks
    world.done(first, wall=1e-6, transport_seconds=1e-4)
    third = max(world.chunks)
    world.done(third, wall=1e-6, transport_seconds=1e-4)
    assert world.run.batches[1].level == "sequential"

    world.lose(world.chunks[second].order.worker, offset=0)

    assert world.run.batches[1].level == "process"


def test_a_suspect_ends_as_an_error_when_isolation_is_gone():
    world = begin(cores=1)
    world.open(tasks=100, chunk_tasks=1)
    world.arrive(1, 2)
    staff(world)
    world.lose(next(iter(world.workers)), offset=0)

    for worker in list(world.starting):
        world.refuse(worker, lasting=True)

    assert world.books[1].outcomes == {0: "no_isolation"}


def test_under_pressure_no_worker_is_started_beside_those_there_are():
    world = begin(cores=4)
    world.open(tasks=100, chunk_tasks=1)
    world.arrive(1, 8)
    world.ready(next(iter(world.starting)))
    world.sample(3 * GIB)

    for worker in list(world.starting):
        world.lose(worker, blameless=True)
    world.wait(10)

    assert not world.starting
    assert len(world.workers) == 1


def test_a_trial_waits_for_memory():
    world = begin(cores=4)
    world.open(tasks=1000, chunk_tasks=1)
    world.arrive(1, 8)
    for worker in list(world.starting):
        world.refuse(worker, lasting=True)
    world.close_level("process")
    staff(world)
    world.sample(3 * GIB)

    world.wait(100)
    assert world.levels["process"] == "closed"
    world.sample(32 * GIB)
    world.wait(31)

    assert world.levels["process"] == "open"


def test_the_wait_between_trials_is_bounded():
    world = begin(cores=1)
    world.open(tasks=1000, chunk_tasks=1)
    world.arrive(1, 4)
    for _ in range(10):
        for worker in [w for w, level in world.starting.items() if level == "process"]:
            world.refuse(worker, lasting=True)
        world.close_level("process")
        staff(world)
        world.wait(CALM_SECONDS_MAX + 1)

    assert world.run.rosters["process"].on_trial


@pytest.mark.parametrize("cancel", [True, False], ids=["and cancelled", "and awaited"])
def test_a_stop_before_anything_ends_at_once(cancel: bool):
    world = begin()

    world.stop(cancel=cancel)

    assert world.is_finished
    assert world.say(ev.TimerFired(1.0)) == []


def test_with_no_retries_a_task_after_the_overdue_one_does_not_run_again_either():
    world = begin(cores=1, task_timeout=1.0, retries=0)
    world.open(tasks=100, chunk_tasks=4)
    world.arrive(1, 4)
    staff(world)
    chunk = sent(world)[0]

    world.say(ev.TaskOverdue(0.0, chunk.chunk, 1, 1.5))
    world.lose(chunk.worker, offset=2, blameless=True)

    ended = {0: "retries_spent", 1: "task_overdue", 2: "retries_spent"}
    assert world.books[1].outcomes == ended


def test_a_task_that_nobody_waits_for_is_ended_and_no_other():
    world = begin(cores=1)
    world.open(tasks=100, chunk_tasks=3)
    world.arrive(1, 3)
    staff(world)
    chunk = sent(world)[0]

    world.say(ev.TaskUnwanted(0.0, 1, 1))  # it has not begun
    assert not killed(world)
    world.progress(chunk.chunk, 1)
    assert killed(world) == [chunk.worker]
    world.lose(chunk.worker, offset=1, blameless=True)
    staff(world)
    world.done(next(iter(world.chunks)))

    assert world.books[1].outcomes == {0: "value", 1: "task_unwanted", 2: "value"}


def test_a_task_that_nobody_waits_for_may_have_ended():
    world = begin(cores=1)
    world.open(tasks=100, chunk_tasks=2)
    world.arrive(1, 2)
    staff(world)
    chunk = sent(world)[0]

    world.progress(chunk.chunk, 1)
    world.say(ev.TaskUnwanted(0.0, 1, 0))
    world.say(ev.TaskUnwanted(0.0, 7, 0))
    world.done(chunk.chunk)

    assert not killed(world)
    assert world.books[1].outcomes == {0: "value", 1: "value"}


def test_a_start_that_stalls_is_an_answer_too():
    world = begin(cores=2)
    world.open(tasks=100)
    world.arrive(1, 4)
    first, second = world.starting
    world.refuse(first, lasting=True)

    world.say(ev.WorkerStalled(0.0, "process", second, "stopped by a signal"))

    assert Code.START_REFUSED in codes(world)
    assert world.run.batches[1].level == "thread"


def test_work_that_a_worker_did_not_wait_for_any_longer_is_told_of():
    world = begin(cores=2)

    world.say(ev.WorkLeft(0.0, "process", 1, 60.0, "uploads"))

    assert Code.WORK_LEFT in codes(world)


def test_objects_that_workers_have_copies_of_are_named_in_a_warning():
    world = begin(cores=2)

    world.say(ev.ObjectsCopied(0.0, "process", "mine.COUNT (Synchronized)", "zygote"))

    assert Code.OBJECTS_COPIED in codes(world)


@pytest.mark.parametrize(("is_midway", "severity"), [(True, "warning"), (False, "info")])
def test_that_texts_have_another_hash_is_a_warning_within_a_batch(is_midway, severity):
    world = begin(cores=2)

    world.say(ev.HashesDiffer(0.0, "process", "snapshot", "zygote", is_midway))

    orders = world.history[-1][1]
    (told,) = [one.decision for one in orders if isinstance(one, ins.Explain)]
    assert (told.reason.code, told.severity) == (Code.HASHES_DIFFER, severity)


def test_large_results_that_nobody_takes_hold_up_what_is_not_sent_yet():
    world = World(Config(max_workers=2), make_host())
    batch = world.open(tasks=40, chunk_tasks=1)
    world.arrive(batch, world.books[batch].asked)
    for worker in list(world.starting):
        world.ready(worker)

    for _ in range(40):
        for chunk in list(world.chunks):
            world.done(chunk, wall=1.0, result_bytes=30_000_000)
        if world.books[batch].asked:
            world.arrive(batch, world.books[batch].asked)
    held = len(world.books[batch].outcomes)

    assert 3 <= held <= 5
    assert not world.chunks

    world.take(batch, world.books[batch].takeable)

    assert len(world.chunks) == 2


def test_what_idle_workers_keep_is_no_obstacle_to_their_own_next_chunk():
    mib = 1024 * 1024
    host = make_host(limit=1000 * mib, available=700 * mib)
    world = World(Config(max_workers=4), host)
    batch = world.open(tasks=40, chunk_tasks=1)
    widths = []
    for _ in range(12):
        if world.books[batch].asked:
            world.arrive(batch, world.books[batch].asked)
        for worker in list(world.starting):
            world.ready(worker)
        widths.append(len(world.chunks))
        for chunk in list(world.chunks):
            world.done(chunk, wall=1.0, span_bytes=90 * mib, kept_bytes=80 * mib)

    assert widths[-1] == 4


@pytest.mark.parametrize(
    ("kinds", "out"),
    [
        pytest.param((7, 7), 8, id="the function of the batch before: as that one took"),
        pytest.param((7, 8), 1, id="another function"),
        pytest.param((0, 0), 1, id="of neither anything is known"),
    ],
)
def test_what_a_function_took_is_known_in_the_next_batch(kinds, out):
    world = World(Config(), make_host(cores=8, available=6 * GIB, limit=6 * GIB))
    for kind in kinds:
        batch = world.open(tasks=8, chunk_tasks=1, kind=kind)
        world.arrive(batch, 8)
        world.exhaust(batch)
        staff(world)
        if batch == 1:
            while world.chunks:
                world.done(next(iter(world.chunks)), span_bytes=5 * MIB, peak_bytes=5 * MIB)

    assert len(world.chunks) == out


def test_a_chunk_that_runs_for_long_lets_others_begin_before_it_ends():
    world = World(Config(), make_host(cores=8, available=6 * GIB, limit=6 * GIB))
    world.open(tasks=8, chunk_tasks=1)
    world.arrive(1, 8)
    staff(world)
    first = next(iter(world.chunks.values())).order.worker
    counts = [len(world.chunks)]
    for _ in range(6):
        world.wait(0.1)
        host = make_host(cores=8, available=6 * GIB, limit=6 * GIB, at=world.at)
        world.reads = max(0, world.reads - 1)
        world.say(ev.HostSampled(world.at, host, sizes=((first, 5 * MIB),)))
        staff(world)
        counts.append(len(world.chunks))

    assert counts[0] == 1
    assert counts[-1] == 8


def begin_few_in_threads() -> World:
    world = World(Config(), make_host(cores=4, available=GIB, limit=GIB))
    world.open(tasks=3, chunk_tasks=1)
    world.arrive(1, 3)
    for worker in list(world.starting):
        world.ready(worker, size_bytes=0)
    return world


def test_few_tasks_in_threads_begin_one_by_one_where_memory_is_short():
    world = begin_few_in_threads()
    assert len(world.chunks) == 1

    (number, chunk), *_ = world.chunks.items()
    world.wait(0.2)
    look(world, 600 * MIB, sizes=((chunk.order.worker, 400 * MIB),))
    assert len(world.chunks) == 1

    world.done(number, span_bytes=400 * MIB)
    look(world, GIB)
    assert len(world.chunks) == 1


def test_few_small_tasks_in_threads_run_together_once_that_is_seen():
    world = begin_few_in_threads()
    worker = next(iter(world.chunks.values())).order.worker
    world.wait(0.6)
    look(world, GIB, sizes=((worker, MIB),))

    assert len(world.chunks) == 3


def test_a_wait_for_room_in_vain_is_not_repeated_at_once():
    world = World(Config(max_workers=1), make_host(cores=4, available=GIB, limit=GIB))
    world.open(tasks=8, chunk_tasks=1)
    world.arrive(1, 8)
    staff(world)
    waits = []
    for _ in range(3):
        look(world, 50 * MIB)
        world.done(next(iter(world.chunks)))
        before = world.at
        while not world.chunks:
            world.wait(0.25)
            look(world, 50 * MIB)
            staff(world)
        waits.append(world.at - before)
        look(world, GIB)

    assert waits[0] > 4
    assert max(waits[1:]) < 1


def test_a_run_that_knows_nothing_claims_memory_for_one_chunk_and_gives_back_what_is_too_much():
    world = World(Config(), make_host(cores=4, available=GIB, limit=GIB))
    world.neighbours = [Claim("other", -1.0, 4, 1, 50 * MIB, 200 * MIB, 50 * MIB)]
    world.open(tasks=8, chunk_tasks=1, kind=7)
    world.arrive(1, 8)
    staff(world)
    first = world.offers[-1].claim
    assert first.is_guess
    assert first.wanted_bytes == first.unit_bytes > 100 * MIB

    world.wait(0.06)
    world.done(next(iter(world.chunks)), span_bytes=40 * MIB, peak_bytes=40 * MIB)
    look(world, GIB)
    second = world.offers[-1].claim
    assert (second.unit_bytes, second.kind, second.is_guess) == (40 * MIB, 7, False)


def test_what_a_neighbour_measured_of_the_function_is_reckoned_with():
    world = World(Config(), make_host(cores=4, available=GIB, limit=GIB))
    world.neighbours = [Claim("other", -1.0, 4, 1, 50 * MIB, 200 * MIB, 50 * MIB, kind=7)]
    world.open(tasks=8, chunk_tasks=1, kind=7)
    world.arrive(1, 8)
    staff(world)
    world.wait(0.06)
    look(world, GIB)

    assert world.offers[0].claim.unit_bytes > 100 * MIB
    assert world.offers[-1].claim.unit_bytes == 50 * MIB


def test_what_stands_behind_a_long_submitted_call_goes_to_another_worker():
    world = begin(cores=2)
    world.open(tasks=None, single=True)
    world.arrive(1, 40)
    staff(world)
    for _ in range(10):
        world.done(next(iter(world.chunks)), wall=1e-5)
    long, chunk = max(world.chunks.items(), key=lambda item: item[1].left)
    first, length = chunk.order, chunk.left
    while len(world.chunks) > 1:
        world.done(next(number for number in world.chunks if number != long), wall=1e-5)
    assert length > 1

    world.take_back(long)

    again = sent(world)[-1]
    assert (again.start, again.attempt) == (first.start + 1, 1)
    assert again.worker != first.worker
    world.done(long, wall=1e-5)
    assert first.start in world.books[1].outcomes


@pytest.mark.parametrize("size", [0, 40 * MIB])
def test_a_run_that_rests_does_not_trade(size):
    world = World(Config(), make_host(cores=4, available=GIB, limit=GIB))
    world.open(tasks=None, single=True)
    world.arrive(1, 1)
    staff(world)
    world.done(next(iter(world.chunks)), span_bytes=size, peak_bytes=size)
    world.wait(2.0)
    before = len(world.offers)
    for _ in range(100):
        world.wait(0.1)
        look(world, GIB)

    assert len(world.offers) <= before + 1


def test_long_chunks_that_take_more_than_their_share_do_not_make_the_run_trade_all_the_time():
    world = World(Config(), make_host(cores=4, available=GIB, limit=GIB))
    world.open(tasks=None, single=True)
    world.arrive(1, 9)
    staff(world)
    for _ in range(4):
        world.done(next(iter(world.chunks)), span_bytes=100 * MIB, peak_bytes=100 * MIB)
        staff(world)
    assert len(world.chunks) == 4
    world.neighbours = [
        Claim(f"other {number}", -1.0, 4, 1, 100 * MIB, 400 * MIB, 100 * MIB, 100 * MIB)
        for number in range(2)
    ]
    world.wait(1.0)
    before = len(world.offers)
    for _ in range(100):
        world.wait(0.1)
        look(world, 700 * MIB)
    shares = [event.share for event, _ in world.history if isinstance(event, ev.ShareChanged)]

    assert shares[-1].place == 0
    assert shares[-1].slot_bytes < world.offers[-1].claim.held_bytes
    assert len(world.offers) - before <= 25


def process_sizes(world: World, grown: int) -> tuple[tuple[int, int], ...]:
    """Return worker sizes as they are when each has grown by so much since its birth."""
    services = world.run.rosters["process"].services
    return tuple((worker, (one.birth_bytes or 0) + grown) for worker, one in services.items())


def go_on(world: World, seconds: float, available: int) -> None:
    """Let time pass; workers start and the host is read as asked, no chunk ends."""
    for _ in range(round(seconds / 0.05)):
        staff(world)
        if world.reads:
            world.reads = 0
            host = make_host(cores=16, available=available, at=world.at)
            world.say(ev.HostSampled(world.at, host, process_sizes(world, 100 * MIB)))
        world.wait(0.05)


def test_beside_a_neighbour_more_chunks_begin_once_the_first_has_shown_its_nature():
    world = begin(cores=16)
    world.neighbours = [Claim("other", -1.0, 8, 8, GIB, 8 * GIB, 8 * GIB, 8 * GIB)]
    world.open(tasks=100, chunk_tasks=1)
    world.arrive(1, 100)
    staff(world)
    assert len(world.chunks) <= 2

    go_on(world, 3.0, available=20 * GIB)

    assert len(world.chunks) == 8


def test_what_a_neighbour_measured_is_not_taken_for_another_function_that_came_meanwhile():
    world = World(Config(), make_host(cores=4, available=8 * GIB, limit=8 * GIB))
    kin = Claim("other", -1.0, 4, 1, 50 * MIB, 200 * MIB, 50 * MIB, kind=7)
    world.open(tasks=8, chunk_tasks=1, kind=7)
    world.arrive(1, 8)
    staff(world)
    world.neighbours = None
    world.wait(0.6)
    world.sample(8 * GIB)
    assert world.is_trading
    world.drop(1)
    for worker in [chunk.order.worker for chunk in world.chunks.values()]:
        world.lose(worker, offset=0, blameless=True)
    world.open(tasks=8, chunk_tasks=1, kind=8)
    world.arrive(2, 8)

    world.neighbours = [kin]
    world.share()

    assert world.run.state.memory.familiar != (8, 50 * MIB)


def test_sharing_comes_back_after_a_failure_of_the_ledger_that_was_said_once():
    world = begin(cores=4)
    world.is_ledger_usable = False
    world.neighbours = [Claim("other", -1.0, 4, 4)]
    world.open(tasks=100, chunk_tasks=1)
    world.arrive(1, 100)
    staff(world)
    assert len(world.chunks) == 4, "alone on what it sees"
    tried = len(world.offers)
    go_on(world, LEDGER_AGAIN_SECONDS + 1, available=20 * GIB)
    assert len(world.offers) == tried + 1
    codes = [
        order.decision.reason.code
        for _, orders in world.history
        for order in orders
        if isinstance(order, ins.Explain)
    ]
    assert codes.count(Code.LEDGER_UNUSABLE) == 1

    world.is_ledger_usable = True
    go_on(world, LEDGER_AGAIN_SECONDS + 1, available=20 * GIB)

    assert world.run.state.sharing.share.instances == 2
    assert world.run.rosters["process"].seats is not None


def test_an_executor_that_waits_for_more_submitted_calls_wants_nothing_of_the_host():
    world = World(Config(), make_host(cores=2))
    world.open(tasks=None, single=True)
    world.arrive(1, 3)
    staff(world)
    assert world.offers[-1].claim.wanted_slots == 2
    while world.chunks:
        world.done(next(iter(world.chunks)))
    for _ in range(20):
        world.wait(0.1)
        world.sample(32 * GIB)

    rests = world.offers[-1].claim
    assert (rests.wanted_slots, rests.wanted_bytes, rests.held_bytes) == (0, 0, 0)


def test_a_run_that_only_its_caller_drives_says_at_once_that_it_is_done():
    world = begin(cores=2, levels=("sequential",))
    world.open(tasks=3)
    world.arrive(1, 3)
    world.exhaust(1)
    staff(world)
    world.wait(0.6)
    world.sample(32 * GIB)
    for _ in range(3):
        if world.chunks:
            world.done(next(iter(world.chunks)))

    assert any(offer.claim.wanted_slots for offer in world.offers)
    assert world.offers[-1].claim.wanted_slots == 0
