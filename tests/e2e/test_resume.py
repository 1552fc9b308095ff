"""A run that broke off is gone on with, from the shell; what it had done is not done again."""

import json
import shlex
import signal
from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.shell import WORK, count_results, folders, run, start, stop, wait_for

WORK_THAT_NOTES = (
    WORK
    + """
def is_far():
    if not os.path.exists("ran"):
        return False
    with open("ran") as file:
        return len(file.readlines()) >= 8

def note(text):
    while os.path.exists("held") and is_far():
        time.sleep(0.01)
    nap(text)
    with open("ran", "a") as file:
        file.write(text + "\\\\n")
    return {"slept": float(text)}

def fail_once(text):
    note(text)
    if not os.path.exists("mended"):
        raise ValueError(text)
    return text
"""
).replace("\\\\n", "\\n")
TASKS = 40


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "work.py").write_text(WORK_THAT_NOTES)
    (tmp_path / "naps.txt").write_text("".join(f"0.01{number:03}\n" for number in range(TASKS)))
    return tmp_path


NOTES = ["run", "--function", "work:note", "--input", "naps.txt", "--max-workers", "2"]


def count_ran(here: Path) -> int:
    path = here / "ran"
    return len(path.read_text().split()) if path.exists() else 0


def resume_line(text: str) -> list[str]:
    """Return the arguments of the command that the run said, as a shell would read them."""
    (line,) = {
        line.split("resume with: ")[1] for line in text.splitlines() if "resume with" in line
    }
    program, *arguments = shlex.split(line)
    assert program == "adaptive-exec"
    return arguments


def begin(here: Path, *arguments: str, number: signal.Signals, done: int = 6) -> str:
    """Start a run and stop it when some tasks are done; return what it said on standard error.

    It goes no further than a few tasks by itself.
    """
    (here / "held").touch()
    process = start(here, *arguments)
    wait_for(lambda: sum(map(count_results, here.rglob("*.journal"))) >= done)
    _, err, _ = stop(process, number)
    (here / "held").unlink()
    return err


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "termination"]
)
def test_the_very_command_that_a_stopped_run_says_goes_on_with_it(here: Path, number):
    err = begin(here, *NOTES, number=number)
    before = count_ran(here)

    ended = run(here, *resume_line(err))

    assert ended.returncode == 0, ended.stderr
    rows = pd.read_csv(folders(ended.stdout)[0] / "results.csv")
    assert list(rows["slept"]) == [float(f"0.01{number:03}") for number in range(TASKS)]
    recalled = int(ended.stdout.split(" of them from the journal")[0].split()[-1])
    assert recalled >= 4
    assert count_ran(here) <= TASKS + 2 + (before - recalled)
    assert not (folders(ended.stdout)[0] / "partial.csv").exists()


@pytest.mark.slow
def test_after_a_kill_the_next_run_says_how_to_go_on(here: Path):
    begin(here, *NOTES, number=signal.SIGKILL)

    other = run(here, *NOTES, "-c", "1")
    ended = run(here, *resume_line(other.stderr))

    assert ended.returncode == 0, ended.stderr
    assert " of them from the journal" in ended.stdout
    assert folders(ended.stdout) != folders(other.stdout)


@pytest.mark.slow
def test_resume_without_a_name_takes_the_latest_unfinished_run(here: Path):
    begin(here, *NOTES, number=signal.SIGINT)
    finished = run(here, *NOTES, "-c", "1")
    assert finished.returncode == 0

    ended = run(here, *NOTES, "--resume")

    assert ended.returncode == 0, ended.stderr
    assert folders(ended.stdout) != folders(finished.stdout)
    assert " of them from the journal" in ended.stdout
    none_left = run(here, *NOTES, "--resume")
    assert none_left.returncode == 2
    assert "no run of work.note is unfinished" in none_left.stderr


@pytest.mark.slow
def test_a_sample_is_the_same_when_it_is_gone_on_with(here: Path):
    err = begin(here, *NOTES, "-c", "-30", number=signal.SIGINT)

    ended = run(here, *NOTES, "--resume")

    assert "--seed" in err
    assert ended.returncode == 0, ended.stderr
    assert "30 tasks - 0 timeouts" in ended.stdout
    assert len(set((here / "ran").read_text().split())) == 30


@pytest.mark.slow
def test_an_output_has_its_journal_beside_it(here: Path):
    arguments = [*NOTES, "--output", "out.csv"]
    err = begin(here, *arguments, number=signal.SIGINT)
    assert (here / "out.csv.journal").exists()

    refused = run(here, *arguments)
    ended = run(here, *resume_line(err))

    assert refused.returncode == 2
    assert "a run is not finished" in refused.stderr
    assert ended.returncode == 0, ended.stderr
    assert len(pd.read_csv(here / "out.csv")) == TASKS
    again = run(here, *arguments, "--force", "-c", "2")
    assert again.returncode == 0, again.stderr
    said = again.stdout.replace(str(here), "")  # the folder has the test's name
    assert "journal" not in said, "a finished run is over; a new one begins anew"


@pytest.mark.slow
def test_failures_run_again_when_asked(here: Path):
    arguments = ["run", "--function", "work:fail_once", "--input", "naps.txt", "-c", "5"]
    first = run(here, *arguments)
    (here / "mended").touch()

    ended = run(here, *arguments, "--retry-failed")

    assert first.returncode == 1
    assert ended.returncode == 0, ended.stderr
    assert folders(ended.stdout) == folders(first.stdout)
    assert count_ran(here) == 10


@pytest.mark.slow
def test_a_changed_function_is_refused_and_the_message_says_how_to_go_on(here: Path):
    begin(here, *NOTES, number=signal.SIGINT)
    text = (here / "work.py").read_text().replace('{"slept": float(text)}', '{"slept": 0.0}')
    (here / "work.py").write_text(text)

    refused = run(here, *NOTES, "--resume")
    accepted = run(here, *NOTES, "--resume", "--accept-changed")

    assert refused.returncode == 2, refused.stderr
    assert "--accept-changed" in refused.stderr
    assert accepted.returncode == 0, accepted.stderr
    assert " of them from the journal" in accepted.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [["--resume", "-i"], ["--resume", "-n", "2"], ["--resume", "--no-journal"]],
    ids=["afresh", "instances", "no journal"],
)
def test_what_contradicts_a_resume_is_refused(here: Path, more):
    refused = run(here, *NOTES, *more)

    assert refused.returncode == 2
    assert "leave one of them out" in refused.stderr


@pytest.mark.slow
def test_a_foreign_journal_is_refused_and_left_as_it_is(here: Path):
    (here / "out.csv.journal").write_text("precious")

    for more in ([], ["-i"], ["--resume"]):
        refused = run(here, *NOTES, "--output", "out.csv", *more)
        assert refused.returncode == 2, refused.stderr
        assert "journal foreign" in refused.stderr

    assert (here / "out.csv.journal").read_text() == "precious"


@pytest.mark.slow
def test_the_journal_of_another_card_is_refused(here: Path):
    (here / "one.txt").write_text("1\n")
    begin(here, *NOTES, "--output", "out.csv", number=signal.SIGINT)

    refused = run(
        here,
        "run",
        "--function",
        "work:double",
        "--input",
        "one.txt",
        "--output",
        "out.csv",
        "--resume",
    )

    assert refused.returncode == 2
    assert "journal other card" in refused.stderr


@pytest.mark.slow
def test_a_journal_is_shown_and_exported_and_pruned(here: Path):
    arguments = ["run", "--function", "work:odd_fails", "--input", "numbers.txt"]
    (here / "numbers.txt").write_text("".join(f"{number}\n" for number in range(10)))
    ended = run(here, *arguments, "-o")
    (folder,) = folders(ended.stdout)

    shown = run(here, "journal", str(folder))
    assert "10 tasks: 5 done, 5 failed\n  5 ValueError\n" in shown.stdout
    for name in ("all.csv", "all.parquet", "all.jsonl"):
        assert run(here, "journal", str(folder), "--export", name).stdout == f"10 tasks in {name}\n"
    table = pd.read_csv(here / "all.csv")
    assert sorted(table["value.number"].dropna()) == [0, 2, 4, 6, 8]
    assert set(table["status"]) == {"done", "failed"}
    assert list(pd.read_parquet(here / "all.parquet")["key"]) == list(table["key"])
    lines = [json.loads(line) for line in (here / "all.jsonl").read_text().splitlines()]
    assert {line["value"]["number"] % 2 for line in lines if line["status"] == "done"} == {0}
    assert run(here, "journal", str(folder), "--export", "all.csv").returncode == 2
    assert "0 runs removed" in run(here, "journal", "--prune", "1d", "--yes").stdout


@pytest.mark.slow
def test_what_is_pruned_is_listed_first_and_goes_only_once_that_is_agreed_to(here: Path):
    (folder,) = folders(run(here, *NOTES, "-c", "2").stdout)
    (folder / "mine.txt").touch()
    before = sorted(path.name for path in folder.iterdir())

    bare = run(here, "journal", "--prune", "30")
    asked = run(here, "journal", "--prune", "1ms")

    assert (bare.returncode, asked.returncode) == (2, 2)
    assert f"{folder}: finished" in asked.stdout
    assert sorted(path.name for path in folder.iterdir()) == before

    assert "outputs are kept" in run(here, "journal", "--prune", "1ms", "--yes").stdout
    assert not (folder / "run.journal").exists()
    assert (folder / "results.csv").is_file()
    run(here, "journal", "--prune", "1ms", "--yes", "--outputs")
    assert {path.name for path in folder.iterdir()} == {".lock", "mine.txt"}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["absent"], [], ["--prune", "soon"]], ids=repr)
def test_the_command_journal_says_what_is_wrong(here: Path, arguments):
    refused = run(here, "journal", *arguments)

    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_run_can_do_without_a_journal(here: Path):
    ended = run(here, *NOTES, "-c", "2", "--no-journal")

    assert ended.returncode == 0
    assert not (folders(ended.stdout)[0] / "run.journal").exists()
