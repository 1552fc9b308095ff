"""A submitted call that must wait for its turn is run when that comes, with nobody to drive."""

import pytest

from adaptive_exec import adaptive_executor
from tests.levels import work
from tests.levels.leaks import eventually

LONG_SECONDS = 60.0


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    folder = tmp_path / "ledger"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("ADAPTIVE_EXEC_LEDGER", str(folder))


def test_a_call_that_waits_for_its_share_of_memory_runs_once_there_is_one(tmp_path):
    go = tmp_path / "go"
    said = []
    settings = {"task_memory": "60%", "max_workers": 1}
    with (
        adaptive_executor(**settings) as first,
        adaptive_executor(
            **settings, on_event=lambda event: said.append(event["reason"])
        ) as second,
    ):
        holding = first.submit(work.wait_for, str(go))
        assert eventually(lambda: first.progress_now().in_flight == 1)
        waiting = second.submit(abs, -7)
        assert eventually(lambda: "share_awaited" in said), said
        go.touch()

        assert waiting.result(LONG_SECONDS) == 7
        holding.result(LONG_SECONDS)


def test_a_call_that_another_executor_runs_for_the_same_journal_ends_with_it(tmp_path):
    go, journal = tmp_path / "go", str(tmp_path / "journal")
    with (
        adaptive_executor(max_workers=1, journal=journal) as first,
        adaptive_executor(max_workers=1, journal=journal) as second,
    ):
        running = first.submit(work.wait_for, str(go))
        assert eventually(lambda: first.progress_now().in_flight == 1)
        same = second.submit(work.wait_for, str(go))
        go.touch()

        assert running.result(LONG_SECONDS) == same.result(LONG_SECONDS)
        assert second.report.recalled_tasks == 1


def test_a_call_that_comes_while_the_first_one_is_let_in_is_as_good():
    nested = []
    with adaptive_executor(max_workers=2, isolate=True) as executor:
        prepare = executor._preload_for_submits

        def interrupted(function):
            if not nested:
                nested.append(None)
                nested[0] = executor.submit(abs, -1)  # as a finalizer does, or a signal's handler
            return prepare(function)

        executor._preload_for_submits = interrupted
        outer = executor.submit(abs, -2)

        assert outer.result(LONG_SECONDS) == 2
        assert nested[0].result(LONG_SECONDS) == 1
        assert executor.report.tasks == 2
