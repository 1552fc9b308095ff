"""Ctrl-C and termination end a run in a moment, say how far it came, and leave nothing."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.shell import (
    STOP_SECONDS,
    WAIT_SECONDS,
    WORK,
    folders,
    has_results,
    run,
    start,
    stop,
    wait_for,
)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "naps.txt").write_text("0.1\n" * 2 + "30\n" * 50)
    return tmp_path


NAPS = ["run", "--function", "work:nap", "--input", "naps.txt", "--max-workers", "2"]


def is_running(here: Path) -> bool:
    return any((here / "runs").glob("*/*-*"))


def groups_alive(process_group: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process_group, 0)
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("level", ["process", pytest.param("thread", marks=pytest.mark.slow)])
def test_an_interrupt_says_how_far_the_run_came_and_how_to_start_again(level: str, here: Path):
    process = start(here, *NAPS, "--levels", level, "-T")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]  # its folder, and the first task's timing

    out, err, took = stop(process, signal.SIGINT)

    assert process.returncode == 130, (lines, out, err)
    assert took < STOP_SECONDS
    assert " of 52 done; resume with: adaptive-exec run --function work:nap" in err
    (folder,) = folders(lines[0] + out)
    partial = (folder / "partial.csv").read_text()
    assert partial.startswith("index,pid,started,error\n")
    assert ",True,\n" in partial
    assert not (folder / "results.csv").exists()


@pytest.mark.slow
def test_termination_ends_with_its_own_code_when_the_grace_is_over(here: Path):
    process = start(here, *NAPS, "--levels", "thread", "--grace", "0.5")
    wait_for(lambda: is_running(here))

    _, err, took = stop(process, signal.SIGTERM)

    assert process.returncode == 143
    assert took < STOP_SECONDS
    assert " with: adaptive-exec run " in err  # to resume, or to start again before it had begun


@pytest.mark.slow
def test_without_once_passes_repeat_until_the_interrupt(tmp_path: Path):
    process = start(tmp_path, "run", "-c", "1", "--levels", "sequential")
    wait_for(lambda: len(list(tmp_path.glob("runs/stdlib/*/results.csv"))) >= 2)

    out, err, took = stop(process, signal.SIGINT)

    assert process.returncode == 130
    assert took < STOP_SECONDS
    assert "with: adaptive-exec run -c 1 --levels sequential" in err  # within a pass or between two
    assert len(set(folders(out))) == len(folders(out)) >= 2


@pytest.mark.slow
def test_starting_afresh_sets_dead_runs_aside_and_never_a_live_one(here: Path):
    live = start(here, *NAPS, "--levels", "thread")
    wait_for(lambda: any(here.glob("runs/work.nap/*-*")))
    try:
        fresh = run(here, *NAPS[:3], "--input", "naps.txt", "-c", "1", "-i", "--levels", "thread")
        owned = list(here.glob(f"runs/work.nap/*-{live.pid}"))
        again = run(here, *NAPS[:3], "--input", "naps.txt", "-c", "1", "-i", "--levels", "thread")
        assert len(owned) == 1
        assert owned[0].is_dir()
        (dead,) = folders(fresh.stdout)
        assert not dead.exists()
        assert (dead.parent / "aside" / dead.name / "results.csv").is_file()
        assert folders(again.stdout)[0].is_dir()
    finally:
        stop(live, signal.SIGKILL)


@pytest.mark.slow
def test_several_instances_have_folders_of_their_own_and_the_worst_code_wins(here: Path):
    ended = run(here, "run", "-n", "3", "-o", "-c", "-2", "-i", "--levels", "thread")

    assert ended.returncode == 0
    assert len(set(folders(ended.stdout))) == 3
    for number in (1, 2, 3):
        assert f"[{number}] 2 tasks - 0 timeouts\n" in ended.stdout
        assert f"[{number}] stdlib: loaded " in ended.stderr


@pytest.mark.slow
def test_an_interrupt_reaches_all_instances(here: Path):
    process = start(here, *NAPS, "-n", "2", "--levels", "thread")
    wait_for(lambda: sum(map(has_results, here.glob("runs/work.nap/*-*"))) == 2)

    _, err, took = stop(process, signal.SIGINT)

    assert process.returncode == 130
    assert took < STOP_SECONDS
    assert "[1] " in err
    assert "[2] " in err
    assert err.count("resume with: adaptive-exec run --function work:nap") == 2, err


@pytest.mark.slow
def test_instances_end_with_the_command_that_started_them(here: Path):
    process = start(here, *NAPS, "-n", "2", "--levels", "thread")
    wait_for(lambda: len(list(here.glob("runs/work.nap/*-*"))) == 2)
    children = [int(path.name.split("-")[1]) for path in here.glob("runs/work.nap/*-*")]

    stop(process, signal.SIGKILL)

    wait_for(lambda: not any(groups_alive(child) for child in children))


@pytest.mark.slow
def test_of_instances_whose_command_was_killed_the_next_removes_what_is_left(here: Path):
    temporary = here / "temporary"
    temporary.mkdir()
    process = start(here, *NAPS, "-n", "2", "--levels", "thread", TMPDIR=str(temporary))
    wait_for(lambda: len(list(here.glob("runs/work.nap/*-*"))) == 2)
    stop(process, signal.SIGKILL)
    assert list(temporary.iterdir())

    ended = run(
        here, "run", "-n", "2", "-o", "-c", "-2", "--levels", "thread", TMPDIR=str(temporary)
    )

    assert ended.returncode == 0, ended.stderr
    assert not list(temporary.iterdir())


@pytest.mark.slow
def test_a_reader_that_goes_away_does_not_end_the_run(here: Path):
    process = start(here, "run", "-o", "-c", "3", "-T", "--levels", "thread")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None

    process.wait(timeout=WAIT_SECONDS)

    assert process.returncode == 0
    assert process.stderr is not None
    process.stderr.close()
    assert len(list(here.glob("runs/stdlib/*/results.csv"))) == 1


GATE = """
def wait_at_the_gate(text):
    open(f"begun-{os.getpid()}-{time.monotonic_ns()}", "w").close()
    while text == "gate" and not os.path.exists("gate"):
        time.sleep(0.01)
    return nap(text.replace("gate", "0"))
"""


def at_the_gate(here: Path, level: str = "process") -> list[str]:
    (here / "work.py").write_text(WORK + GATE)
    words = [word.replace("work:nap", "work:wait_at_the_gate") for word in NAPS]
    return [*words, "--levels", level, "--deadline", "1000"]


def reach_deadline(
    process: "subprocess.Popen[str]",
    here: Path,
    *,
    begun: int,
    number: signal.Signals = signal.SIGALRM,
) -> tuple[str, str]:
    """End the time, as its timer does, when so many tasks have begun; return both outputs."""
    wait_for(lambda: len(list(here.glob("begun-*"))) >= begun)
    process.send_signal(number)
    (here / "gate").touch()
    return process.communicate(timeout=WAIT_SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGALRM, 124), (signal.SIGTERM, 143), (signal.SIGUSR1, 124)]
)
def test_the_end_of_time_lets_running_tasks_finish_and_begins_no_more(
    number: signal.Signals, code: int, here: Path
):
    (here / "naps.txt").write_text("0.1\n" * 3 + "gate\n" * 60)
    process = start(here, *at_the_gate(here), "--grace", "1min")

    out, err = reach_deadline(process, here, begun=5, number=number)

    assert process.returncode == code, err
    assert "no more tasks are begun; what runs has 60 s\n" in err
    assert " of 63 done; resume with: " in err
    rows = (folders(out)[0] / "partial.csv").read_text().splitlines()[1:]
    assert 3 < len(rows) < 63, "those that ran at the deadline have their rows"
    assert all(row.endswith(",True,") for row in rows), rows
    assert f"{len(rows)} of 63 done" in err


@pytest.mark.slow
@pytest.mark.parametrize("level", ["process", "thread", "sequential"])
def test_a_grace_time_ends_too(level: str, here: Path):
    process = start(here, *at_the_gate(here, level), "--grace", "0.5")

    out, err = reach_deadline(process, here, begun=3)

    assert process.returncode == 124, (out, err)
    assert " of 52 done; resume with: " in err


@pytest.mark.slow
def test_the_end_of_the_surrounding_job_is_a_deadline(here: Path):
    (here / "naps.txt").write_text("0.1\n" * 3000)
    end = str(int(time.time()) + 6)

    ended = run(here, *NAPS, "--grace", "2s", SLURM_JOB_END_TIME=end)

    assert ended.returncode == 124, ended.stderr
    assert "SLURM_JOB_END_TIME is the deadline: in " in ended.stderr
    assert (
        " with: adaptive-exec run " in ended.stderr
    )  # to resume, or to start again before it began


@pytest.mark.slow
def test_termination_reaches_all_instances_and_they_finish_what_runs(here: Path):
    (here / "naps.txt").write_text("0.1\n" * 3 + "gate\n" * 60)
    process = start(here, *at_the_gate(here)[:-2], "-n", "2", "--grace", "1min")

    out, err = reach_deadline(process, here, begun=7, number=signal.SIGTERM)

    assert process.returncode == 143, (out, err)
    assert err.count("no more tasks are begun; what runs has 60 s\n") == 2
    assert err.count("done; resume with: ") == 2


@pytest.mark.slow
def test_a_deadline_that_comes_after_the_last_begin_costs_nothing(here: Path):
    (here / "naps.txt").write_text("0.1\n" * 3 + "gate\n")
    process = start(here, *at_the_gate(here))

    out, err = reach_deadline(process, here, begun=4)

    assert process.returncode == 0, err
    assert "4 tasks - 0 timeouts" in out


@pytest.mark.slow
def test_a_table_says_what_each_instance_did(here: Path):
    (here / "naps.txt").write_text("0.01\n" * 4 + "60\n")
    words = ["-n", "2", "-t", "4", "-o", "--retries", "0"]

    ended = run(here, *NAPS, *words)

    lines = ended.stdout.splitlines()
    table = lines[[line.startswith("instance ") for line in lines].index(True) :]
    assert [line.split()[0] for line in table] == ["instance", "1", "2", "all"]
    heads = table[0].split()
    assert heads == [
        *("instance", "levels", "tasks", "timeouts", "degrades", "wall", "peak", "memory"),
        *("kills", "exit"),
    ]
    for line in table[1:3]:
        cells = line.split()
        assert cells[1:5] == ["process", "5/5", "1", "0"], table
        assert cells[-2:] == ["1", "1"], table
    assert ended.returncode == 1


@pytest.mark.slow
def test_the_table_also_tells_of_an_instance_that_was_killed(here: Path):
    process = start(here, *NAPS, "-n", "2", "--levels", "thread")
    wait_for(lambda: len(list(here.glob("runs/work.nap/*-*"))) == 2)
    children = [int(path.name.split("-")[1]) for path in here.glob("runs/work.nap/*-*")]
    os.kill(children[0], signal.SIGKILL)
    wait_for(lambda: not groups_alive(children[0]))

    out, _, took = stop(process, signal.SIGINT)

    assert took < STOP_SECONDS
    assert process.returncode == 130
    endings = sorted(line.split()[-1] for line in out.splitlines() if line[:2] in {"1 ", "2 "})
    assert endings == ["130", "SIGKILL"]


@pytest.mark.slow
def test_instances_that_share_a_card_run_each_task_once_and_all_have_every_row(here: Path):
    (here / "naps.txt").write_text("".join(f"0.1{number:02}\n" for number in range(24)))

    ended = run(here, *NAPS, "-n", "3", "--shared")

    assert ended.returncode == 0, ended.stderr
    lines = [line.split() for line in ended.stdout.splitlines()]
    table = {words[0]: words for words in lines if words and words[0] in {"1", "2", "3", "all"}}
    assert table["all"][1] == "24/24", ended.stdout
    ran = [int(table[number][2].partition("/")[0]) for number in ("1", "2", "3")]
    assert sum(ran) == 24
    tables = sorted(here.glob("runs/work.nap/*/results.csv"))
    assert len(tables) == 3
    rows = {tuple(sorted(path.read_text().splitlines())) for path in tables}
    assert len(rows) == 1
    assert len(rows.pop()) == 25


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--shared"], ["-n", "2", "--shared", "--no-journal"]])
def test_tasks_are_shared_among_several_over_a_journal_only(words: list[str], here: Path):
    ended = run(here, *NAPS, *words)

    assert ended.returncode == 2
    assert "--shared" in ended.stderr
