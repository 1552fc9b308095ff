"""Every number has a range: formulae keep to it whatever they are fed, and a run is held to it."""

from collections import deque
from math import inf, isfinite, nan
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.core.bounds import BYTES, COUNT, FOREVER, SECONDS, bound, unbounded
from adaptive_exec.core.chunks import chunk_tasks, pull_tasks, single_tasks
from adaptive_exec.core.costs import Costs, believe, learn
from adaptive_exec.core.events import Usage
from adaptive_exec.core.memory.governor import CALM, foresee, judge_memory, set_marks
from adaptive_exec.core.memory.peaks import NOTHING_KNOWN, fitting_chunks, learn_peak, reserve_bytes
from adaptive_exec.core.memory.recycle import Service, growth_per_task, leak_per_task, serve
from adaptive_exec.core.memory.window import OPEN, Room, fit, guess_chunk_bytes, halve, widen
from adaptive_exec.core.plan import count_waiting_workers
from adaptive_exec.core.reason import because
from adaptive_exec.core.sharing.share import Claim, apportion
from tests.core.feeder import Feeder
from tests.core.world import World, make_host

TINIEST = 5e-324
SECONDS_HEARD = st.one_of(
    st.sampled_from([0.0, TINIEST, 1e-300, 1e-9, 1.0, 1e10, 1e308, inf, -inf, nan, -1.0]),
    st.floats(),
)
BYTES_HEARD = st.one_of(
    st.sampled_from([0, 1, -1, 2**31, 2**62, 2**63, 2**64, 10**30, 10**400]), st.integers()
)
MAYBE_BYTES = st.one_of(st.none(), BYTES_HEARD)
USAGES = st.builds(
    Usage,
    tasks=st.one_of(st.integers(0, 20_000), BYTES_HEARD),
    wall_seconds=SECONDS_HEARD,
    cpu_seconds=st.one_of(st.none(), SECONDS_HEARD),
    transport_seconds=SECONDS_HEARD,
    sent_bytes=BYTES_HEARD,
    result_bytes=BYTES_HEARD,
    peak_bytes=MAYBE_BYTES,
    failed_tasks=st.integers(0, 10),
    span_bytes=MAYBE_BYTES,
    kept_bytes=MAYBE_BYTES,
    birth_bytes=MAYBE_BYTES,
)


@pytest.mark.parametrize(
    ("number", "within", "bounded"),
    [
        pytest.param(5, COUNT, 5, id="as it is"),
        pytest.param(0.25, SECONDS, 0.25, id="a fraction as it is"),
        pytest.param(-1, COUNT, 0, id="the floor"),
        pytest.param(10**400, BYTES, BYTES.most, id="the ceiling"),
        pytest.param(inf, SECONDS, SECONDS.most, id="infinity"),
        pytest.param(nan, SECONDS, 0.0, id="what is no number"),
        pytest.param(TINIEST, BYTES, 0.0, id="next to nothing"),
    ],
)
def test_a_number_is_brought_into_its_range(number, within, bounded):
    found = bound(number, within)

    assert found == bounded
    assert type(found) is type(number)


@given(USAGES)
def test_what_a_worker_reports_is_believed_within_its_range_only(usage):
    believed = believe(usage)

    assert list(unbounded(believed)) == []
    assert believe(believed) == believed


def test_what_a_healthy_worker_reports_is_taken_as_it_is():
    usage = Usage(3, 0.5, 0.25, 0.01, 100, 200, 5 * MIB, 1, 6 * MIB, 4 * MIB, 9 * MIB)

    assert believe(usage) is usage


@given(st.lists(st.tuples(USAGES, st.booleans()), max_size=30))
def test_costs_and_the_lengths_that_follow_are_finite_after_any_chunks(chunks):
    costs = Costs()
    for usage, isolated in chunks:
        costs = learn(costs, believe(usage), isolated=isolated)

        assert list(unbounded(costs)) == []
        for left in (None, 0, 1, 10**30):
            length = chunk_tasks(costs, left, 4, seconds=0.1)
            assert 1 <= length <= 16_384
            pulled = pull_tasks(
                chunk=length, workers=4, pending=0, asked=0, outstanding=0, buffer_tasks=None
            )
            assert 0 < pulled <= 65_536
        assert 1 <= single_tasks(costs, 100, 4) <= 64
        assert 0 <= count_waiting_workers("process", costs, None, make_host(), Config()) <= 32


@given(
    st.lists(st.tuples(BYTES_HEARD, SECONDS_HEARD), min_size=1, max_size=60),
    st.one_of(st.integers(-(2**64), 2**64), st.floats(-1e20, 1e20)),
)
def test_peaks_and_the_window_are_finite_after_any_chunks(measured, room):
    peaks, window = NOTHING_KNOWN, OPEN
    for size, seconds in measured:
        peaks = learn_peak(peaks, size, seconds)
        assert list(unbounded(peaks)) == []
    for chunks in (0, 1, 256, 1 << 20):
        assert 0 <= reserve_bytes(peaks, chunks) < inf
    assert 0 <= fitting_chunks(peaks, room, 1 << 20) <= 1 << 20
    for told in (None, 1, 2**63):
        for seen in (0, 2**63):
            window = fit(window, peaks, Room(room, 2 * room), told_bytes=told, seen_bytes=seen)
            assert list(unbounded(window)) == []
            window = halve(widen(window), window.chunks)
            assert list(unbounded(window)) == []


@given(st.lists(USAGES, max_size=20))
def test_a_workers_service_and_its_leak_are_finite(usages):
    service = Service(0.0)
    for usage in usages:
        service = serve(service, believe(usage))

        assert list(unbounded(service)) == []
        for leak in (leak_per_task(service), growth_per_task(service)):
            assert leak is None or 0 <= leak <= BYTES.most


@given(
    limit=st.integers(1, 2**63),
    available=st.lists(st.integers(0, 2**63), min_size=2, max_size=6),
    stall=st.one_of(st.none(), st.floats(0, 100)),
    apart=st.sampled_from([0.0, TINIEST, 1e-9, 1.0, 1e9]),
)
def test_verdicts_and_marks_are_finite_on_any_host(limit, available, stall, apart):
    verdict, at = CALM, 0.0
    for bytes_now in available:
        at += apart
        host = make_host(available=min(limit, bytes_now), limit=limit, at=at)
        host = host._replace(stall_percent=stall)
        verdict = foresee(verdict, judge_memory(verdict, host, Config()))

        assert list(unbounded(verdict)) == []
        assert 0.05 <= verdict.look_again_seconds <= 1.0
        assert all(isfinite(mark) for mark in set_marks(host, Config()))


@given(st.lists(st.integers(0, 2**63), max_size=5).map(tuple), st.floats(0.0, 1e10))
def test_a_guess_is_finite(live, age):
    assert 0 <= guess_chunk_bytes(live, age) <= 4 * GIB


NUMBERS = st.one_of(st.integers(0, 100), st.integers(0, 2**63))
CLAIMS = st.builds(
    Claim,
    name=st.sampled_from("abc"),
    arrived_at=st.floats(0, 1e10),
    wanted_slots=NUMBERS,
    held_slots=NUMBERS,
    unit_bytes=NUMBERS,
    wanted_bytes=NUMBERS,
    held_bytes=NUMBERS,
    used_bytes=NUMBERS,
)


@given(CLAIMS, st.lists(CLAIMS, max_size=5), st.integers(1, 4096), st.integers(-(2**63), 2**63))
def test_shares_are_finite_beside_any_claims(own, others, cores, room):
    share = apportion(own, others, cores=cores, room_bytes=room, now=1e9)

    assert list(unbounded(share)) == []


# a run is held to it


ODD = CALM._replace(reason=because(CALM.reason.code, a=inf))
ODD_PEAKS = NOTHING_KNOWN._replace(recent=(1, nan))
ODD_SERVICE = Service(0.0, kept_bytes=-1)


@pytest.mark.parametrize(
    ("part", "name", "value", "named"),
    [
        pytest.param("state", "base_bytes", inf, "base_bytes", id="a number of the state"),
        pytest.param("state", "now", nan, "now", id="what is no number"),
        pytest.param("state", "verdict", ODD, "facts", id="facts of a reason"),
        pytest.param("batch", "kept_each", -1.0, "kept_each", id="a batch"),
        pytest.param("batch", "costs", Costs(wall_seconds=inf), "wall_seconds", id="costs"),
        pytest.param("batch", "peaks", ODD_PEAKS, "recent", id="peaks"),
        pytest.param("roster", "services", {1: ODD_SERVICE}, "kept_bytes", id="services"),
        pytest.param("state", "a_new_number", 1, "a_new_number", id="not in the table"),
        pytest.param("state", "a_new_thing", deque([object()]), "a_new_thing", id="not known"),
    ],
)
def test_a_run_is_held_to_the_ranges_of_all_its_numbers(part, name, value, named):
    world = World(Config(), make_host())
    batch = world.open(tasks=40)
    world.arrive(batch, 40)
    run = world.run
    parts = {"state": run.state, "batch": run.batches[batch], "roster": run.rosters["process"]}
    assert list(run.check()) == []

    setattr(parts[part], name, value)

    assert any(rule.startswith(f"{named} ") for rule in run.check())


def test_never_is_a_finite_moment():
    assert isfinite(FOREVER)
    assert FOREVER + 1.0 > FOREVER


def test_many_chunks_that_keep_nothing_after_one_that_did_end_no_run():
    world = World(Config(levels="process"), make_host())
    batch = world.open(tasks=None)
    worker_kept = {"span_bytes": 200 * MIB, "birth_bytes": 10 * MIB}
    kept = 100 * MIB
    for _ in range(1200):
        if not world.chunks:
            world.wait(1.0)
            for worker in list(world.starting):
                world.ready(worker)
            world.arrive(batch, world.books[batch].asked)
        chunk = next(iter(world.chunks))
        world.at += 0.05
        world.done(chunk, wall=0.05, kept_bytes=kept, **worker_kept)
        world.take(batch, world.books[batch].takeable)
        kept = 0

    world.exhaust(batch)
    world.settle()


@pytest.mark.parametrize("seed", range(5))
def test_a_run_stands_whatever_its_workers_report(seed):
    random, feeder = Random(seed), Feeder(Config(levels="process"))
    feeder.open(1)
    amounts = [0, 1, -1, 2**40, 2**63, 10**400]
    times = [0.0, TINIEST, 0.05, 1e300, inf, -inf, nan]

    def any_usage(_, order):
        def size():
            return random.choice([None, *amounts])

        tasks = random.choice([order.stop - order.start, *amounts])
        cpu = random.choice([None, *times])
        sent = (random.choice(amounts), random.choice(amounts))
        peak, kept = (size(), 0, size()), (size(), size())
        return Usage(tasks, random.choice(times), cpu, random.choice(times), *sent, *peak, *kept)

    feeder.feed(500, any_usage, check_every=1)

    assert feeder.chunks == 500
    report = feeder.trace.report()
    numbers = [one for one in report if isinstance(one, (int, float))]
    assert all(0 <= number <= 10**400 for number in numbers)
