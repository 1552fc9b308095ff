"""The folder of a running task is nobody else's: not to remove, and not to prepare."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from adaptive_exec import adaptive_executor, current_task
from adaptive_exec.levels import current, task_folders
from adaptive_exec.levels.current import Place
from adaptive_exec.levels.task_folders import TaskFolders
from adaptive_exec.system.identity import name_of, this_process
from tests.levels.leaks import eventually
from tests.system.spaces import CONTAINER, OUTER_PROC, ask, end, start

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
OTHER = 12345

NEIGHBOUR = """
import sys
from adaptive_exec import adaptive_executor, current_task
def work(item):
    (current_task().folder / "state").write_text("theirs")
    return item
with adaptive_executor(levels="thread") as ex:
    print(list(ex.map(work, range(3))))
"""
RUNNING = """
import os, sys, time
from adaptive_exec import adaptive_executor, current_task
def work(item):
    (current_task().folder / "state").write_text("half of it")
    if item == 5:
        time.sleep(600)
    return item
with adaptive_executor(levels="process", max_workers=2) as ex:
    for value in ex.map(work, [1, 2, 5], chunksize=1):
        print(value, flush=True)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def found(temporary: Path, pattern: str) -> list[Path]:
    """Return what is there now; folders of tasks that end come and go meanwhile."""
    with suppress(FileNotFoundError):
        return list(temporary.glob(pattern))
    return []


def states(temporary: Path) -> list[str]:
    texts = []
    for path in found(temporary, "*/*/state"):
        with suppress(FileNotFoundError):
            texts.append(path.read_text())
    return texts


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param((), CONTAINER, id="from a container"),
        pytest.param((), OUTER_PROC, id="from a container that sees the outer processes"),
        pytest.param(CONTAINER, (), id="in a container"),
        pytest.param(CONTAINER, CONTAINER, id="from one container in another"),
        pytest.param((), (), id="from a process beside it"),
    ],
)
def test_the_folder_of_a_running_task_is_not_swept(temporary: Path, ours, theirs):
    running = start(ours, RUNNING)
    try:
        assert eventually(lambda: "half of it" in states(temporary))

        assert ask(theirs, NEIGHBOUR) == "[0, 1, 2]"

        assert running.stdout.readline() == "1\n"
        assert running.stdout.readline() == "2\n"
        assert eventually(lambda: found(temporary, f"*/{task_folders._HELD}"))
        assert ask(theirs, NEIGHBOUR) == "[0, 1, 2]"
        assert eventually(lambda: states(temporary) == ["half of it"])
    finally:
        end(running)


@pytest.mark.faults
def test_what_a_killed_container_left_is_removed_by_the_next_that_needs_a_folder(temporary: Path):
    running = start(CONTAINER, RUNNING)
    assert running.stdout.readline() == "1\n"
    assert eventually(lambda: found(temporary, f"*/{task_folders._HELD}"))
    end(running)

    def sweep() -> bool:
        ask((), NEIGHBOUR)
        return list(temporary.iterdir()) == []

    assert eventually(sweep)


def test_a_folder_of_which_nothing_is_known_stays(temporary: Path):
    here = this_process()
    names = [
        name_of(here._replace(boot="another", pid=2**22 + 1)),
        name_of(here._replace(space="pid:[1]", pid=2**22 + 1)),
        f"{here.pid}-1-1",
    ]
    for name in names:
        (temporary / f"{current.TEMPORARY_PREFIX}{name}_0011").mkdir(mode=0o700)

    ask((), NEIGHBOUR)

    assert len(list(temporary.iterdir())) == len(names)


@needs_root
def test_a_folder_of_another_user_is_not_swept_whatever_its_name_says(temporary: Path):
    gone = name_of(this_process()._replace(pid=2**22 + 1))
    path = temporary / f"{current.TEMPORARY_PREFIX}{gone}_0011"
    path.mkdir(mode=0o700)
    os.chown(path, OTHER, -1)

    ask((), NEIGHBOUR)

    assert path.exists()


def test_no_two_executors_of_a_process_have_names_that_others_foresee():
    first, second = TaskFolders.temporary(), TaskFolders.temporary()

    assert first.base != second.base
    assert len(first.base.rpartition("_")[2]) == 16


def become(user: int, folder: Path, step) -> None:
    """Do something in a folder in a child that is another user, who may not come there himself."""
    pid = os.fork()
    if not pid:
        try:
            os.chdir(folder)
            os.setuid(user)
            step()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def read_state(item):
    return (current_task().folder / "state").exists()


@needs_root
@pytest.mark.parametrize("level", ["process", "thread"])
def test_a_folder_that_another_user_has_prepared_beside_a_journal_is_refused(tmp_path: Path, level):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)

    def prepare() -> None:
        base = Path("run.journal.tasks")
        base.mkdir()
        base.chmod(0o777)

    become(OTHER, shared, prepare)
    with adaptive_executor(levels=level, journal=shared / "run.journal") as ex:
        (outcome, *_) = ex.outcomes(read_state, range(4))

    assert type(outcome.error).__name__ == "NotOursError"
    assert f"user {OTHER}" in str(outcome.error)


@needs_root
def test_a_link_in_the_place_of_a_tasks_folder_is_refused(tmp_path: Path):
    journal, elsewhere = tmp_path / "run.journal", tmp_path / "elsewhere"
    journal.touch()
    elsewhere.mkdir()
    Path(f"{journal}.tasks").symlink_to(elsewhere)
    place = Place(f"{journal}.tasks", b"", 1, 0, 1)

    with pytest.raises(OSError, match="not a folder"):
        _ = current.CurrentTask(place, 0).folder
