"""Orders of threads and of workers' words, searched: the process level, whose workers are made.

Each way to bring work meets each way to end it while workers come, answer, die, are refused or take
their starter with them.
"""

import os

import pytest

from adaptive_exec import calls, executor, submits
from adaptive_exec.engine import delivery, gate, inline, loop, perform
from adaptive_exec.levels import process, waiter, ways
from tests.races import test_orders as orders
from tests.races.baton import search
from tests.races.made_workers import (
    CRASHES,
    FATES,
    FOUL,
    HALF,
    LEAVES,
    LIVES,
    LOST,
    REFUSED,
    make_workers,
    once,
)
from tests.races.test_orders import (
    BRINGS,
    ENDS,
    RUNS,
    a_host_that_stands_still,  # noqa: F401  # a fixture that all use
    beside,
    bring_map,
    bring_outcomes,
    bring_submit,
    called_back,
    cancelled_meanwhile,
    closed_meanwhile,
    crashed,
    forked,
    kill,
    leave,
    never_taken,
    shut,
    shut_and_cancel,
    take,
)

QUICK_RUNS, SLOW_RUNS = 4, 2
MODULES = (gate, submits, calls, loop, perform, delivery, inline, executor, process, waiter, ways)


@pytest.fixture(autouse=True)
def workers_are_made(monkeypatch):
    """Have what `open_pool` opens get made workers, whose fates the test tells."""
    monkeypatch.setattr(ways, "ZygoteStarter", ways.ZygoteStarter)  # put back after each test
    monkeypatch.setattr(waiter, "make_poll", waiter.make_poll)
    monkeypatch.setattr(os, "eventfd", os.eventfd)
    fate = [LIVES]
    plain = orders.open_pool

    def open_pool(level, threads, baton):
        make_workers(threads, baton, once(fate[0]))
        return plain(level, threads, baton)

    monkeypatch.setattr(orders, "open_pool", open_pool)
    return fate


def bring_chunk(executor, ends):
    take(ends, lambda: executor.map(abs, [-1, -1, -1], chunksize=3))


def search_twice(scene, request):
    runs = RUNS or (SLOW_RUNS if request.node.get_closest_marker("slow") else QUICK_RUNS)
    search(scene, runs=runs)
    search(scene, runs=runs, lines_of=MODULES)


@pytest.mark.parametrize("bring", [bring_submit, bring_map])
def test_what_is_brought_to_workers_beside_an_end_has_one_end(bring, request):
    search_twice(beside("process", bring, shut), request)


@pytest.mark.slow
@pytest.mark.timeout(0 if RUNS else 600)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("bring", BRINGS)
def test_what_is_brought_to_workers_beside_an_end_has_one_end_in_more_orders(bring, end, request):
    search_twice(beside("process", bring, end), request)


@pytest.mark.slow
@pytest.mark.timeout(0 if RUNS else 600)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("bring", [bring_submit, bring_chunk, bring_outcomes])
@pytest.mark.parametrize("fate", FATES[1:])
def test_whatever_becomes_of_a_worker_beside_an_end_all_has_one_end(
    bring, end, fate, workers_are_made, request
):
    workers_are_made[0] = fate
    search_twice(beside("process", bring, end), request)


@pytest.mark.slow
@pytest.mark.timeout(0 if RUNS else 600)
@pytest.mark.parametrize("fate", [LIVES, REFUSED, CRASHES, HALF, LEAVES, LOST, FOUL])
def test_a_call_cancelled_at_any_moment_has_one_end(fate, workers_are_made, request):
    workers_are_made[0] = fate
    search_twice(cancelled_meanwhile("process"), request)


@pytest.mark.slow
@pytest.mark.timeout(0 if RUNS else 600)
@pytest.mark.parametrize("kind", ["map", "outcomes"])
@pytest.mark.parametrize("fate", [LIVES, CRASHES])
def test_results_of_workers_closed_at_any_moment_end(kind, fate, workers_are_made, request):
    workers_are_made[0] = fate
    search_twice(closed_meanwhile("process", kind), request)


@pytest.mark.slow
@pytest.mark.timeout(0 if RUNS else 600)
@pytest.mark.parametrize("end", ENDS)
def test_a_map_that_nobody_takes_from_workers_ends(end, request):
    search_twice(never_taken("process", end), request)


@pytest.mark.slow
@pytest.mark.timeout(0 if RUNS else 600)
@pytest.mark.parametrize("what", [shut, shut_and_cancel, kill, leave])
@pytest.mark.parametrize("fate", [LIVES, CRASHES])
def test_whatever_a_callback_does_beside_workers_all_has_an_end(
    what, fate, workers_are_made, request
):
    workers_are_made[0] = fate
    search_twice(called_back("process", what), request)


@pytest.mark.slow
@pytest.mark.timeout(0 if RUNS else 600)
@pytest.mark.parametrize("bring", BRINGS)
def test_when_the_loop_fails_beside_workers_all_has_an_end(bring, request):
    search_twice(crashed("process", bring), request)


@pytest.mark.slow
@pytest.mark.timeout(0 if RUNS else 600)
@pytest.mark.parametrize("bring", [bring_submit, bring_map])
def test_a_fork_beside_workers_hangs_nobody(bring, request):
    search_twice(forked("process", bring), request)
