"""Every example runs, says what its page promises, and is short."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from adaptive_exec.config import MIB
from tests.architecture.house import ROOT
from tests.cgroups import memory_group

EXAMPLES = sorted(set((ROOT / "examples").glob("*.py")) - {ROOT / "examples" / "compare.py"})
LINES_MAX = 40
NEEDS = {"cluster": "distributed"}
"""Extras without which an example is not tried."""
SAYS = {
    "as_they_finish": r"(?s)(?=.*the slow one: waited 0.3 s).*the busy one: 10000 bytes became \d+",
    "cluster": r"both: True, in all 1000\nlost: (help_lost|start_refused|no_progress)\n",
    "drop_in": r"1099726899285419 is no prime\nran in: (process|process -> sequential)\n",
    "failures": r"task 3: ValueError.*\ntask 4: 16\ntask 5: killed its worker 2 times\ntask 6: 36",
    "from_asyncio": r"bits: \[633986, 1267971\]\nmeanwhile the loop went round [1-9]",
    "small_batches": r"3 samples: thread, since batch_small.*\n12 samples: process, since batch_l",
    "brake": r"1 layers: COMPLETE \n2 layers: COMPLETE \n50 layers: PRUNED memory_critical at",
}


def test_every_example_is_told_of_here():
    assert {path.stem for path in EXAMPLES} == set(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < LINES_MAX


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_says_what_it_shows(path: Path, tmp_path: Path):
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem], reason="an extra is not installed")
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


COMPARE = ROOT / "examples" / "compare.py"
SYSTEMS = sorted(path.parent.name for path in ROOT.glob("examples/*/naive.py"))


def compared(*names: str) -> "subprocess.CompletedProcess[str]":
    with memory_group(64 * MIB):  # skips where no group can be made
        pass
    return subprocess.run(
        [sys.executable, str(COMPARE), *names],
        capture_output=True,
        text=True,
        timeout=1400,
        check=False,
    )


@pytest.mark.faults
def test_what_was_written_first_dies_where_the_card_delivers(tmp_path: Path):
    pytest.importorskip("scipy")
    ended = compared("transform")

    assert ended.returncode == 0, (ended.stdout, ended.stderr)
    assert re.search(
        r"^\| \[transform\].*killed by the kernel.*\| done \|", ended.stdout, re.MULTILINE
    ), ended.stdout


@pytest.mark.examples
@pytest.mark.timeout(1500)
def test_each_of_the_five_systems_delivers_where_its_first_version_dies():
    pytest.importorskip("scipy")
    pytest.importorskip("optuna")
    ended = compared()

    assert ended.returncode == 0, (ended.stdout, ended.stderr)
    for name in SYSTEMS:
        line = rf"^\| \[{name}\].*killed by the kernel.*\| done \|"
        assert re.search(line, ended.stdout, re.MULTILINE), ended.stdout


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_system_has_its_card_page_figures_and_picture(name: str):
    folder = ROOT / "examples" / name
    assert {f"{name}.py", f"{name}.toml", "naive.py", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    assert len((folder / "README.md").read_text().splitlines()) <= 16
    page = (ROOT / "examples" / "README.md").read_text()
    assert re.search(rf"^\| \[{name}\].*MiB.*MiB.*MiB.* s \|$", page, re.MULTILINE)
    assert f"pictures/{name}.svg" in page
    ET.parse(ROOT / "examples" / "pictures" / f"{name}.svg")
