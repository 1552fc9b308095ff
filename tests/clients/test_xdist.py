"""`pytest -n auto` beside neighbours: the number of workers is a share of the host."""

import importlib.util
import os
import subprocess
import sys

import pytest

from adaptive_exec import take_snapshot
from adaptive_exec.clients import xdist
from adaptive_exec.core.instructions import Standing, TradeShare
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.sharing.share import Claim, Share
from adaptive_exec.ledger.leases import Ledger
from tests.architecture.house import ROOT

WAIT_SECONDS = 120
TESTS = """
import os, pytest
@pytest.mark.parametrize("k", range(8))
def test_one(k):
    assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == os.environ["EXPECTED"]
"""
CORES = take_snapshot().usable_cores

needs_xdist = pytest.mark.skipif(
    importlib.util.find_spec("xdist") is None or os.environ.get(xdist.XDISTS_OWN) is not None,
    reason="needs pytest-xdist that nobody told a number: pip install pytest-xdist",
)


def share(slots, slot_bytes=None):
    return Share(slots, slot_bytes, 2, 0, because(Code.SHARE_FAIR))


@pytest.mark.parametrize(
    ("given", "room_bytes", "count"),
    [
        (None, 100, 8),
        (None, 35, 3),
        (None, 0, 1),
        (share(4), 100, 4),
        (share(4, 20), 100, 2),
        (share(4, 1000), 35, 3),
    ],
    ids=["cores", "memory", "at least one", "slots", "bytes of a share", "a share of old"],
)
def test_workers_fit_into_cores_memory_and_share(given, room_bytes, count):
    host = take_snapshot()._replace(usable_cores=8)
    assert xdist.fitting(given, host, room_bytes=room_bytes, each=10) == count


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("ADAPTIVE_EXEC_LEDGER", str(tmp_path / "ledger"))
    (tmp_path / "test_eight.py").write_text(TESTS, encoding="utf-8")

    def run(expected, *words, **more):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-n", "auto", "-c", os.devnull, *words),
                *("-p", "adaptive_exec.clients.xdist"),
                *("--rootdir", str(tmp_path), "-p", "no:cacheprovider", str(tmp_path)),
            ],
            env={**os.environ, "EXPECTED": str(expected), **more},
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "8 passed" in done.stdout
        return done.stdout

    return run


@needs_xdist
@pytest.mark.slow
def test_a_suite_alone_has_the_cores_and_says_so(run):
    said = run(CORES, "-o", "adaptive_worker_memory=1MiB")
    assert f"adaptive_exec: {CORES} workers" in said


@needs_xdist
@pytest.mark.slow
def test_a_suite_that_needs_all_memory_has_one_worker(run):
    run(1, "-o", "adaptive_worker_memory=90%")


@needs_xdist
@pytest.mark.slow
def test_a_number_that_the_user_tells_xdist_stands(run):
    assert "adaptive_exec:" not in run(3, PYTEST_XDIST_AUTO_NUM_WORKERS="3")


@needs_xdist
@pytest.mark.slow
@pytest.mark.skipif(CORES < 2, reason="needs two cores to share")
def test_a_neighbour_leaves_half_of_the_cores(run):
    claim = Claim("", 0.0, wanted_slots=CORES, held_slots=CORES)
    order = TradeShare(claim, CORES, 1 << 40, Standing("process", CORES, CORES, 0, None, "normal"))
    neighbour = Ledger("a neighbour")
    try:
        assert neighbour.trade(order, take_snapshot()).share.instances == 1
        said = run(CORES // 2, "-o", "adaptive_worker_memory=1MiB")
    finally:
        neighbour.close()
    assert "other instances 1" in said


def test_the_page_is_short_and_names_what_there_is():
    page = (ROOT / "docs/clients/xdist.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 40
    assert xdist.MEMORY_OPTION in page
    assert xdist.XDISTS_OWN in page
    assert xdist.WORKER_MEMORY.replace("MiB", " MiB") in page
