"""Programs that tasks start are let out by what they take, under a real limit."""

import pytest

from tests.faults.memory_batches import run_batch


@pytest.mark.slow
@pytest.mark.faults
def test_programs_that_tasks_start_are_let_out_by_what_they_take():
    tasks = [(100, 0.2)] * 16
    said, kills, log = run_batch("start", tasks)

    assert (said["right"], kills) == (len(tasks), 0), log
    assert said["peak"] >= 100_000_000
    assert said["window"] < 5


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize(
    "settings", [{}, {"levels": "thread", "isolate": False}], ids=["processes", "threads"]
)
def test_programs_of_which_three_fit_beside_each_other_are_never_killed(settings):
    tasks = [(150, 0.3)] * 8
    said, kills, log = run_batch("start", tasks, **settings)

    assert (said["right"], kills) == (len(tasks), 0), log
