"""A run is looked at from the shell, as a page and in words: over, under way, or killed."""

import os
import re
import signal

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.cli.looking import look_into
from tests.e2e.shell import WORK, count_results, folders, run, start, wait_for

TASKS = 30


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "work.py").write_text(WORK)
    (folder / "numbers.txt").write_text("".join(f"{number}\n" for number in range(TASKS)))
    (folder / "naps.txt").write_text("0.02\n" * 2_000)
    done = run(folder, "run", "--function", "work:odd_fails", "--input", "numbers.txt", "-o")
    assert done.returncode == 1, done.stderr
    return folder


def only_folder(here):
    (found,) = [path.parent for path in here.glob("runs/*/*/results.csv")]
    return found


def test_the_page_of_a_run_lies_in_its_folder(here):
    folder = only_folder(here)
    done = run(here, "report", str(folder))

    assert (done.returncode, done.stderr) == (0, "")
    page = (folder / "report.html").read_text()
    assert done.stdout.startswith(str(folder / "report.html"))
    assert f"<dd>{TASKS}, {TASKS // 2} of them failed</dd>" in page
    assert "Traceback of the first ValueError" in page
    assert "odd_fails" in page
    assert "Workers over time" in page


@pytest.mark.parametrize("name", ["folder", "card", "name", "journal"])
def test_a_run_is_found_by_any_of_its_names(here, name):
    folder = only_folder(here)
    names = {"folder": str(folder), "card": folder.parent.name, "name": folder.name}
    names["journal"] = str(folder / "run.journal")

    done = run(here, "explain", names[name], "level")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("levels: process")


def test_two_runs_stand_beside_each_other(here):
    folder = str(only_folder(here))
    done = run(here, "report", folder, "--compare", folder, "-o", "both.html")

    assert done.returncode == 0, done.stderr
    assert 'id="compare"' in (here / "both.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "reason batch_large"),
        (("3",), "task 3 ended"),
        (("worker", "1"), "worker 1, process"),
        (("now",), "instances share this host|the window is"),
    ],
    ids=str,
)
def test_things_are_explained(here, words, said):
    done = run(here, "explain", str(only_folder(here)), *words)

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(said, done.stdout)


def test_a_task_is_explained_by_its_key(here):
    journal = only_folder(here) / "run.journal"
    failed = next(one for one in look_into(journal).entries if one.status == "failed")

    done = run(here, "explain", str(journal), failed.key[:10])

    assert f"{failed.key}: failed, execution 1" in done.stdout
    assert "it failed: ValueError: odd" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [("report", "nowhere"), ("explain", "nowhere"), ("report",), ("report", "/no/where")],
    ids=str,
)
def test_a_run_that_is_not_there_is_a_mistake_of_use(here, arguments):
    done = run(here, *arguments)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_what_cannot_be_explained_is_a_mistake_of_use(here):
    done = run(here, "explain", str(only_folder(here)), "the weather")

    assert done.returncode == 2
    assert "must be a task's number" in done.stderr


def test_a_run_is_looked_at_while_it_goes_on_and_after_it_was_killed(here):
    command = ("run", "--function", "work:nap", "--input", "naps.txt", "--max-workers", "2")
    process = start(here, *command, "--runs", "live")
    try:
        journals = lambda: list(here.glob("live/*/*/run.journal"))  # noqa: E731
        wait_for(lambda: journals() and count_results(journals()[0]) > 20)
        wait_for(lambda: look_into(journals()[0]).pictured_at is not None)
        (journal,) = journals()
        live = run(here, "report", str(journal.parent), "-o", "live.html")
        page = (here / "live.html").read_text()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    after = run(here, "report", str(journal.parent), "-o", "dead.html")

    assert (live.returncode, after.returncode) == (0, 0)
    assert live.stdout.rstrip().endswith("running")
    assert "It is running; the pictures are of" in page
    assert "Workers over time" in page
    assert after.stdout.rstrip().endswith("not finished")
    assert "--resume" in (here / "dead.html").read_text()
    assert folders(live.stdout) == []


def test_an_executors_own_journal_tells_as_well(tmp_path):
    journal = tmp_path / "own.journal"
    with adaptive_executor(journal=journal, max_workers=2, isolate=True) as executor:
        list(executor.map(abs, range(20)))
        report = executor.report

    found = look_into(journal)

    assert found.report.tasks == report.tasks == 20
    assert found.state == ""
    assert len(found.entries) == 20
    done = run(tmp_path, "report", "own.journal")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "own.journal.html").exists()
