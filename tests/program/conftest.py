"""What every test of the program's side gets: a check that nothing was left behind."""

import pytest

from tests.levels.ladder import start_what_is_kept
from tests.levels.leaks import watch_for_leaks


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind_by_the_module(request):
    start_what_is_kept(request.session.items)
    with watch_for_leaks():
        yield
