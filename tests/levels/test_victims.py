"""Whom the kernel takes first where memory is gone: workers, then what made them, then us."""

import os
from pathlib import Path

import pytest

from tests.levels.ladder import executor_at


def scores(_):
    return [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in ("self", os.getppid())]


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="needs Linux's /proc")
def test_the_kernel_takes_a_worker_first_then_the_zygote_and_then_the_parent():
    own = int(Path("/proc/self/oom_score_adj").read_text())
    with executor_at("process") as executor:
        worker, zygote = executor.submit(scores, None).result(50)

    assert own < zygote < worker
