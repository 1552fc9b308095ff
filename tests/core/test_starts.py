"""A way to start workers that fails for good is left at once; a refused one is tried again."""

import pytest

from adaptive_exec.core.starts import Setback, judge

BOOT = Setback("boot", "exit 1: ImportError: no codec")
REFUSED = Setback("launch", "OSError: [Errno 11] Resource temporarily unavailable", is_passing=True)
THREADS = Setback("threads", "tracer", is_certain=True)


@pytest.mark.parametrize(
    ("before", "now", "has_other", "answer"),
    [
        pytest.param(None, REFUSED, True, "again", id="what was refused may be had later"),
        pytest.param(REFUSED, REFUSED, True, "again", id="however often"),
        pytest.param(None, THREADS, True, "other", id="what is certain is not tried again"),
        pytest.param(THREADS, THREADS, False, "none", id="and no way is left"),
        pytest.param(None, BOOT, True, "again", id="what may be chance is tried again"),
        pytest.param(BOOT, BOOT, True, "other", id="the same at the same place is none"),
        pytest.param(BOOT, BOOT, False, "none", id="nor where no way is left"),
        pytest.param(BOOT, BOOT._replace(error="exit 2"), True, "again", id="another one is news"),
        pytest.param(REFUSED, BOOT, True, "again", id="and one after a refusal"),
    ],
)
def test_what_follows_from_a_setback(before, now, has_other, answer):
    assert judge(before, now, has_other=has_other) == answer
