"""A life that several threads tell of: nothing is lost, and what cannot be fails."""

import threading

import pytest

from adaptive_exec.core.lifecycle import MAP, TAKER, Life

THREADS, TIMES = 8, 200


def test_a_life_begins_with_the_first_state_of_its_table():
    assert Life(MAP).state == "running"


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (["all ended"], "complete"),
        (["some left"], "cut short"),
        (["cancelled", "some left"], "cancelled"),
        (["cancelled", "all ended"], "complete"),
        (["failed", "all ended"], "failed"),
        (["all ended", "failed"], "complete"),
        (["some left", "cancelled"], "cancelled"),
        (["failed", "told", "some left", "cancelled"], "told"),
    ],
    ids=", ".join,
)
def test_a_map_ends_for_its_caller_by_what_came_first(events, state):
    life = Life(MAP)
    for event in events:
        seen = life.see(event)

    assert seen == life.state == state


def test_who_lets_go_of_a_map_is_not_called_back_by_a_thread_that_takes():
    life = Life(TAKER)
    life.see("takes")
    life.see("lets go")

    assert life.see("takes") == life.see("has all") == "gone"


def test_what_cannot_be_fails_where_it_is_told():
    life = Life(TAKER)
    life.see("stays away")

    with pytest.raises(AssertionError, match="cannot see"):
        life.see("takes")


def test_nothing_is_lost_that_threads_tell_at_once():
    table = {f"{at}": {"on": f"{at + 1}"} for at in range(THREADS * TIMES + 1)}
    life = Life(table)

    def tell():
        for _ in range(TIMES):
            life.see("on")

    threads = [threading.Thread(target=tell) for _ in range(THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert life.state == f"{THREADS * TIMES}"
