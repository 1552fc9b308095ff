"""What scikit-learn computes with `n_jobs` on our backend is what it computes in a loop."""

import importlib.util
import subprocess
import sys

import pytest

from tests.architecture.house import ROOT

WAIT_SECONDS = 400
LEAST = 40
HAS_SKLEARN = importlib.util.find_spec("sklearn") is not None  # not loaded into the tests' process


@pytest.mark.slow
@pytest.mark.skipif(not HAS_SKLEARN, reason="needs scikit-learn: pip install scikit-learn")
def test_every_workload_gives_what_the_loop_gives_bit_for_bit():
    done = subprocess.run(
        [sys.executable, "-m", "tests.clients.learned"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert found == dict.fromkeys(found, "same")
    assert len(found) >= LEAST
