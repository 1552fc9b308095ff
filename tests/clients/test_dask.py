"""Dask's page says what its program says, where Dask is installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.house import ROOT

pytest.importorskip(
    "distributed", reason="Dask is not installed: pip install adaptive-exec[cluster]"
)

PAGE = Path(__file__).parents[2] / "docs/clients/dask.md"
SCRIPT = Path(__file__).parent / "clusters_of_dask.py"
LINES_MAX = 40


@pytest.mark.slow
def test_the_page_runs_and_is_short(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    assert len(page.splitlines()) <= LINES_MAX
    code, said = re.findall(r"^```(?:python|text)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    script = tmp_path / "page.py"
    script.write_text(code, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, check=True
    )

    assert done.stdout == said


@pytest.mark.slow
def test_a_client_its_executor_large_functions_and_a_journal(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "journal.sqlite"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "client True running",
        "executor True 1",
        "large True",
        "journal 300 0",
        "closed CannotStartError: the client is closed",
    ]
