"""Cards and commands as a user runs them: files in, files out, and a kill in between."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adaptive_exec.cli import main
from tests.e2e.shell import MAIN, WAIT_SECONDS, count_results, folders, run, start, wait_for

FUNCTIONS = """
import os, pathlib, time

def square(record):
    if record["id"] == "3":
        raise ValueError("no three")
    return {"square": int(record["id"]) ** 2}

def area(a, b):
    return {"area": a * b}

def wait(record):
    while record["id"] == "5" and not pathlib.Path(os.environ["GO"]).exists():
        time.sleep(0.02)
    return {"pid": os.getpid()}
"""
CARD = """
[task]
function = "of_card.py:square"
[input]
file = "t.csv"
columns = ["id"]
[output]
file = "out.jsonl"
keep = true
flush_interval = "1ms"
[run]
max_workers = 2
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "of_card.py").write_text(FUNCTIONS)
    (tmp_path / "t.csv").write_text("id,name\n" + "".join(f"{n},n{n}\n" for n in range(1, 6)))
    (tmp_path / "mine.toml").write_text(CARD)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_card_runs_isolated_and_its_rows_are_in_the_output(here: Path):
    done = run(here, "run", "mine.toml", "--events", "events.jsonl")

    assert done.returncode == 1, done.stderr
    found = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert [row.get("square") for row in found] == [1, 4, None, 16, 25]
    assert found[2] == {"index": 2, "id": "3", "error": "ValueError: no three"}
    assert "Loaded columns: ['id']" in done.stderr
    assert "levels: process, workers: 2" in done.stdout
    assert not (here / "out.jsonl.part").exists()


def test_what_the_command_line_says_wins_over_the_card(here: Path):
    done = run(
        here, "run", "mine.toml", "--set", "output.file=other.csv", "--n-limit", "2",
        "--workers", "1", "--timeout", "1m", "--flush-interval", "5s", "--max-in-flight", "4",
        "--target-memory", "70.0",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert [row["square"] for row in rows(here / "other.csv")] == ["1", "4"]
    assert "workers: 1," in done.stdout


@pytest.mark.slow
def test_a_card_elsewhere_finds_what_lies_beside_it(here: Path, tmp_path: Path):
    place = tmp_path / "elsewhere"
    place.mkdir()

    done = run(place, "run", str(here / "mine.toml"), "-c", "1")

    assert done.returncode == 0, done.stderr
    assert (here / "out.jsonl").exists()


@pytest.mark.slow
def test_axes_give_a_row_for_each_point_in_their_order(here: Path):
    (here / "sweep.toml").write_text(
        '[task]\nfunction = "of_card.py:area"\nkeywords = true\n'
        "[sweep]\na = [1, 2]\nb = [3, 4]\n[output]\nfile = 'out.csv'\n"
    )

    done = run(here, "run", "sweep.toml")

    assert done.returncode == 0, done.stderr
    assert [(row["a"], row["b"], row["area"]) for row in rows(here / "out.csv")] == [
        ("1", "3", "3"),
        ("1", "4", "4"),
        ("2", "3", "6"),
        ("2", "4", "8"),
    ]


@pytest.mark.slow
def test_a_killed_card_leaves_rows_to_read_and_goes_on_where_it_was(here: Path):
    (here / "mine.toml").write_text(CARD.replace("square", "wait").replace("jsonl", "csv"))
    go = here / "go"
    killed = start(here, "run", "mine.toml", GO=str(go))
    part = here / "out.csv.part"
    journal = here / "out.csv.journal"
    wait_for(lambda: count_results(journal) >= 4 and part.exists() and len(rows(part)) >= 4)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=WAIT_SECONDS)
    before = {row["id"]: row["pid"] for row in rows(part)}
    go.touch()

    done = run(here, "run", "mine.toml", "--resume", GO=str(go))

    assert done.returncode == 0, done.stderr
    after = {row["id"]: row["pid"] for row in rows(here / "out.csv")}
    assert list(after) == ["1", "2", "3", "4", "5"]
    assert {name: after[name] for name in before} == before
    assert not part.exists()


def test_a_command_runs_for_each_row_and_prints_in_order(here: Path):
    done = run(
        here, "run", "--input", "t.csv", "--keep-order", "--results", "all",
        "--", "sh", "-c", "echo {name}; echo no >&2; exit {id}", "--workers",
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert done.stdout == "n1\nn2\nn3\nn4\nn5\n"
    (folder,) = folders(done.stderr)
    found = rows(folder / "results.csv")
    assert [(row["exit_code"], row["stdout"], row["stderr"]) for row in found] == [
        (str(number), f"n{number}\n", "no\n") for number in range(1, 6)
    ]
    assert (here / "all/4/stdout").read_text() == "n5\n"


@pytest.mark.slow
def test_lines_of_standard_input_are_tasks(here: Path):
    done = subprocess.run(
        [*MAIN, "run", "--input", "-", "--keep-order", "--", "echo", "got"],
        cwd=here,
        input="a b\nc\n",
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "got a b\ngot c\n"), done.stderr


def test_a_dry_run_prints_commands_for_a_shell_and_runs_none(here: Path):
    done = run(
        here, "run", "--input", "t.csv", "--dry-run", "-c", "2", "--", "touch", "{name} {id}"
    )

    assert (done.returncode, done.stdout) == (0, "touch 'n1 1'\ntouch 'n2 2'\n")
    assert not (here / "runs").exists()
    assert not (here / "n1 1").exists()


@pytest.mark.parametrize("batches", ["", "batch_size = 2"], ids=["of rows", "of frames"])
def test_a_dry_run_of_a_card_without_a_command_says_so(batches: str, here: Path):
    card = CARD.replace("[output]", f"{batches}\n[output]").replace("keep = true\n", "")
    (here / "mine.toml").write_text(card)

    done = run(here, "run", "mine.toml", "--dry-run")

    assert (done.returncode, done.stdout) == (2, "")
    assert "has a function, no commands" in done.stderr


@pytest.mark.slow
def test_after_so_many_failures_no_command_is_begun_and_the_run_says_how_to_go_on(here: Path):
    (here / "many.txt").write_text("".join(f"{number}\n" for number in range(200)))

    done = run(
        here, "run", "--input", "many.txt", "--halt-after", "2", "--workers", "1", "--", "false"
    )

    assert done.returncode == 1, done.stderr
    assert "2 failed, no more are begun" in done.stderr
    assert "resume with: adaptive-exec run --input many.txt" in done.stderr
    assert "-- false" in done.stderr


@pytest.mark.slow
def test_a_command_past_its_time_is_stopped_with_what_it_started(here: Path):
    (here / "one.txt").write_text("1\n")
    text = "echo $$ > pid; exec sleep 600"

    done = run(here, "run", "--input", "one.txt", "-t", "2", "--", "sh", "-c", text)

    assert done.returncode == 1, done.stderr
    assert "TaskTimeoutError" in done.stderr
    pid = (here / "pid").read_text().strip()
    wait_for(lambda: not is_running(pid))


def is_running(pid: str) -> bool:
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


MISTAKES = {
    "card of no file": (["run", "absent.toml"], "card cannot be read, got 'absent.toml'"),
    "unknown key": (
        ["run", "mine.toml", "--set", "run.max_worker=3"],
        "did you mean 'max_workers'",
    ),
    "setting of nonsense": (["run", "mine.toml", "--set", "run.max_workers=0"], "got 0"),
    "no such function": (
        ["run", "mine.toml", "--set", "task.function=of_card.py:sqare"],
        "'square'",
    ),
    "place of no column": (
        ["run", "--input", "t.csv", "--", "echo", "{nme}"],
        "did you mean 'name'",
    ),
    "command of nothing": (["run", "--input", "t.csv", "--"], "-- needs a command"),
    "command without input": (["run", "--", "echo"], "a command needs --input, got 'echo'"),
    "card and command": (["run", "stdlib", "--input", "t.csv", "--", "a"], "stands alone"),
    "dry run of none": (["run", "--dry-run"], "--dry-run needs a command"),
    "change of no card": (["run", "--set", "run.max_workers=2"], "a change needs a card file"),
    "halt after none": (["run", "--halt-after", "0"], "--halt-after must be 1 or more, got 0"),
}


@pytest.mark.parametrize(("arguments", "why"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_refused_before_any_work(
    arguments: list[str],
    why: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    assert refused(arguments, here, monkeypatch, capsys).count(why) == 1
    assert not (here / "runs").exists()


def refused(
    arguments: list[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Give the one line with which the command refuses, in this process."""
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", list(sys.path))
    try:
        code = main(arguments)
    finally:
        sys.modules.pop("of_card", None)

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err


def test_a_card_is_checked_without_running_anything(here: Path):
    before = set(here.iterdir())

    done = run(here, "card", "check", "mine.toml", "--set", "input.limit=3")

    assert done.returncode == 0, done.stderr
    assert "tasks     3" in done.stdout
    assert "plan      process, workers=" in done.stdout
    assert "nothing ran yet" in done.stdout
    assert {path for path in here.iterdir() if path.name != "__pycache__"} == before


@pytest.mark.slow
def test_a_check_tells_what_an_earlier_run_took(here: Path):
    run(here, "run", "mine.toml")

    done = run(here, "card", "check", "mine.toml", "--set", "output.replace=true")

    assert "as 5 took before" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_a_new_card_runs_as_it_is(here: Path):
    made = run(here, "card", "new", "fresh.toml")
    done = run(here, "run", "fresh.toml")
    again = run(here, "card", "new", "fresh.toml")

    assert (made.returncode, done.returncode) == (0, 0), done.stderr
    assert [row["square"] for row in rows(here / "fresh.csv")][-1] == "81"
    assert again.returncode == 2
    assert "card is there, got 'fresh.toml'" in again.stderr


def test_the_list_names_cards_and_says_which_cannot_run(here: Path):
    (here / "bad.toml").write_text("[task]\nfunktion = 1\n")
    (here / "pyproject.toml").write_text("[project]\n")

    done = run(here, "card", "list")

    assert done.returncode == 1, done.stderr
    assert "mine.toml  of_card.py:square" in done.stdout
    assert "bad.toml  cannot run: unknown key, got 'task.funktion'" in done.stdout
    assert "pyproject" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["chek", "mine.toml"], "unknown action, got 'chek'; did you mean 'check'"),
        (["check"], "card check needs a file"),
        (["check", "absent.toml"], "card cannot be read, got 'absent.toml'"),
        (["new", "card.txt"], "card must end in .toml, got 'card.txt'"),
        (["list", "absent"], "folder is not there, got 'absent'"),
    ],
)
def test_a_mistake_with_cards_is_one_line(
    arguments: list[str],
    why: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    assert refused(["card", *arguments], here, monkeypatch, capsys).count(why) == 1
