"""On a terminal there is a bar; elsewhere plain lines, and no letter of a control sequence."""

import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.shell import MAIN, WAIT_SECONDS, WORK, run


def on_a_terminal(folder: Path, *arguments: str, term: str = "xterm-256color") -> tuple[int, str]:
    """Run a command whose outputs are a pseudo-terminal; return its code and all it wrote."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": "160", "LINES": "40"}
    process = subprocess.Popen(
        [*MAIN, *arguments], cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = b""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if not select.select([ours], [], [], 0.5)[0]:
            continue
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not chunk:
            break
        written += chunk
    os.close(ours)
    return process.wait(timeout=WAIT_SECONDS), written.decode(errors="replace")


def prepare(folder: Path) -> list[str]:
    (folder / "work.py").write_text(WORK)
    (folder / "naps.txt").write_text("0.1\n" * 8)
    return ["run", "--function", "work:nap", "--input", "naps.txt", "--levels", "thread"]


def test_a_terminal_shows_a_bar_with_rate_level_workers_and_memory(tmp_path: Path):
    code, text = on_a_terminal(tmp_path, *prepare(tmp_path), "--max-workers", "2")

    assert code == 0
    assert "8/8" in text
    assert "━" in text
    for part in ("/s", "ETA", "thread x2", "mem ", "iB of "):
        assert part in text
    assert "8 tasks - 0 timeouts" in text


@pytest.mark.slow
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(tmp_path: Path):
    code, text = on_a_terminal(tmp_path, "run", "-o", "-c", "2", term="dumb")

    assert code == 0
    assert "2 tasks - 0 timeouts" in text
    assert "\x1b" not in text


@pytest.mark.slow
def test_timing_lines_stand_whole_above_the_bar(tmp_path: Path):
    code, text = on_a_terminal(tmp_path, *prepare(tmp_path), "-T")

    assert code == 0
    assert text.count("work.nap[") == 8


@pytest.mark.slow
def test_without_a_terminal_there_are_plain_lines_only(tmp_path: Path):
    ended = run(tmp_path, *prepare(tmp_path))

    assert ended.returncode == 0
    assert "\x1b" not in ended.stdout + ended.stderr
    assert "work.nap: running 8 tasks at level thread, workers=" in ended.stderr
