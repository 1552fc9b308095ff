"""How many chunks memory lets out: by what they were measured to take, growing slowly."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.core import events as ev
from adaptive_exec.core.memory.peaks import NOTHING_KNOWN, learn_peak, reserve_bytes
from adaptive_exec.core.memory.window import (
    OPEN,
    UNKNOWN_TASK_BYTES,
    Room,
    Window,
    fit,
    guess_chunk_bytes,
    halve,
    shrink,
    widen,
)
from adaptive_exec.core.reason import Code
from tests.core.world import World, make_host


def measured(*sizes):
    peaks = NOTHING_KNOWN
    for size in sizes:
        peaks = learn_peak(peaks, size)
    return peaks


WIDE = Window(growth=1000.0)
EVEN, UNEVEN = measured(*[150 * MIB] * 5), measured(10 * MIB, 80 * MIB, 150 * MIB)


@pytest.mark.parametrize(
    ("peaks", "target", "most", "told", "seen", "chunks"),
    [
        pytest.param(
            NOTHING_KNOWN, 300 * MIB, 400 * MIB, None, UNKNOWN_TASK_BYTES, 1,
            id="nothing known and little room: one to begin with",
        ),
        pytest.param(
            NOTHING_KNOWN, 300 * GIB, 400 * GIB, None, UNKNOWN_TASK_BYTES, 75,
            id="nothing known and plenty: all workers at once",
        ),
        pytest.param(EVEN, 290 * MIB, 310 * MIB, None, 0, 2, id="no spread: up to the warn mark"),
        pytest.param(UNEVEN, 290 * MIB, 310 * MIB, None, 0, 1, id="spread: up to the target"),
        pytest.param(NOTHING_KNOWN, 290 * MIB, 310 * MIB, 150 * MIB, 0, 2, id="told by the user"),
        pytest.param(EVEN, 450 * MIB, 460 * MIB, 50 * MIB, 0, 3, id="told too little: measured"),
        pytest.param(EVEN, 450 * MIB, 460 * MIB, 200 * MIB, 0, 2, id="told more than measured"),
        pytest.param(EVEN, 450 * MIB, 460 * MIB, None, 220 * MIB, 2, id="running ones have grown"),
        pytest.param(EVEN, -50 * MIB, -10 * MIB, None, 0, 1, id="no room at all: one goes on"),
    ],
)  # fmt: skip
def test_as_many_go_out_as_fit(peaks, target, most, told, seen, chunks):
    window = fit(WIDE, peaks, Room(target, most), told_bytes=told, seen_bytes=seen)

    assert window.chunks == chunks
    assert window.reason.code is Code.MEMORY_FITS


def test_the_window_starts_with_what_fits_and_grows_by_one_for_each_finished_chunk():
    room, unknown = Room(300 * MIB, 400 * MIB), {"told_bytes": None, "seen_bytes": GIB}
    window = fit(OPEN, NOTHING_KNOWN, room, **unknown)
    widths = []
    for _ in range(4):
        window = fit(widen(window), measured(*[MIB] * 5), room, told_bytes=None, seen_bytes=0)
        widths.append(window.chunks)

    assert widths == [2, 3, 4, 5]
    assert window.reason.code is Code.WINDOW_GROWS


def test_until_one_is_finished_it_is_as_wide_as_the_running_ones_allow():
    room = Room(16 * GIB, 16 * GIB)
    widths, window = [], OPEN
    for guess in (UNKNOWN_TASK_BYTES, 2 * GIB, GIB, 4 * GIB):
        window = fit(window, NOTHING_KNOWN, room, told_bytes=None, seen_bytes=guess)
        widths.append(window.chunks)

    assert widths == [4, 8, 16, 4]
    halved = halve(window, out=4)
    assert fit(halved, NOTHING_KNOWN, room, told_bytes=None, seen_bytes=GIB).chunks == 2


def test_after_pressure_it_is_halved_and_grows_by_one_a_round():
    window = halve(Window(chunks=8, growth=8.0), out=8)
    assert (window.chunks, window.reason.code) == (4, Code.WINDOW_HALVED)

    for _ in range(4):
        window = widen(window)
    assert 4.9 < window.growth < 5.0


def test_between_little_spread_and_twice_that_it_goes_part_of_the_way_to_the_warn_mark():
    room, widths = Room(700 * GIB, 1000 * GIB), []
    for large in (2, 4, 6, 7, 8, 10, 12, 15, 20, 40):
        peaks = measured(*[GIB, large * GIB] * 200)
        count = fit(WIDE, peaks, room, told_bytes=None, seen_bytes=0).chunks
        widths.append(reserve_bytes(peaks, count) / GIB)

    assert widths[0] > 990
    assert widths[-1] <= 700
    assert all(-5 < before - after < 150 for before, after in pairwise(widths)), widths


def test_many_that_die_at_once_halve_a_wide_window_once_and_a_narrow_one_each_time():
    window = shrink(Window(chunks=200, growth=500.0), out=200, sent_at=1.0, now=2.0)
    assert (window.chunks, window.reason.code) == (100, Code.WINDOW_HALVED)

    assert shrink(window, out=199, sent_at=1.5, now=2.1) == window
    assert shrink(window, out=100, sent_at=2.0, now=3.0).chunks == 50
    narrow = shrink(Window(chunks=4, growth=4.0), out=4, sent_at=1.0, now=2.0)
    assert shrink(narrow, out=3, sent_at=1.5, now=2.1).chunks == 1


def test_a_window_that_nothing_bounds_stays_open():
    assert widen(OPEN) == OPEN


@pytest.mark.parametrize(
    ("live", "age", "expected"),
    [
        pytest.param((), 1.0, UNKNOWN_TASK_BYTES, id="nothing runs"),
        pytest.param((5 * MIB,), 0.09, UNKNOWN_TASK_BYTES, id="it has only begun"),
        pytest.param((5 * MIB,), 0.1, 350 * MIB, id="six times what it has, and much more"),
        pytest.param((5 * MIB,), 0.5, 74 * MIB, id="twice what it has, and something"),
        pytest.param((5 * MIB,), 60.0, 74 * MIB, id="however long it runs"),
        pytest.param((5 * MIB, 100 * MIB), 0.5, 264 * MIB, id="the largest counts"),
        pytest.param((3 * GIB,), 0.5, UNKNOWN_TASK_BYTES, id="never more than unknown"),
    ],
)
def test_the_longer_a_first_chunk_runs_the_more_it_shows_of_its_nature(live, age, expected):
    assert guess_chunk_bytes(live, age) == expected


SIZES = st.lists(st.integers(0, 4 * GIB), max_size=80)


@given(SIZES, st.integers(-GIB, 64 * GIB), st.integers(0, 64), st.integers(0, 64 * GIB))
def test_more_room_or_more_growth_never_let_fewer_out(sizes, target, growth, extra):
    peaks = measured(*sizes)
    seen = 0 if sizes else GIB

    def width(target, growth):
        before = Window(growth=float(growth + 1))
        room = Room(target, target)
        return fit(before, peaks, room, told_bytes=None, seen_bytes=seen).chunks

    assert 1 <= width(target, growth) <= width(target + extra, growth + 1)


@pytest.mark.parametrize(("used_seconds", "sent"), [(0.0, 1), (0.4, 2)], ids=["starved", "ran"])
def test_a_first_task_in_threads_that_got_no_processor_lets_no_other_begin(used_seconds, sent):
    host = make_host(available=450 * MIB, limit=512 * MIB)._replace(cpu_seconds=7.0)
    world = World(Config(levels=("thread",)), host)
    world.open(tasks=2)
    world.arrive(1, 2)
    for worker in list(world.starting):
        world.ready(worker, 10 * MIB)
    first = next(iter(world.run.flights.values()))
    for used in (0.0, used_seconds):
        world.wait(0.2)
        world.reads = 0
        read = host._replace(taken_at=world.at, cpu_seconds=7.0 + used)
        world.say(ev.HostSampled(world.at, read, sizes=((first.worker, 10 * MIB),)))

    assert world.run.state.out == sent
