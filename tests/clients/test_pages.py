"""The page of each ecosystem is short, and its program says what the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs/clients"
LINES_MAX = 40
WAIT_SECONDS = 120
WITH_OUTPUT = ["asyncio", "bars", "pool", "standard"]
"""Pages of one program and what it prints."""
ELSEWHERE = ["dask", "joblib", "xdist"]
"""Pages that are tried beside the other tests of what they are about."""


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_the_page_runs_and_is_short(name, tmp_path):
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= LINES_MAX
    code, said = re.findall(r"^```(?:python|text)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    script = tmp_path / "page.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=WAIT_SECONDS, check=True
    )
    assert done.stdout == said


def test_every_page_is_tried():
    assert sorted(page.stem for page in PAGES.glob("*.md")) == sorted([*WITH_OUTPUT, *ELSEWHERE])
