"""scikit-learn's searches with a journal: killed half-way, they go on where they were."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.house import ROOT
from tests.levels.leaks import eventually

WORKERS = 2
WAIT_SECONDS = 240.0
SCRIPT = """
import os, sys, time
import joblib, numpy as np
import adaptive_exec.clients.joblib
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv
from sklearn.model_selection import (
    GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV, cross_validate
)
from sklearn.neighbors import KNeighborsClassifier

KIND, LOG, ROWS, JOURNAL = sys.argv[1:]
GRID = {"n_neighbors": list(range(1, 13))}

class Counted(KNeighborsClassifier):
    def fit(self, X, y):
        time.sleep(0.05)
        file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, b"x")
        os.close(file)
        return super().fit(X, y)

def run(X, y, jobs):
    how = {"cv": 5, "n_jobs": jobs, "refit": False}
    if KIND == "cross_validate":
        return cross_validate(Counted(), X, y, cv=40, n_jobs=jobs)
    if KIND == "grid":
        search = GridSearchCV(Counted(), GRID, **how)
    elif KIND == "random":
        search = RandomizedSearchCV(Counted(), GRID, n_iter=8, random_state=3, **how)
    else:
        search = HalvingGridSearchCV(Counted(), GRID, random_state=3, min_resources=100, **how)
    return search.fit(X, y).cv_results_

if __name__ == "__main__":
    X, y = make_classification(int(ROWS), 20, random_state=0)
    if JOURNAL:
        settings = {"journal": JOURNAL, "levels": "process", "share_host": False}
        with joblib.parallel_config("adaptive", **settings):
            found = run(X, y, 2)
    else:
        found = run(X, y, 1)
    print(joblib.hash({name: np.asarray(value).tolist() for name, value in found.items()
                       if "time" not in name and not name.startswith("param")}))
"""

HAS_SKLEARN = importlib.util.find_spec("sklearn") is not None  # not loaded into the tests' process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not HAS_SKLEARN, reason="needs scikit-learn: pip install scikit-learn"),
]


class Program:
    """A search of one kind, and how many fits it has done so far, over all of its runs."""

    def __init__(self, folder: Path, kind: str, rows: int) -> None:
        self.log = folder / "fits"
        self.script = folder / "search.py"
        self.script.write_text(SCRIPT)
        self.words = [sys.executable, str(self.script), kind, str(self.log), str(rows)]

    @property
    def fits(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def start(self, journal: Path | str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self.words, str(journal)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, journal: Path | str = "") -> str:
        child = self.start(journal)
        out, err = child.communicate(timeout=WAIT_SECONDS)
        assert child.returncode == 0, err
        assert "no_key" not in err
        return out


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("grid", 8000),  # 1.3 MB, which travel once
        ("random", 400),
        ("halving", 2400),
        ("cross_validate", 400),
    ],
)
def test_a_search_that_was_killed_goes_on_where_it_was(tmp_path: Path, kind: str, rows: int):
    program = Program(tmp_path, kind, rows)
    alone = program.run()
    total, journal = program.fits, tmp_path / "search.journal"
    program.log.unlink()

    child = program.start(journal)
    try:
        assert eventually(lambda: program.fits >= 0.6 * total, seconds=WAIT_SECONDS)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=WAIT_SECONDS)

    assert program.run(journal) == alone
    assert program.fits <= total + WORKERS  # what ran at the kill runs again
    done = program.fits
    assert program.run(journal) == alone
    assert program.fits == done
