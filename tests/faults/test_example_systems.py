"""The examples beside how they were written first, where the first ones do not fit."""

import csv
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cgroups import RealGroup, memory_group
from tests.e2e.shell import MAIN, ROOT, count_results, wait_for

pytestmark = pytest.mark.faults
MIB = 2**20
RUN_SECONDS = 400
"""Seconds; a busy host takes ten times as long as an idle one."""


def copied(name: str, tmp_path: Path) -> Path:
    for library in ("scipy", "pandas", "pyarrow"):
        pytest.importorskip(library)
    return shutil.copytree(ROOT / "examples" / name, tmp_path / name)


def started(group: RealGroup, folder: Path, *command: str) -> "subprocess.Popen[bytes]":
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            group.command(command),
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def said(folder: Path) -> str:
    return (folder / "said.txt").read_text(errors="replace")


def assert_naive_is_killed(limit_bytes: int, folder: Path, *arguments: str) -> None:
    """Run the first version until the kernel has killed one of its processes."""
    with memory_group(limit_bytes) as group:
        naive = started(group, folder, sys.executable, "naive.py", *arguments)
        try:
            wait_for(
                lambda: group.kernel_kills() > 0 or naive.poll() is not None, seconds=RUN_SECONDS
            )
            assert group.kernel_kills() > 0, said(folder)
        finally:
            naive.kill()  # a pool whose worker was killed waits for ever
            naive.wait(timeout=RUN_SECONDS)


def assert_card_delivers(limit_bytes: int, folder: Path, *arguments: str) -> None:
    with memory_group(limit_bytes) as group:
        card = started(group, folder, *MAIN, "run", *arguments)
        try:
            code = card.wait(timeout=RUN_SECONDS)
        finally:
            card.kill()
            card.wait(timeout=RUN_SECONDS)
        assert code == 0, said(folder)
        assert group.kernel_kills() == 0, said(folder)


def held_bytes(group: RealGroup) -> int:
    """Return what a group uses, without what the kernel could take back at once."""
    stat = dict(line.split() for line in group.read("memory.stat").splitlines())
    names = ("total_rss", "rss") if group.version == 1 else ("anon",)
    return int(next(stat[name] for name in names if name in stat))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_labels_read_what_they_need_where_the_whole_table_is_too_much(tmp_path: Path):
    folder = copied("labels", tmp_path)
    subprocess.run(
        [sys.executable, "labels.py", "geometries.parquet"],
        cwd=folder,
        check=True,
        timeout=RUN_SECONDS,
    )

    assert_naive_is_killed(LABELS_BYTES, folder, "geometries.parquet", "out.csv", "2000")
    assert_card_delivers(LABELS_BYTES, folder, "labels.toml", "--n-limit", "2000")

    found = rows(folder / "labels.csv")
    assert [row["index"] for row in found] == [str(number) for number in range(2000)]
    assert {row["error"] for row in found} == {""}
    text = said(folder)
    assert "Loaded columns: ['slope', 'bend'], Limited to 2000, the first\n" in text
    assert "labels: Processing 2000 remaining, Using 2 parallel workers" in text
    assert re.search(r"^class: flat [\d.]+ % \(\d+\), tilted .* steep ", text, re.MULTILINE)
    assert re.search(r"^ok: True [\d.]+ %", text, re.MULTILINE)


def test_a_sweep_saves_each_point_and_a_killed_one_ends_as_if_nothing_had_been(tmp_path: Path):
    folder = copied("sweep", tmp_path)

    def saved_rows() -> list[dict[str, str]]:
        part = folder / "sweep.csv.part"
        return rows(part) if part.exists() else []

    assert_naive_is_killed(SWEEP_BYTES, folder, "out.csv")
    assert_card_delivers(SWEEP_BYTES, folder, "sweep.toml", "--set", "output.file=whole.csv")
    early, late = [], []
    with memory_group(SWEEP_BYTES) as group:
        card = started(group, folder, *MAIN, "run", "sweep.toml", "--flush-interval", "20ms")

        def has_come_far() -> bool:
            done = count_results(folder / "sweep.csv.journal")
            if done >= 10:
                (early if done < 38 else late).append(held_bytes(group))
            return done >= 67 and len(saved_rows()) > 0

        wait_for(has_come_far, seconds=RUN_SECONDS)
        card.send_signal(signal.SIGKILL)
        card.wait(timeout=RUN_SECONDS)
    saved = len(saved_rows())
    assert_card_delivers(SWEEP_BYTES, folder, "sweep.toml", "--resume")

    assert 0 < saved < 100
    assert statistics.median(late) < statistics.median(early) + 16 * MIB, "a point's history stays"
    assert not (folder / "out.csv").exists()
    assert (folder / "sweep.csv").read_text() == (folder / "whole.csv").read_text()
    assert len(rows(folder / "sweep.csv")) == 100


def test_a_transform_takes_as_many_batches_as_fit(tmp_path: Path):
    folder = copied("transform", tmp_path)

    assert_naive_is_killed(TRANSFORM_BYTES, folder, "out.csv")
    assert_card_delivers(TRANSFORM_BYTES, folder, "transform.toml")

    found = rows(folder / "transformed.csv")
    assert [row["batch"] for row in found] == [str(number) for number in range(40)]


def test_eight_instances_score_where_the_first_version_is_killed(tmp_path: Path):
    folder = shutil.copytree(ROOT / "examples" / "score", tmp_path / "score")

    with memory_group(SCORE_BYTES) as group:
        crowd = [started(group, folder, sys.executable, "naive.py", "3") for _ in range(8)]
        for one in crowd:
            one.wait(timeout=RUN_SECONDS)
        assert group.kernel_kills() > 0, said(folder)
        assert any(one.returncode for one in crowd)
    assert_card_delivers(
        SCORE_BYTES, folder, "score.toml", "-o", "-c", "3", "-n", "8", "-T", "-t", "9min"
    )

    text = said(folder)
    assert len(re.findall(r"^\[\d\] 3 tasks - 0 timeouts$", text, re.MULTILINE)) == 8
    lines = re.findall(r"^\[\d\] (?:demo|test)\[\d\] - task_00\d - \d+$", text, re.MULTILINE)
    assert len(lines) == 8 * 3 * 6
    tables = [rows(path) for path in folder.glob("runs/score/*/results.csv")]
    assert [[row["error"] for row in table] for table in tables] == [[""] * 3] * 8


REFUSES = """
import ctypes, os, sys
if ctypes.CDLL(None).unshare(0x20000000):  # CLONE_NEWPID
    sys.exit(77)
child = os.fork()  # the init of a namespace; once it has ended, the kernel refuses all that follow
if not child:
    os._exit(0)
os.waitpid(child, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Gives way to a command that gets ENOMEM for a fork, and no thread."""


def refused(folder: Path, *command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", REFUSES, *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_eight_instances_complete_where_no_process_and_no_thread_can_be_started(tmp_path: Path):
    folder = shutil.copytree(ROOT / "examples" / "score", tmp_path / "score")
    naive = refused(folder, sys.executable, "naive.py", "3")
    text, _ = naive.communicate(timeout=RUN_SECONDS)
    if naive.returncode == 77:
        pytest.skip("needs the right to make a namespace of processes")
    assert "OSError: [Errno 12] Cannot allocate memory" in text

    words = [*MAIN, "run", "score.toml", "-o", "-c", "-3", "-T", "-t", "9min"]
    crowd = [refused(folder, *words) for _ in range(8)]
    ended = [one.communicate(timeout=RUN_SECONDS)[0] for one in crowd]

    for one, text in zip(crowd, ended, strict=True):
        assert one.returncode == 0, text
        assert (
            "-- ProcessPoolExecutor failed (RuntimeError: can't start new thread), trying " in text
        )
        assert (
            "-- ThreadPoolExecutor also failed (RuntimeError: can't start new thread), us" in text
        )
        assert "3 tasks - 0 timeouts\n" in text
        assert len(re.findall(r"^(?:demo|test)\[\d\] - task_\d+ - \d+$", text, re.MULTILINE)) == 18
    assert len(list(folder.glob("runs/score/*/results.csv"))) == 8


def study_of(folder: Path) -> list[Any]:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")
    trials: list[Any] = optuna.load_study(storage=storage, study_name="trials").trials
    storage.engine.dispose()
    return trials


WATCHED = (
    *("supervise", "-n", "2", "--max-age", "15s", "--max-memory", "150MB", "--min-available"),
    *("60MB", "--check-every", "1s", "--grace", "5s", "--pid-file", "worker_pids.txt"),
)


def test_a_study_whose_workers_leak_reaches_its_trials_under_a_watchdog(tmp_path: Path):
    pytest.importorskip("optuna")
    folder = shutil.copytree(ROOT / "examples" / "trials", tmp_path / "trials")
    assert_naive_is_killed(TRIALS_BYTES, folder)
    (folder / "study.db").unlink()
    (folder / "said.txt").unlink()

    with memory_group(TRIALS_BYTES) as group:
        watchdog = started(group, folder, *MAIN, *WATCHED, "--", sys.executable, "trials.py")
        wait_for((folder / "worker_pids.txt").exists)
        try:
            code = watchdog.wait(timeout=RUN_SECONDS)
        finally:
            watchdog.terminate()
            watchdog.wait(timeout=RUN_SECONDS)
        assert (code, group.kernel_kills()) == (0, 0), said(folder)

    trials = study_of(folder)
    assert sum(trial.state.is_finished() for trial in trials) >= 16
    form = r"healthy \(age: \d+s/15s, mem: 0\.\d\dGB, restart in \d+s\)$"
    line = rf"^\[\d\d:\d\d:\d\d\] Worker [12] PID \d+ {form}"
    assert re.search(line, said(folder), re.MULTILINE), said(folder)
    assert re.search(r"reason=copy_(old|large)", said(folder)), "a copy was replaced"
    assert not (folder / "worker_pids.txt").exists()


def test_trials_of_a_card_end_as_the_worst_where_memory_runs_out(tmp_path: Path):
    pytest.importorskip("optuna")
    folder = shutil.copytree(ROOT / "examples" / "trials", tmp_path / "trials")

    assert_card_delivers(TRIALS_BYTES, folder, "trials.toml")

    trials = study_of(folder)
    assert sum(trial.state.is_finished() for trial in trials) == 16
    ended = [trial for trial in trials if trial.user_attrs.get("emergency_killed")]
    assert ended, said(folder)
    for trial in ended:
        assert trial.value == 999.0
        assert trial.user_attrs["kill_reason"].startswith("memory_critical at split ")
        assert trial.user_attrs["available_gb_at_kill"] < 0.14
    assert "EMERGENCY BRAKE ACTIVATED [split " in said(folder)


SCORE_BYTES = 640 * MIB
TRIALS_BYTES = 500 * MIB
LABELS_BYTES = 320 * MIB
SWEEP_BYTES = 512 * MIB
TRANSFORM_BYTES = 448 * MIB
