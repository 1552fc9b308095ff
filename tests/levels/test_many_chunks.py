"""Ten thousand real chunks through each level: the last ones go as the first, and every number that
the run has learned by then is in its range."""

import pytest

from tests.levels.ladder import LEVELS, executor_at

CHUNKS = 10_000


def keep_at_first(number):
    """Keep some memory for good in the first call of a worker, and none after it."""
    if not KEPT:
        KEPT.append(b"x" * 20_000_000)
    return number


KEPT = []


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_ten_thousand_chunks_leave_every_number_in_its_range(level):
    with executor_at(level, share_host=False) as executor:
        found = list(executor.map(keep_at_first, range(CHUNKS), chunksize=1))

    assert found == list(range(CHUNKS))
    assert list(executor._driver._run.check()) == []
    assert executor.report.chunks >= CHUNKS


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_ten_thousand_submitted_calls_leave_every_number_in_its_range(level):
    with executor_at(level, share_host=False) as executor:
        futures = [executor.submit(keep_at_first, number) for number in range(CHUNKS)]
        found = [future.result(60) for future in futures]

    assert found == list(range(CHUNKS))
    assert list(executor._driver._run.check()) == []
