"""`run_card.sh` from a fresh clone: sets itself up once, then is quiet, and says clearly what is
missing."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.shell import ROOT, STOP_SECONDS, WAIT_SECONDS, folders, has_results, wait_for

SETUP_SECONDS = 300
CLONED = ("adaptive_exec", "pyproject.toml", "README.md", "LICENSE", "run_card.sh")
TOOLS = ("bash", "cat", "cksum", "dirname", "env", "grep", "mkdir", "mv", "readlink", "rm", "sleep")
MORE_TOOLS = ("tail", "tr", "uname")


def clone(folder: Path) -> Path:
    """Copy what a clone has and the script needs, to a folder with a blank in its name."""
    target = folder / "a clone"
    shutil.copytree(ROOT / CLONED[0], target / CLONED[0], ignore=shutil.ignore_patterns("__py*__"))
    for name in CLONED[1:]:
        shutil.copy(ROOT / name, target / name)
    return target


def environment(**more: str) -> dict[str, str]:
    """Return an environment without any virtual environment or path of ours."""
    dropped = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHON", "ADAPTIVE_EXEC_PROGRAM"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, **more}


def run_card(
    script: Path, *arguments: str, timeout: float = SETUP_SECONDS, **more: str
) -> "subprocess.CompletedProcess[str]":
    """Run the script to its end, from the folder above it."""
    return subprocess.run(
        ["bash", str(script / "run_card.sh"), *arguments],
        cwd=script.parent,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def tools(folder: Path, *names: str) -> Path:
    """Make a folder with a few programs, to be all of a PATH."""
    folder.mkdir()
    for name in (*TOOLS, *MORE_TOOLS, *names):
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    return folder


def fake_python(folder: Path, script: str) -> None:
    path = folder / "python3"
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def waits_for(pid: int, lock: int) -> bool:
    """Say whether a child of a script has the file of the lock open."""
    for child in psutil.Process(pid).children():
        folder = Path(f"/proc/{child.pid}/fd/9")
        if folder.exists() and folder.stat().st_ino == lock:
            return True
    return False


def bare_python() -> str:
    """Return an interpreter without our dependencies: the one that our environment was made of."""
    return str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")


@pytest.mark.slow
def test_a_python_that_has_everything_is_used_without_a_set_up_from_any_folder(tmp_path: Path):
    script = clone(tmp_path)

    ended = run_card(script, "-o", "-c", "-3", PYTHON=sys.executable)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-2] == "3 tasks - 0 timeouts"
    assert ended.stdout.splitlines()[-1].startswith("levels: ")
    assert folders(ended.stdout)[0].parent == tmp_path / "runs" / "stdlib"
    assert not list(script.glob(".venv*"))


def test_a_bad_option_is_one_line_in_the_name_of_the_script(tmp_path: Path):
    ended = run_card(clone(tmp_path), "--forse", PYTHON=sys.executable)

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("bash run_card.sh: ")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ('case "$*" in --version) echo Python 3.9.2;; esac; exit 1', "needed, got Python 3.9.2;"),
        (
            'case "$*" in *ensurepip*) exit 1;; *"-P "*) exit 1;; esac',
            "venv or pip is missing from",
        ),
        (
            'case "$*" in *"-m venv"*) echo no room; exit 1;; *"-P "*) exit 1;; esac',
            "failed: no room",
        ),
    ],
    ids=["old", "no pip", "no room"],
)
def test_what_is_missing_is_said_in_one_line(script: str, why: str, tmp_path: Path):
    folder = tools(tmp_path / "tools")
    fake_python(folder, script)

    ended = run_card(clone(tmp_path), "-o", PATH=str(folder), timeout=WAIT_SECONDS)

    assert (ended.returncode, ended.stdout) == (3, "")
    lines = [line for line in ended.stderr.splitlines() if "setting up" not in line]
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("run_card.sh: ")
    assert why in lines[0]


def test_a_named_python_that_is_not_there_is_said_at_once(tmp_path: Path):
    ended = run_card(clone(tmp_path), PYTHON="no-such-python", timeout=WAIT_SECONDS)

    assert ended.returncode == 3
    assert ended.stderr == (
        "run_card.sh: Python was not found, got PYTHON=no-such-python; name one that is there\n"
    )


def test_a_signal_reaches_the_run(tmp_path: Path):
    process = subprocess.Popen(
        ["bash", str(clone(tmp_path) / "run_card.sh")],
        cwd=tmp_path,
        env=environment(PYTHON=sys.executable),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    folder = Path(first.removeprefix("run folder: ").strip())
    wait_for(lambda: has_results(folder))

    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT_SECONDS)

    assert first.startswith("run folder: ")
    assert process.returncode == 130
    assert time.monotonic() - began < STOP_SECONDS
    assert " with: bash run_card.sh" in err, err  # within a pass or between two


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_fresh_starts_at_once_share_one_set_up_and_never_collide(tmp_path: Path):
    script = clone(tmp_path)
    folder = tools(tmp_path / "tools")
    (folder / "python3").symlink_to(bare_python())

    started = [
        subprocess.Popen(
            ["bash", str(script / "run_card.sh"), "-o", "-c", "-3"],
            cwd=script,
            env=environment(PATH=str(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    ended = [process.communicate(timeout=SETUP_SECONDS) for process in started]

    assert [process.returncode for process in started] == [0] * 8, ended
    assert sum(err.count("setting up") for _, err in ended) == 1
    assert [out.count("3 tasks - 0 timeouts\n") for out, _ in ended] == [1] * 8
    assert len({folders(out)[0] for out, _ in ended}) == 8
    later = run_card(script, "-o", "-c", "1", PATH=str(folder))
    assert later.returncode == 0
    assert "setting up" not in later.stderr


def test_a_start_that_waits_for_anothers_set_up_ends_when_it_is_told_to(tmp_path: Path):
    script = clone(tmp_path)
    folder = tools(tmp_path / "tools")
    (folder / "python3").symlink_to(bare_python())
    (script / ".venv-setup").mkdir()
    with (script / ".venv-setup" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waits = subprocess.Popen(
            ["bash", str(script / "run_card.sh"), "-o"],
            env=environment(PATH=str(folder)),
            stderr=subprocess.PIPE,
            text=True,
        )
        lock = os.fstat(held.fileno()).st_ino
        wait_for(lambda: waits_for(waits.pid, lock))
        waits.terminate()
        _, err = waits.communicate(timeout=60)

    assert (waits.returncode, err) == (143, "")
    assert not (script / ".venv").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_set_up_that_was_cut_off_is_made_anew(tmp_path: Path):
    script = clone(tmp_path)
    folder = tools(tmp_path / "tools")
    (folder / "python3").symlink_to(bare_python())
    cut = subprocess.Popen(
        ["bash", str(script / "run_card.sh"), "-o", "-c", "1"],
        cwd=script,
        env=environment(PATH=str(folder)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while not (script / ".venv" / "bin").exists() and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.wait(timeout=WAIT_SECONDS)
    assert not (script / ".venv" / "run_card.stamp").exists()

    ended = run_card(script, "-o", "-c", "1", PATH=str(folder))

    assert ended.returncode == 0, ended.stderr
    assert "1 tasks - 0 timeouts" in ended.stdout
