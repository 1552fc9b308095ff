"""Processes in namespaces of their own, as in containers; without them a test is skipped."""

import functools
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.architecture.house import ROOT

CONTAINER = ("unshare", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child")
"""A namespace of processes with a /proc of its own."""
OUTER_PROC = ("unshare", "--pid", "--mount", "--fork", "--kill-child")
"""One that still sees the /proc of the outer."""
OTHER_CLOCK = ("unshare", "--time", "--monotonic", "300", "--boottime", "300", "--fork",
               "--kill-child")  # fmt: skip
"""The same processes, but clocks and starts are five minutes ahead."""


@functools.cache
def _can(wrapper: tuple[str, ...]) -> bool:
    try:
        done = subprocess.run([*wrapper, "true"], capture_output=True, timeout=60, check=False)
    except OSError:
        return False
    return done.returncode == 0


def need(wrapper: tuple[str, ...]) -> None:
    """Skip the test where this user or kernel cannot make such namespaces."""
    if not _can(wrapper):
        pytest.skip(f"needs {' '.join(wrapper)}")


def start(
    wrapper: tuple[str, ...], code: str, *arguments: str, **options
) -> "subprocess.Popen[str]":
    """Start Python code in namespaces of its own."""
    need(wrapper)
    command = [*wrapper, sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


def ask(wrapper: Sequence[str], code: str, *arguments: str) -> str:
    """Run Python code in namespaces of its own; return what it printed."""
    process = start(tuple(wrapper), code, *arguments)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    return text.strip()


def end(process: "subprocess.Popen[str]") -> None:
    """Kill what was started, and all that it started."""
    process.kill()
    process.communicate(timeout=30)
