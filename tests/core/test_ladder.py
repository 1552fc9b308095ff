"""When a level is left, where to, and when it is tried again."""

import pytest

from adaptive_exec.config import MIB, Config
from adaptive_exec.core.costs import Costs
from adaptive_exec.core.ladder import (
    CALM_SECONDS,
    CALM_SECONDS_MAX,
    Breaker,
    next_level,
    refuse,
    shut,
    suggest_move,
)
from adaptive_exec.core.reason import Code

TINY = Costs(9, 9, 1e-6, None, 1e-4, 10, 10, 1000, 4)
NONE: frozenset[str] = frozenset()


def test_patience_with_refused_starts_grows_and_ends():
    breaker, waits = Breaker(), []

    for _ in range(6):
        breaker, wait = refuse(breaker, "OSError")
        waits.append(wait)

    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, None]
    assert breaker.error == "OSError"


def test_each_failure_shuts_a_level_for_twice_as_long_up_to_ten_minutes():
    breaker, seconds = Breaker(), []

    for _ in range(7):
        breaker = shut(breaker, 100.0)
        seconds.append(breaker.shut_until - 100.0)

    assert seconds == [30, 60, 120, 240, 480, 600, 600]
    assert (seconds[0], seconds[-1]) == (CALM_SECONDS, CALM_SECONDS_MAX)


@pytest.mark.parametrize(
    ("level", "settings", "portable", "shut_levels", "expected"),
    [
        pytest.param("process", {}, True, NONE, "thread", id="below processes are threads"),
        pytest.param("thread", {}, True, NONE, "sequential", id="below threads is the caller"),
        pytest.param("sequential", {}, True, NONE, None, id="below the caller is nothing"),
        pytest.param("process", {}, True, {"thread"}, "sequential", id="a shut level is passed by"),
        pytest.param("process", {"isolate": True}, True, NONE, None, id="isolation has no below"),
        pytest.param(
            "process", {"levels": ("process", "sequential")}, True, NONE, "sequential",
            id="a level that is not allowed is passed by",
        ),
        pytest.param(
            "thread", {"levels": ("process", "thread")}, True, NONE, None, id="never upward"
        ),
    ],
)  # fmt: skip
def test_the_next_level_is_the_first_safer_one(level, settings, portable, shut_levels, expected):
    found = next_level(
        level, Config(**settings), portable=portable, shut_levels=frozenset(shut_levels)
    )

    assert found == expected


@pytest.mark.parametrize(
    ("level", "costs", "settings", "left", "single", "expected"),
    [
        pytest.param(
            "process", TINY, {}, None, False, ("sequential", Code.TASKS_TINY),
            id="tasks that cost less than their transport go to the caller",
        ),
        pytest.param(
            "process", TINY._replace(sent_bytes=8 * MIB), {}, None, False,
            ("sequential", Code.PAYLOAD_LARGE), id="so do tasks dwarfed by their payload",
        ),
        pytest.param(
            "process", TINY._replace(isolated_tasks=2), {}, None, False, None,
            id="not before a sample ran isolated",
        ),
        pytest.param(
            "process", TINY._replace(wall_seconds=0.002), {}, None, False, None,
            id="a task over a millisecond stays",
        ),
        pytest.param(
            "process", TINY._replace(peak_bytes=5 * MIB), {}, None, False, None,
            id="a task that takes memory stays",
        ),
        pytest.param(
            "process", TINY._replace(transport_seconds=1e-6, wall_seconds=5e-7), {}, None, False,
            None, id="without a clear gain it stays",
        ),
        pytest.param(
            "process", TINY, {"inline": False}, None, False, None, id="unasked nothing moves"
        ),
        pytest.param(
            "process", TINY, {"initializer": print}, None, False, None,
            id="an initializer keeps it",
        ),
        pytest.param(
            "process", TINY, {"start": "zygote"}, None, False, None,
            id="a way to start processes keeps it",
        ),
        pytest.param(
            "process", TINY, {"task_timeout": 1.0}, None, False, None, id="a time-out keeps it"
        ),
        pytest.param(
            "process", TINY, {"levels": ("process", "thread")}, None, False, None,
            id="there may be no caller's level to go to",
        ),
        pytest.param("process", TINY, {}, 0, False, None, id="nothing is left to move"),
        pytest.param("process", TINY, {}, None, True, None, id="submitted calls stay"),
        pytest.param(
            "sequential", TINY._replace(wall_seconds=0.1), {}, None, False,
            ("process", Code.TASKS_GREW), id="tasks that grow go back",
        ),
        pytest.param(
            "sequential", Costs(9, 0, 0.1), {}, None, False, None,
            id="those that never were in a process have no way back",
        ),
        pytest.param("sequential", TINY, {}, None, False, None, id="tiny ones stay"),
        pytest.param("thread", TINY, {}, None, False, None, id="threads are not left so"),
    ],
)  # fmt: skip
def test_measuring_speaks_for_another_level(level, costs, settings, left, single, expected):
    config = Config(**{"inline": True} | settings)

    move = suggest_move(level, costs, config, workers=4, left=left, single=single)

    assert (move and (move.level, move.reason.code)) == expected
