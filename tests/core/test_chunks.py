"""How long chunks are, and how much input is asked for."""

import pytest

from adaptive_exec.config import MIB
from adaptive_exec.core.chunks import (
    HELD_BYTES_MAX,
    HELD_TASKS_MAX,
    SINGLE_TASKS_MAX,
    chunk_tasks,
    holds_too_much,
    pull_tasks,
    single_tasks,
    target_seconds,
    was_short,
)
from adaptive_exec.core.costs import Costs


def costs(wall: float, chunk: int = 1, sent: float = 0.0) -> Costs:
    return Costs(tasks=10, wall_seconds=wall, chunk_tasks=chunk, sent_bytes=sent)


@pytest.mark.parametrize(
    ("known", "left", "workers", "expected"),
    [
        pytest.param(Costs(), None, 4, 1, id="a first chunk is one task"),
        pytest.param(costs(0.5, 1), None, 4, 1, id="tasks longer than a chunk travel singly"),
        pytest.param(costs(0.01, 1), None, 4, 2, id="short tasks: twice the last chunk"),
        pytest.param(costs(0.01, 8), None, 4, 10, id="never more work than a chunk should hold"),
        pytest.param(costs(0.0, 100), None, 4, 200, id="tasks too short to measure double on"),
        pytest.param(costs(0.01, 8), 16, 4, 2, id="toward the end a share for each worker twice"),
        pytest.param(costs(0.01, 8), 1, 4, 1, id="the last task is a chunk"),
        pytest.param(costs(0.01, 8), 4, 1, 10, id="a single worker shares with nobody"),
        pytest.param(
            costs(1e-6, 4096, MIB / 2), None, 4, 2, id="large payloads keep messages short"
        ),
        pytest.param(costs(1e-6, 4096, 5 * MIB), None, 4, 1, id="a huge payload travels alone"),
        pytest.param(costs(0.0, 10**6), None, 1, 16_384, id="there is a longest chunk"),
        pytest.param(costs(0.0, 10**6), None, 256, 128, id="many workers share what is pulled"),
    ],
)
def test_a_chunk_holds_a_tenth_of_a_second(known, left, workers, expected):
    assert chunk_tasks(known, left, workers, seconds=0.1) == expected


def test_a_chunk_that_is_cut_short_anyway_grows_in_larger_steps():
    assert chunk_tasks(costs(0.001, 1), None, 1, seconds=0.1, may_jump=True) == 8
    assert chunk_tasks(costs(0.001, 50), None, 1, seconds=0.1, may_jump=True) == 100


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param(costs(1e-6, 128)._replace(tasks=200), True, id="128 us cost less than sent"),
        pytest.param(costs(1e-6, 512)._replace(tasks=900), False, id="half a millisecond does not"),
        pytest.param(costs(1e-6, 1), False, id="a few may be quick by chance"),
        pytest.param(Costs(), False, id="nothing is known yet"),
    ],
)
def test_a_chunk_was_short_that_took_less_than_its_message(known, expected):
    assert was_short(known) is expected


@pytest.mark.parametrize(
    ("known", "left", "expected"),
    [
        pytest.param(costs(1e-6, 4096)._replace(tasks=9000), 8000, 2000, id="a fourth of the rest"),
        pytest.param(costs(1e-6, 4096)._replace(tasks=9000), 3000, 1000, id="a millisecond"),
        pytest.param(costs(1e-6, 4096)._replace(tasks=9000), 700, 700, id="all, if that is less"),
        pytest.param(costs(1e-6, 4096), 700, 175, id="not where a few may be quick by chance"),
    ],
)
def test_toward_the_end_a_chunk_is_no_shorter_than_pays(known, left, expected):
    assert chunk_tasks(known, left, 2, seconds=0.1) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param({}, 16, id="with nothing here two chunks a worker are asked for"),
        pytest.param({"pending": 8}, 8, id="at one chunk a worker the rest is asked for"),
        pytest.param({"pending": 9}, 0, id="above that nothing is"),
        pytest.param({"pending": 4, "asked": 5}, 0, id="what was asked for counts as here"),
        pytest.param({"buffer_tasks": 5}, 5, id="the caller's bound holds"),
        pytest.param({"buffer_tasks": 5, "outstanding": 5}, 0, id="a full buffer asks for none"),
        pytest.param(
            {"buffer_tasks": 5, "outstanding": 3, "asked": 1}, 1, id="a buffer fills task by task"
        ),
    ],
)
def test_input_is_asked_for_a_little_ahead(known, expected):
    fields = {"pending": 0, "asked": 0, "outstanding": 0, "buffer_tasks": None} | known

    assert pull_tasks(chunk=2, workers=4, **fields) == expected


@pytest.mark.parametrize(
    ("tasks", "each", "expected"),
    [
        pytest.param(HELD_TASKS_MAX - 1, 0, False, id="a few small results are held"),
        pytest.param(HELD_TASKS_MAX, 0, True, id="too many results"),
        pytest.param(64, HELD_BYTES_MAX // 64, True, id="too many bytes"),
    ],
)
def test_results_that_nobody_takes_stop_the_input(tasks, each, expected):
    assert holds_too_much(tasks, each) is expected


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        pytest.param("process", 0.1, id="processes get a tenth of a second"),
        pytest.param("thread", 0.005, id="a message to a thread is cheap"),
        pytest.param("sequential", 0.02, id="the caller looks up every 20 ms"),
    ],
)
def test_a_full_chunk_is_as_long_as_its_level_can_bear(level, expected):
    assert target_seconds(level) == expected


@pytest.mark.parametrize(
    ("known", "pending", "workers", "expected"),
    [
        pytest.param(Costs(), 100, 2, 1, id="nothing known: alone"),
        pytest.param(costs(0.0006, 8), 100, 2, 1, id="not tiny: alone"),
        pytest.param(costs(1e-5, 8), 1000, 2, 16, id="tiny ones together, twice as many as before"),
        pytest.param(costs(0.0001, 64), 1000, 2, 10, id="a millisecond of work"),
        pytest.param(costs(1e-7, 64), 10_000, 2, SINGLE_TASKS_MAX, id="not more than so many"),
        pytest.param(costs(1e-5, 64), 4, 2, 1, id="few left: each worker its part"),
    ],
)
def test_submitted_calls_go_together_where_they_are_tiny(known, pending, workers, expected):
    assert single_tasks(known, pending, workers) == expected
