"""Type checkers accept what is right, find what is wrong, and know the types of results."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from adaptive_exec import Config, adaptive_executor
from adaptive_exec.typed import Options

HERE = Path(__file__).parent
SECONDS = 300.0
WRONG = HERE / "wrong.py"


def marked_lines() -> list[int]:
    lines = WRONG.read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", *command]
    return subprocess.run(
        words, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=HERE
    )


def check(*command: str) -> str:
    """Run a type checker, skipping where it is not installed; return what it says."""
    if importlib.util.find_spec(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    probe = run(command[0], "--version")
    if probe.returncode:  # pyright fetches what it is made of when it is first used
        pytest.skip(f"{command[0]} cannot be had, got {probe.stderr[-200:]!r}")
    done = run(*command)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout


@pytest.mark.slow
def test_mypy_knows_right_from_wrong():
    said = check("mypy", "--strict", "--no-error-summary", "--config-file=", "right.py", "wrong.py")
    found = re.findall(r"^(\w+\.py):(\d+): error", said, re.MULTILINE)

    assert [file for file, _ in found if file != "wrong.py"] == [], said
    assert sorted({int(line) for _, line in found}) == marked_lines(), said


@pytest.mark.slow
def test_pyright_knows_right_from_wrong():
    told = json.loads(check("pyright", "--outputjson", "right.py", "wrong.py"))
    found = [
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1)
        for one in told["generalDiagnostics"]
        if one["severity"] == "error"
    ]

    assert [file for file, _ in found if file != "wrong.py"] == [], told
    assert sorted({line for _, line in found}) == marked_lines(), told


def test_type_checkers_read_the_settings_that_there_are():
    assert tuple(Options.__annotations__) == ("tasks", *Config._fields)


def test_each_default_has_the_type_that_is_told():
    hints = get_type_hints(Options)
    for name, default in Config._field_defaults.items():
        if default is None:
            assert type(None) in getattr(hints[name], "__args__", (type(None),)), name


def test_help_lists_each_setting_with_its_default():
    text = adaptive_executor.__doc__
    for name, default in Config._field_defaults.items():
        assert f" {name}={default!r}: " in text
