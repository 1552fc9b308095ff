"""An executor that is ended while its first workers are being started leaves no process."""

import time
from pathlib import Path

import pytest

from adaptive_exec import adaptive_executor
from tests.levels.leaks import eventually

ROUNDS = 30


def children() -> set[str]:
    """The processes that threads of this one have started, zombies too."""
    return {
        pid
        for path in Path("/proc/self/task").glob("*/children")
        for pid in path.read_text().split()
    }


@pytest.mark.skipif(
    not list(Path("/proc/self/task").glob("*/children")), reason="needs /proc/self/task/*/children"
)
@pytest.mark.parametrize("pause_seconds", [0.0, 0.0005, 0.003, 0.02])
def test_what_is_killed_at_its_start_leaves_no_process(pause_seconds: float):
    before = children()
    for _ in range(ROUNDS):
        executor = adaptive_executor(levels="process", max_workers=2)
        executor.submit(pow, 2, 3)
        time.sleep(pause_seconds)
        executor.kill_workers()

    assert eventually(lambda: children() <= before), children() - before
