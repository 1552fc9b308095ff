"""What every test of a level gets: the level by name, and a check that nothing was left behind."""

import pytest

from tests.levels.leaks import watch_for_leaks


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    with watch_for_leaks():
        yield
