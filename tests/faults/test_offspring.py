"""Programs that tasks start are let out by what they take, under a real limit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cgroups import memory_group

SCRIPT: Final = Path(__file__).with_name("scripts") / "memory_batch.py"
MIB: Final = 1024 * 1024
LIMIT_BYTES: Final = 500 * MIB
BOUND_SECONDS: Final = 60


@pytest.mark.slow
@pytest.mark.faults
def test_programs_that_tasks_start_are_let_out_by_what_they_take():
    tasks = [(100, 0.2)] * 16
    words = [str(SCRIPT), "start", json.dumps(tasks), json.dumps({"max_workers": 8})]
    with memory_group(LIMIT_BYTES) as group:
        ran = subprocess.run(
            group.command([sys.executable, "-B", *words]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND_SECONDS,
            check=False,
        )
        kills = group.kernel_kills()

    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout.splitlines()[-1])
    assert (said["right"], kills) == (len(tasks), 0), ran.stderr
    assert said["peak"] >= 100_000_000
    assert said["window"] < 5
