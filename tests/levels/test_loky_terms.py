"""What a worker of loky's context is started with does not bind the parent to a child that dies."""

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.levels.loky import SMALL_TERMS_BYTES, lay_down, pick_up
from tests.levels import work


@pytest.mark.parametrize("size", [0, SMALL_TERMS_BYTES, SMALL_TERMS_BYTES + 1, 3_000_000])
def test_what_is_laid_down_is_picked_up(size):
    text = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    assert pick_up(lay_down(text)) == text


@pytest.mark.slow
def test_a_child_that_dies_before_it_reads_much_is_a_refused_start(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os; os._exit(9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    held = b"x" * 3_000_000
    with adaptive_executor(
        start="loky", isolate=True, initializer=len, initargs=(held,), share_host=False
    ) as executor:
        found = list(executor.outcomes(work.same, range(4)))

    assert len(found) == 4
    assert all(outcome.error is not None for outcome in found)
