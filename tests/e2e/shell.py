"""Starting the command line as a user does, in a folder of its own, with a bound on every wait."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAIN = [sys.executable, "-P", str(ROOT / "adaptive_exec" / "__main__.py")]
WAIT_SECONDS = 120
"""Seconds; a busy host takes ten times as long as an idle one."""
STOP_SECONDS = 10.0
"""Seconds that a stop may take: it is 0.8 s where nothing else runs."""
KEY_BYTES = 16
WORK = """
import os, time

def double(text):
    return 2 * int(text)

def odd_fails(text):
    if int(text) % 2:
        raise ValueError(f"odd {text}")
    return {"number": int(text)}

def nap(text):
    time.sleep(float(text))
    return {"pid": os.getpid(), "started": True}
"""


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [*MAIN, *arguments],
        cwd=folder,
        env=_environment(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )


def start(folder: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start a command and go on."""
    return subprocess.Popen(
        [*MAIN, *arguments],
        cwd=folder,
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop(process: "subprocess.Popen[str]", number: signal.Signals) -> tuple[str, str, float]:
    """Send a signal; return both outputs and the seconds until the process had ended."""
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT_SECONDS)
    return out, err, time.monotonic() - began


def wait_for(what: Callable[[], object], *, seconds: float = 90) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def has_results(folder: Path) -> bool:
    """Say whether the journal of a run has a result."""
    return count_results(folder / "run.journal") > 0


def count_results(journal: Path) -> int:
    """Count the results in a journal."""
    try:
        with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as base:
            rows = base.execute("SELECT keys FROM results").fetchall()
    except sqlite3.OperationalError:
        return 0  # it is not there yet, or being made
    return sum(len(keys) // KEY_BYTES for (keys,) in rows)


def folders(text: str) -> list[Path]:
    """Return the run folders that a command printed."""
    return [Path(found) for found in re.findall(r"run folder: (.+)/$", text, re.MULTILINE)]


def _environment(more: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "COLUMNS": "200", **more}
