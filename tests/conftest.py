"""Hypothesis profiles: `dev` while writing; `ci`, more examples, always the same, in `.ci/run`;
`short`, fewer of these, for the other Pythons there.
"""

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline per example would fail on a busy host; pytest's timeout bounds the whole test.
settings.register_profile("dev", max_examples=100, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("short", max_examples=50, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# A ledger of our own: executors of other programs on this host would take a share of ours.
_LEDGER = Path(tempfile.mkdtemp(prefix="adaptive-exec-tests-"))
os.environ["ADAPTIVE_EXEC_LEDGER"] = str(_LEDGER)


@pytest.fixture(scope="module", autouse=True)
def what_is_there_is_not_looked_through():
    """Take what tests have made by now out of later collections, of which there are thousands."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    shutil.rmtree(_LEDGER, ignore_errors=True)
