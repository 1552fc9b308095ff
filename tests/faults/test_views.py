"""No view of a large payload ever changes, whoever keeps it and whoever dies; nothing is left."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from adaptive_exec.levels import arena
from adaptive_exec.levels.arena import ARENA_BYTES_MAX
from tests.faults import keepers
from tests.levels import work
from tests.levels.ladder import ISOLATED, executor_at
from tests.levels.leaks import eventually, is_alive, mapped_pieces, workers

pytestmark = pytest.mark.parametrize("level", ISOLATED)

ROUNDS = 40
TASKS = 6
MEGABYTE = 1 << 20


@pytest.fixture
def counted():
    before = keepers.count_pieces()
    yield keepers.counts
    arena.Arena.write, arena.make_piece = before


def test_no_view_ever_changes_in_workers_in_the_parent_and_in_their_children(
    level, tmp_path, counted
):
    kept, paths, children = [], [], []
    with executor_at(level, initializer=keepers.count_pieces) as executor:
        for turn in range(ROUNDS):
            path = None
            if turn % 8 == 3:
                path = str(tmp_path / f"worker {turn} {'dies' if turn in {11, 27} else 'lives'}")
                paths.append(path)
            pid, found = _run(executor, turn, path)
            kept += found
            del found
            assert not keepers.changed(kept)
            if turn % 8 == 6:
                paths.append(str(tmp_path / f"parent {turn}"))
                children.append(keepers.fork_keeper(kept, paths[-1]))
                kept.clear()
            keepers.thin_out(kept)
            if turn in {5, 15} and is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        assert all(eventually(lambda path=path: Path(f"{path}.begun").exists()) for path in paths)
        sent, made = counted()
        assert made < sent / 2  # so pieces were used again, and any view of them would have changed
        found = list(executor.map(keepers.counts, range(8), chunksize=1))
        assert any(made < sent / 2 for sent, made in found), found
        (tmp_path / "over").touch()
        assert all(eventually(lambda path=path: Path(path).exists()) for path in paths)
    for child in children:
        os.waitpid(child, 0)
    for path in paths:
        count, _, found = Path(path).read_text().partition(" kept, changed ")
        assert int(count) >= 1
        assert found == "[]"
    assert len(paths) == 10


def _run(executor, turn, path):
    numbers = range(TASKS * turn, TASKS * turn + TASKS)
    items = [
        (number, keepers.filled(number), path if not place else None)
        for place, number in enumerate(numbers)
    ]
    found = []
    results = executor.map(keepers.keep, items, chunksize=1)
    for number, (worker, wrong, array) in zip(numbers, results, strict=True):
        assert not wrong
        found.append((number, array))
        pid = worker
    return pid, found


def test_workers_killed_amid_large_payloads_change_no_result_and_leave_nothing(level):
    with executor_at(level) as executor:
        for _ in range(2):
            items = [np.full(2 * MEGABYTE, number, np.uint8) for number in range(40)]
            results = executor.map(_plus_one, items, chunksize=1)
            for number, (pid, array) in enumerate(results):
                assert array.nbytes == 2 * MEGABYTE
                assert (array == number + 1).all()
                if number in {5, 25} and is_alive(pid):
                    os.kill(pid, signal.SIGKILL)
        del array
        assert eventually(lambda: not list(mapped_pieces()))


def _plus_one(array):
    array += 1
    return os.getpid(), array


@pytest.mark.parametrize("way", ["argument", "result"])
def test_a_worker_killed_while_an_in_band_payload_is_on_its_way_costs_one_more_run(
    level, way, tmp_path
):
    log = tmp_path / "log"
    size = ARENA_BYTES_MAX + 10 * MEGABYTE
    with executor_at(level, max_workers=1) as executor:
        executor.submit(work.same, 1).result(30)
        (worker,) = workers()
        if way == "argument":
            future = executor.submit(len, np.ones(size, np.uint8))
        else:
            future = executor.submit(_note_and_fill, str(log), size)
            assert eventually(lambda: work.executions(log) == 1)
        os.kill(worker.pid, signal.SIGKILL)
        result = future.result(50)
        assert (result if way == "argument" else len(result)) == size
        assert not is_alive(worker.pid)


def _note_and_fill(log, size):
    work.note(log, "begun")
    return np.ones(size, np.uint8)
