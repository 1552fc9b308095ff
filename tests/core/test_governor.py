"""How tight memory is, and when to look again."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.core.memory.governor import (
    CALM,
    LOOK_MAX_SECONDS,
    LOOK_MIN_SECONDS,
    Candidate,
    choose_victim,
    foresee,
    judge_memory,
    set_marks,
)
from adaptive_exec.core.reason import Code
from tests.core.world import make_host

CODES = {"normal": Code.MEMORY_NORMAL, "warn": Code.MEMORY_WARN, "critical": Code.MEMORY_CRITICAL}


def judge(available, limit=32 * GIB, before="normal", **settings):
    verdict = CALM._replace(pressure=before)
    return judge_memory(verdict, make_host(available=available, limit=limit), Config(**settings))


@pytest.mark.parametrize(
    ("available", "limit", "before", "settings", "expected"),
    [
        pytest.param(20 * GIB, 32 * GIB, "normal", {}, "normal", id="plenty is normal"),
        pytest.param(4 * GIB, 32 * GIB, "normal", {}, "normal", id="the mark itself is normal"),
        pytest.param(4 * GIB - 1, 32 * GIB, "normal", {}, "warn", id="under 4 GiB is warn"),
        pytest.param(2 * GIB - 1, 32 * GIB, "normal", {}, "critical", id="under 2 GiB is critical"),
        pytest.param(GIB, 4 * GIB, "normal", {}, "normal", id="a small host warns at a fifth"),
        pytest.param(800 * MIB, 4 * GIB, "normal", {}, "warn", id="under a fifth of a small host"),
        pytest.param(300 * MIB, 4 * GIB, "normal", {}, "critical", id="under 8 % of a small host"),
        pytest.param(4.5 * GIB, 32 * GIB, "warn", {}, "warn", id="a little above does not ease"),
        pytest.param(5.1 * GIB, 32 * GIB, "warn", {}, "normal", id="a quarter above eases"),
        pytest.param(
            2.2 * GIB, 32 * GIB, "critical", {}, "critical", id="nor does it ease critical"
        ),
        pytest.param(2.6 * GIB, 32 * GIB, "critical", {}, "warn", id="critical eases to warn"),
        pytest.param(20 * GIB, 32 * GIB, "critical", {}, "normal", id="or at once to normal"),
        pytest.param(
            12 * GIB, 32 * GIB, "normal", {"warn_memory": "50%"}, "warn", id="a mark of one's own"
        ),
        pytest.param(
            12 * GIB, 32 * GIB, "normal", {"critical_memory": 0.4}, "critical", id="of critical too"
        ),
    ],
)
def test_pressure_rises_at_once_and_falls_with_hysteresis(
    available, limit, before, settings, expected
):
    verdict = judge(int(available), limit, before, **settings)

    assert (verdict.pressure, verdict.reason.code) == (expected, CODES[expected])


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        pytest.param(32 * GIB, LOOK_MAX_SECONDS, id="plenty is looked at every second"),
        pytest.param(2 * GIB + 1_080_000_000, 0.1, id="as often as it could be filled"),
        pytest.param(GIB, LOOK_MIN_SECONDS, id="none at all is looked at 20 times a second"),
    ],
)
def test_the_next_look_comes_before_memory_can_be_gone(available, expected):
    assert judge(available).look_again_seconds == pytest.approx(expected)


@pytest.mark.parametrize(("cores", "expected"), [(1, 0.9), (4, 0.5), (256, LOOK_MIN_SECONDS)])
def test_many_cores_fill_memory_faster_than_one(cores, expected):
    available = 2 * GIB + 5_400_000_000
    host = make_host(available=available, cores=cores)

    assert judge_memory(CALM, host, Config()).look_again_seconds == pytest.approx(expected)


@given(available=st.integers(0, 32 * GIB), before=st.sampled_from(sorted(CODES)))
def test_for_constant_facts_the_verdict_settles_at_once(available, before):
    first = judge(available, before=before)

    assert judge(available, before=first.pressure).pressure == first.pressure


@given(st.lists(st.integers(0, 32 * GIB), min_size=2, max_size=2), st.sampled_from(sorted(CODES)))
def test_less_memory_is_never_less_pressure(pair, before):
    order = list(CODES)

    found = [order.index(judge(available, before=before).pressure) for available in sorted(pair)]

    assert all(less >= more for less, more in pairwise(found))


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param(250, 100, "critical", id="it would be gone before the next look"),
        pytest.param(110, 100, "warn", id="it goes slowly"),
        pytest.param(50, 100, "warn", id="it comes back"),
        pytest.param(450, 200, "normal", id="there is enough all the same"),
    ],
)
def test_a_fast_loss_at_warn_counts_as_critical(before, now, expected):
    host = make_host(available=now * MIB, limit=512 * MIB, at=0.05)
    earlier = CALM._replace(at=0.0, available_bytes=before * MIB)

    verdict = foresee(earlier, judge_memory(CALM, host, Config()))

    assert (verdict.pressure, verdict.reason.code) == (expected, CODES[expected])


def test_the_kernels_stall_information_is_a_second_witness():
    host = make_host(available=110 * MIB, limit=512 * MIB)
    assert judge_memory(CALM, host, Config()).pressure == "normal"

    stalled = host._replace(stall_percent=20.0)
    verdict = judge_memory(CALM, stalled, Config())

    assert (verdict.pressure, verdict.reason.fact("stall")) == ("warn", 20.0)


@pytest.mark.parametrize(
    ("settings", "target", "most"),
    [
        pytest.param({}, 70, 78, id="by default the warn mark is near"),
        pytest.param({"target_memory": 0.5}, 50, 50, id="a target of the user's is kept"),
        pytest.param({"warn_memory": 0.4}, 58, 58, id="the warn mark bounds the target"),
    ],
)
def test_marks_lie_in_order(settings, target, most):
    marks = set_marks(make_host(limit=1000 * MIB), Config(**settings))

    assert (marks.target_bytes // (10 * MIB), marks.most_bytes // (10 * MIB)) == (target, most)
    assert marks.critical_bytes <= marks.warn_bytes <= 1000 * MIB - marks.most_bytes


@pytest.mark.parametrize(
    ("held", "wanted", "chosen"),
    [
        pytest.param([], 10, None, id="nobody there"),
        pytest.param([50, 60, 70], 40, 0, id="the youngest"),
        pytest.param([5, 60, 70], 40, 1, id="the youngest that is enough"),
        pytest.param([5, 30, 20], 40, 1, id="the largest where none is enough"),
        pytest.param([1, 2, 3], 40, None, id="nobody where all together are not the trouble"),
        pytest.param([None, None], 40, 0, id="the youngest where nothing is known"),
    ],
)
def test_whose_worker_goes(held, wanted, chosen):
    candidates = [Candidate(number, size) for number, size in enumerate(held)]

    choice = choose_victim(candidates, wanted)

    assert (choice and choice.chunk) == chosen
