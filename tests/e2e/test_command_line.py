"""The command line: what is asked, what comes out, and each mistake as one clear line."""

import csv
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adaptive_exec.cards import stdlib
from adaptive_exec.cli import main
from tests.e2e.shell import MAIN, WAIT_SECONDS, WORK, folders, run


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "numbers.txt").write_text("1\n2\n3\n4\n5\n")
    (tmp_path / "table.csv").write_text("id,name\n2,a\n4,b\n")
    (tmp_path / "there.csv").write_text("kept")
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


OURS = ["--function", "work:double", "--input"]
MISTAKES = {
    "no command": ([], "Missing command"),
    "unknown command": (["rum"], "No such command 'rum'"),
    "unknown option": (["run", "--forse"], "--forse"),
    "option without value": (["run", "-c"], "'-c' requires an argument"),
    "second card": (["run", "stdlib", "other"], "unexpected extra argument"),
    "unknown card": (["run", "stdlb"], "got 'stdlb'; did you mean 'stdlib'"),
    "count of letters": (["run", "-c", "x"], "--count must be a whole number, got 'x'"),
    "count of zero": (["run", "-c", "0"], "count must not be 0, got 0"),
    "seed below zero": (["run", "--seed", "-1"], "--seed must be 0 or more, got -1"),
    "no instance": (["run", "-n", "0"], "--instances must be 1 or more, got 0"),
    "a thousand instances": (["run", "-n", "1000"], "--instances must be 256 or less, got 1000"),
    "no time": (["run", "-t", "0"], "--task-timeout must be a number of seconds above 0, got '0'"),
    "time of no unit": (["run", "-t", "10 parsecs"], "got '10 parsecs'; write it like"),
    "time beyond": (["run", "--deadline", "40000d"], "at most 1000000000 s, got '40000d'"),
    "age without unit": (["journal", "--prune", "30"], "a time with a unit above 0, got '30'"),
    "no folder for output": (["run", *OURS, "numbers.txt", "--output", "no/a.csv"], "got 'no'"),
    "size beyond": (["run", "--task-memory", "1000000TiB"], "got '1000000TiB'"),
    "workers beyond": (["run", "--max-workers", "9999999999999"], "got 9999999999999"),
    "joblib's word": (["run", "--n-jobs", "2"], "did you mean --max-workers?"),
    "multiprocessing's word": (["run", "--fork"], "did you mean --start?"),
    "percentage of one and a half": (["run", "--target-memory", "1.5"], "got '1.5'"),
    "unknown option of watch": (["watch", "--onec"], "see adaptive-exec watch --help"),
    "unknown level": (["run", "--levels", "proces"], "got 'proces'; did you mean 'process'"),
    "no workers": (["run", "--max-workers", "0"], "max_workers must be 1 or more, got 0"),
    "half a worker": (["run", "--max-workers", "0.5"], "must be a whole number, got '0.5'"),
    "no size": (["run", "--task-memory", "5xb"], "task_memory must be a size, got '5xb'"),
    "negative size": (["run", "--target-memory", "-1"], "target_memory must be a size above 0"),
    "unknown start": (["run", "--start", "spoon"], "got 'spoon'"),
    "no input file": (["run", *OURS, "absent.csv"], "input does not exist, got 'absent.csv'"),
    "no column": (["run", *OURS, "table.csv", "--column", "nam"], "did you mean 'name'"),
    "no function": (["run", "--function", "work:doubl", "--input", "numbers.txt"], "'double'"),
    "no module": (["run", "--function", "absnt:f", "--input", "numbers.txt"], "'absnt:f'"),
    "not callable": (["run", "--function", "os:sep", "--input", "numbers.txt"], "'os:sep'"),
    "function alone": (["run", "--function", "work:double"], "--function needs --input"),
    "input alone": (["run", "--input", "numbers.txt"], "--input needs --function"),
    "card and function": (["run", "stdlib", *OURS, "numbers.txt"], "got card 'stdlib'"),
    "output exists": (["run", *OURS, "numbers.txt", "--output", "there.csv"], "got 'there.csv'"),
    "output of many": (["run", "-n", "2", "--output", "new.csv"], "written 2 times"),
    "force of nothing": (["run", "--force"], "--force has nothing to replace"),
    "no folder for events": (["run", "--events", "no/such/file"], "'no/such/file'"),
    "runs in a file": (["run", "-o", "-c", "1", "--runs", "numbers.txt"], "--runs"),
}


@pytest.mark.parametrize(("arguments", "why"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line_that_names_the_value_and_the_way_out(
    arguments: list[str],
    why: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(here)
    before = sorted(here.rglob("*.csv"))

    code = main(arguments)

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert why in err
    assert ";" in err
    assert sorted(here.rglob("*.csv")) == before
    assert (here / "there.csv").read_text() == "kept"


A_FEW = {name: MISTAKES[name] for name in list(MISTAKES)[::7]}


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "why"), A_FEW.values(), ids=A_FEW.keys())
def test_a_mistake_in_a_real_shell_ends_with_code_2(arguments: list[str], why: str, here: Path):
    ended = run(here, *arguments)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert why in ended.stderr


def test_one_pass_over_a_sample_ends_with_the_summary_and_its_folder_holds_the_rows(here: Path):
    ended = run(here, "run", "-o", "-c", "-3", "--seed", "7", "-T")

    assert ended.returncode == 0
    (folder,) = folders(ended.stdout)
    last = ended.stdout.splitlines()[-2:]
    assert last[0] == "3 tasks - 0 timeouts"
    assert last[1].startswith("levels: ")
    assert "workers: " in last[1]
    assert last[1].endswith("degrades: 0")
    assert folder.parent == here / "runs" / "stdlib"
    assert tuple(rows(folder / "results.csv")[0]) == stdlib.COLUMNS
    assert len(rows(folder / "results.csv")) == 3
    assert "reason=" in (folder / "report.txt").read_text()
    timings = [line for line in ended.stdout.splitlines() if line.startswith("stdlib[")]
    assert len(timings) == 3
    assert "timing: 3 tasks in " in ended.stdout
    assert "limited to a random sample of 3 (seed 7)" in ended.stderr
    assert "running 3 tasks at level " in ended.stderr
    assert ", workers=" in ended.stderr


def test_a_failing_task_is_a_row_with_its_error_and_exit_code_1(here: Path):
    ended = run(
        here, "run", "--function", "work:odd_fails", "--input", "numbers.txt", "--output", "out.csv"
    )

    assert ended.returncode == 1
    assert [row["index"] for row in rows(here / "out.csv")] == ["0", "1", "2", "3", "4"]
    assert [row["number"] for row in rows(here / "out.csv")] == ["", "2", "", "4", ""]
    assert rows(here / "out.csv")[2]["error"] == "ValueError: odd 3"
    assert "3 of 5 failed, the first: " in ended.stderr
    assert "3 failed, " in ended.stdout
    assert f"output: {here / 'out.csv'}\n" in ended.stdout
    why = "why tasks failed: column error of it, or adaptive-exec journal "
    assert f"{why}{here / 'out.csv.journal'}\n" in ended.stdout
    assert not (here / "runs").exists()


@pytest.mark.slow
def test_a_function_runs_over_a_column_and_force_replaces_the_output(here: Path):
    arguments = ["run", "--function", "work:double", "--input", "table.csv", "--column", "id"]
    ended = run(here, *arguments, "--output", "there.csv", "--force", "--levels", "thread")

    assert ended.returncode == 0
    assert (here / "there.csv").read_text() == "index,value,error\n0,4,\n1,8,\n"


@pytest.mark.slow
def test_events_are_lines_of_json_one_per_decision(here: Path):
    ended = run(here, "run", "-o", "-c", "2", "--levels", "thread", "--events", "events.jsonl")

    assert ended.returncode == 0
    events = [json.loads(line) for line in (here / "events.jsonl").read_text().splitlines()]
    assert events
    assert all(isinstance(event, dict) for event in events)
    for one in events:
        ago = datetime.now(UTC) - datetime.fromisoformat(one["time"])
        assert 0 <= ago.total_seconds() < 600


@pytest.mark.slow
def test_a_deadline_ends_the_run_with_124(here: Path):
    (here / "naps.txt").write_text("0.5\n" * 100)

    ended = run(
        here, "run", "--function", "work:nap", "--input", "naps.txt", "--deadline", "1",
        "--levels", "thread",
    )  # fmt: skip

    assert ended.returncode == 124
    assert " with: adaptive-exec run --function work:nap" in ended.stderr  # begun, or not yet


def test_the_version_is_quick_and_imports_neither_typer_nor_rich(here: Path):
    ended = run(here, "version", PYTHONPROFILEIMPORTTIME="1")

    assert ended.returncode == 0
    assert ended.stdout.startswith("adaptive-exec ")
    assert "typer" not in ended.stderr
    assert "rich" not in ended.stderr


def test_the_help_names_every_exit_code(here: Path):
    ended = run(here, "--help")

    assert ended.returncode == 0
    words = " ".join(ended.stdout.split())
    assert "0 all tasks have values, 1 some ended in their own error, 2 usage" in words
    assert "3 some have no outcome, 124 deadline or SIGUSR1, 130 interrupt, 143 term" in words


CLOSED = "import os, sys; os.close(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"


@pytest.mark.parametrize("number", [0, 1, 2], ids=["input", "output", "error"])
def test_a_closed_stream_stops_nothing_and_no_file_takes_its_place(number: int, here: Path):
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            CLOSED,
            str(number),
            *MAIN,
            "run",
            *OURS,
            "numbers.txt",
            "--output",
            "out.csv",
        ],
        cwd=here,
        capture_output=True,
        check=False,
        timeout=WAIT_SECONDS,
    )

    assert ended.returncode == 0, ended
    assert b"Traceback" not in ended.stderr
    assert (here / "out.csv").read_bytes() == b"index,value,error\n0,2,\n1,4,\n2,6,\n3,8,\n4,10,\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no full device")
@pytest.mark.parametrize("command", ["version", "--help", "doctor", "watch --once"])
def test_a_full_standard_output_is_said_in_one_line(command: str, here: Path):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*MAIN, *command.split()],
            cwd=here,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=WAIT_SECONDS,
        )

    assert ended.returncode == 3
    assert b"No space left" in ended.stderr
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.slow
def test_a_folder_with_other_letters_than_the_locale_knows_gets_its_tables(tmp_path: Path):
    here = tmp_path / "\u00e4\u00f6"
    here.mkdir()
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    ended = run(here, "run", "-o", "-c", "1", **plain)

    assert ended.returncode == 0, ended.stderr
    assert len(list(here.glob("runs/stdlib/*/results.*"))) == 2
    assert run(here, "journal", str(next(here.glob("runs/stdlib/2*"))), **plain).returncode == 0
