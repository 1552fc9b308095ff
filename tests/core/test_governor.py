"""How tight memory is, and when to look again."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.core.governor import CALM, LOOK_MAX_SECONDS, LOOK_MIN_SECONDS, judge_memory
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
            12 * GIB, 32 * GIB, "normal", {"critical_memory": 0.6}, "critical", id="of critical too"
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
        pytest.param(2 * GIB + 600_000_000, 0.1, id="as often as it could be filled"),
        pytest.param(GIB, LOOK_MIN_SECONDS, id="none at all is looked at 20 times a second"),
    ],
)
def test_the_next_look_comes_before_memory_can_be_gone(available, expected):
    assert judge(available).look_again_seconds == pytest.approx(expected)


@given(available=st.integers(0, 32 * GIB), before=st.sampled_from(sorted(CODES)))
def test_for_constant_facts_the_verdict_settles_at_once(available, before):
    first = judge(available, before=before)

    assert judge(available, before=first.pressure).pressure == first.pressure


@given(st.lists(st.integers(0, 32 * GIB), min_size=2, max_size=2), st.sampled_from(sorted(CODES)))
def test_less_memory_is_never_less_pressure(pair, before):
    order = list(CODES)

    found = [order.index(judge(available, before=before).pressure) for available in sorted(pair)]

    assert all(less >= more for less, more in pairwise(found))
