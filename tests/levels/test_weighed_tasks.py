"""What each task takes is measured, one after another in the same worker as well."""

import time

import pytest

from adaptive_exec.core.events import ChunkDone
from tests.levels.ladder import ISOLATED, executor_at

TASK_BYTES = 60_000_000


def take(item):
    block = bytearray(TASK_BYTES)
    time.sleep(0.01)
    return len(block) + item


@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("row", ISOLATED)
def test_each_chunk_of_long_tasks_says_what_it_took(row, chunksize, monkeypatch):
    events = []
    with executor_at(row) as executor:
        handle = executor._driver._run.handle

        def see(event):
            events.append(event)
            return handle(event)

        monkeypatch.setattr(executor._driver._run, "handle", see)
        assert list(executor.map(take, range(12), chunksize=chunksize)) == [
            TASK_BYTES + item for item in range(12)
        ]
    taken = [one.usage.span_bytes for one in events if isinstance(one, ChunkDone)]
    assert len(taken) == 12 // chunksize
    assert min(taken) > 0.9 * TASK_BYTES, taken
