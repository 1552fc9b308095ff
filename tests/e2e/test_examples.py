"""Every example runs, says what its page promises, and is short."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.house import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LINES_MAX = 40
SAYS = {
    "as_they_finish": r"(?s)(?=.*the slow one: waited 0.3 s).*the busy one: 10000 bytes became \d+",
    "drop_in": r"1099726899285419 is no prime\nran in: (process|process -> sequential)\n",
    "failures": r"task 3: ValueError.*\ntask 4: 16\ntask 5: killed its worker 2 times\ntask 6: 36",
    "from_asyncio": r"bits: \[633986, 1267971\]\nmeanwhile the loop went round [1-9]",
    "small_batches": r"3 samples: thread, since batch_small.*\n12 samples: process, since batch_l",
    "trials": r"1 layers: COMPLETE \n2 layers: COMPLETE \n50 layers: PRUNED memory_critical at",
}


def test_every_example_is_told_of_here():
    assert {path.stem for path in EXAMPLES} == set(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < LINES_MAX


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_says_what_it_shows(path: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[path.stem], done.stdout), done.stdout
