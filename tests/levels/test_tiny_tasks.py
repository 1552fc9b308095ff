"""Tiny tasks with plain arguments, which run with little between them, end as all others."""

import os
import time

import pytest

from adaptive_exec import PoisonTaskError, current_task
from tests.levels.ladder import LEVELS, executor_at, name_of

TASKS = 3000


def mixed(number):
    """Return plain values, others, and failures, and now and then take long."""
    if number % 100 == 7:
        raise ValueError(number)
    if number % 50 == 3:
        return [number, current_task().index]
    if number % 1000 == 500:
        time.sleep(0.003)
        return bytes(100_000)
    return number


@pytest.mark.parametrize("level", LEVELS)
def test_each_has_its_own_outcome_in_its_place(level):
    with executor_at(level) as executor:
        found = sorted(executor.outcomes(mixed, range(TASKS)))
        results = executor.map(mixed, range(TASKS))
        values = [next(results) for _ in range(7)]
        with pytest.raises(ValueError, match=r"^7\b") as caught:
            next(results)

    assert values == [*range(3), [3, 3], *range(4, 7)]
    assert caught.value.__notes__[0].startswith("adaptive_exec: task 7, attempt 1, level")
    assert {one.level for one in found} == {name_of(level)}
    for number, one in enumerate(found):
        assert one.index == number
        if number % 100 == 7:
            assert one.error.args == (number,)
        elif number % 50 == 3:
            assert one.value == [number, number]
        else:
            assert one.value == (bytes(100_000) if number % 1000 == 500 else number)


def end_at(number):
    if number == 2500:
        os._exit(3)
    return number


def test_one_that_ends_its_worker_is_known_and_the_others_have_results():
    with executor_at("process", retries=1) as executor:
        found = sorted(executor.outcomes(end_at, range(TASKS)))
        again = executor.map(end_at, range(TASKS))
        before = [next(again) for _ in range(2500)]
        with pytest.raises(PoisonTaskError, match=r"task 2500 .*exit 3"):
            next(again)
        after = list(again)

    assert [one.index for one in found if one.error is not None] == [2500]
    assert before == list(range(2500))
    assert after == list(range(2501, TASKS))
