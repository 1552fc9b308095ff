"""What every test of a level gets: a check that nothing was left behind.

A module with `SHARES = True` uses `shared_at`: what its executors hold is there before each test,
and gone after the module.
"""

import pytest

from adaptive_exec.levels import arena, functions, process, told
from tests.levels.ladder import close_shared, share, start_what_is_kept
from tests.levels.leaks import watch_for_leaks


@pytest.fixture(scope="module", autouse=True)
def what_is_idle_goes_soon(request):
    """Have what is kept for the next call let go soon: no check waits a second for it."""
    if request.module.__name__.endswith(("test_arena", "test_what_leaves")):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for module in (arena, functions, process, told):
            patch.setattr(module, "IDLE_SECONDS", 0.1)
        yield


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind_by_the_module(request):
    start_what_is_kept(request.session.items)
    with watch_for_leaks():
        yield
        close_shared()


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request):
    if getattr(request.module, "SHARES", False) and "level" in request.fixturenames:
        share(request.getfixturevalue("level"))
    with watch_for_leaks():
        yield
