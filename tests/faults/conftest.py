"""Every test here inflicts a real fault, and none may leave anything behind."""

import pytest

from tests.levels.ladder import start_what_is_kept
from tests.levels.leaks import watch_for_leaks

OF_THEIR_OWN = ("soak", "examples")
"""Rings of tests that lie here and are not of the ring of faults."""


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/faults/" not in item.path.as_posix():
            continue
        if not any(map(item.get_closest_marker, OF_THEIR_OWN)):
            item.add_marker(pytest.mark.faults)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request):
    start_what_is_kept([request.node])
    with watch_for_leaks():
        yield
