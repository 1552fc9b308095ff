"""A task knows its number and attempt, and has a folder that its next attempt finds again."""

import os
import signal
from pathlib import Path

import pytest

from adaptive_exec import adaptive_executor, current_task
from adaptive_exec.levels import current
from adaptive_exec.system.identity import name_of, this_process
from tests.levels.ladder import LEVELS, settings_at


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def tell(item):
    task = current_task()
    (task.folder / "state").write_text(str(item))
    return task.index, task.attempt, str(task.folder), item


@pytest.mark.parametrize("level", LEVELS)
def test_each_task_has_its_number_and_a_folder_of_its_own(level, temporary: Path):
    with adaptive_executor(**settings_at(level)) as ex:
        told = list(ex.map(tell, range(100, 140)))
        one = ex.submit(tell, "a").result(60)

    assert [index for index, _, _, _ in told] == list(range(40))
    assert {attempt for _, attempt, _, _ in told} == {1}
    assert len({folder for _, _, folder, _ in told} | {one[2]}) == 41
    assert list(temporary.iterdir()) == []


def crash_once(item):
    path = current_task().folder / "state"
    if item == 3 and not path.exists():
        path.write_text("half of it")
        os.kill(os.getpid(), signal.SIGKILL)
    return current_task().attempt, path.exists() and path.read_text()


@pytest.mark.parametrize("has_journal", [True, False], ids=["journal", "no journal"])
def test_the_next_attempt_finds_what_the_first_one_left(tmp_path: Path, temporary, has_journal):
    journal = {"journal": tmp_path / "run.journal"} if has_journal else {}
    with adaptive_executor(levels="process", **journal) as ex:
        answers = list(ex.map(crash_once, range(6)))

    assert answers == [(1, False)] * 3 + [(2, "half of it")] + [(1, False)] * 2
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "run.journal.tasks").exists()


def fail_once(item):
    path = current_task().folder / "state"
    if not path.exists():
        path.write_text("half of it")
        raise ValueError(item)
    return path.read_text()


@pytest.mark.parametrize("level", ["process", "thread", "sequential"])
def test_with_a_journal_a_failed_task_finds_its_state_in_a_later_run(tmp_path: Path, level):
    from adaptive_exec import Journal

    path = tmp_path / "run.journal"
    for retry in (False, True):
        journal = Journal(str(path), retry_failed=retry)
        with adaptive_executor(journal=journal, levels=level) as ex:
            outcomes = list(ex.outcomes(fail_once, ["a", "b"]))
        assert [one.error is None for one in outcomes] == [retry, retry]
        assert (tmp_path / "run.journal.tasks").exists() != retry

    assert [one.value for one in outcomes] == ["half of it"] * 2


def nest(item):
    with adaptive_executor(levels="sequential") as ex:
        inner = list(ex.map(tell, ["x", "y"]))
    return current_task().index, [index for index, _, _, _ in inner]


@pytest.mark.parametrize("level", ["process", "thread", "sequential"])
def test_a_task_within_a_task_is_the_current_one_meanwhile(level):
    with adaptive_executor(levels=level) as ex:
        assert list(ex.map(nest, range(3))) == [(index, [0, 1]) for index in range(3)]


def test_outside_a_task_there_is_none():
    with pytest.raises(RuntimeError, match="inside a task"):
        current_task()


def test_what_a_killed_program_left_is_removed_by_the_next_that_needs_a_folder(temporary: Path):
    here = this_process()
    owner = name_of(here._replace(started=here.started - 1))
    dead = temporary / f"{current.TEMPORARY_PREFIX}{owner}_0123456789abcdef"
    dead.mkdir(mode=0o700)
    (dead / "1-0").mkdir(parents=True)
    other = temporary / "somebody-elses"
    other.mkdir()

    with adaptive_executor(levels="thread") as ex:
        list(ex.map(tell, range(2)))

    assert list(temporary.iterdir()) == [other]
