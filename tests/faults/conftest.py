"""Every test here inflicts a real fault, and none may leave anything behind."""

import pytest

from tests.levels.ladder import start_what_is_kept
from tests.levels.leaks import watch_for_leaks


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/faults/" in item.path.as_posix() and not item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.faults)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request):
    start_what_is_kept([request.node])
    with watch_for_leaks():
        yield
