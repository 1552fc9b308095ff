"""Tiny submitted calls travel together, and nothing of it can be noticed but the speed."""

import os
import signal
import time
from concurrent.futures import CancelledError, as_completed, wait
from concurrent.futures import TimeoutError as WaitTimeoutError

import pytest

from adaptive_exec import (
    PoisonTaskError,
    TaskTimeoutError,
    UnsendableError,
    WorkerLostError,
    current_task,
)
from adaptive_exec.core.events import TasksUnbegun
from adaptive_exec.levels import loky, lookout, process, zygote
from adaptive_exec.levels.slate import Slate
from tests.levels import work
from tests.levels.ladder import ISOLATED, executor_at

WAIT_SECONDS = 60.0
WORKERS = 2


def group_chunks(executor) -> tuple[int, int]:
    """Return how many tasks and chunks there were."""
    words = str(executor.report).splitlines()[0].split()
    return int(words[0]), int(words[words.index("chunks") - 1])


def warm_up(executor) -> None:
    """Let the run learn that calls are tiny."""
    wait([executor.submit(work.same, item) for item in range(400)], timeout=WAIT_SECONDS)


def hold(executor, gate) -> None:
    """Keep all workers busy until the gate is there, so that what is submitted meanwhile waits."""
    for _ in range(WORKERS):
        executor.submit(work.wait_for, gate)


def touch(path) -> str:
    path.touch()
    return path.name


def die_once(path) -> str:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return "again"
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def say_number_and_wait(begun, gate):
    work.note(begun, current_task().index)
    work.wait_for(gate)


def note_and_die(path, item):
    work.note(path, item)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("row", ISOLATED)
def test_tiny_calls_travel_together(row, tmp_path):
    with executor_at(row) as executor:
        warm_up(executor)
        before = group_chunks(executor)[1]
        hold(executor, tmp_path / "gate")
        futures = [executor.submit(work.square, item) for item in range(2000)]
        touch(tmp_path / "gate")
        assert [one.result(WAIT_SECONDS) for one in futures] == [item**2 for item in range(2000)]
        assert group_chunks(executor)[1] - before < 1000


@pytest.mark.slow
@pytest.mark.parametrize("row", ISOLATED)
def test_a_call_may_wait_for_any_that_was_submitted_later(row, tmp_path):
    with executor_at(row) as executor:
        warm_up(executor)
        for turn in range(10):
            gate = tmp_path / str(turn)
            early = [executor.submit(work.same, item) for item in range(50)]
            waits = executor.submit(work.wait_for, gate)
            late = [executor.submit(work.same, item) for item in range(turn)]
            opens = executor.submit(touch, gate)
            last = [executor.submit(work.same, item) for item in range(50)]
            assert opens.result(WAIT_SECONDS) == gate.name
            waits.result(WAIT_SECONDS)
            found = [one.result(WAIT_SECONDS) for one in early + late + last]
            assert found == [*range(50), *range(turn), *range(50)]


@pytest.mark.slow
@pytest.mark.parametrize("row", ISOLATED)
@pytest.mark.parametrize(
    ("retries", "error", "most"), [(0, WorkerLostError, 1), (2, PoisonTaskError, 4)]
)
def test_a_worker_that_dies_in_a_group_costs_the_call_that_ran(row, retries, error, most, tmp_path):
    notes = tmp_path / "notes"
    with executor_at(row, retries=retries) as executor:
        warm_up(executor)
        futures = [executor.submit(work.note, notes, item) for item in range(60)]
        deadly = executor.submit(note_and_die, notes, "deadly")
        futures += [executor.submit(work.note, notes, item) for item in range(60, 120)]
        with pytest.raises(error):
            deadly.result(WAIT_SECONDS)
        wait(futures, timeout=WAIT_SECONDS)
        assert all(one.exception() is None for one in futures)
    assert all(work.executions(notes, item) == 1 for item in range(120))
    assert 1 <= work.executions(notes, "deadly") <= most


@pytest.mark.slow
@pytest.mark.parametrize("row", ISOLATED)
def test_a_call_that_died_once_in_a_group_runs_again(row, tmp_path):
    with executor_at(row) as executor:
        warm_up(executor)
        futures = [executor.submit(work.same, item) for item in range(60)]
        again = executor.submit(die_once, tmp_path / "once")
        futures += [executor.submit(work.same, item) for item in range(60, 120)]
        assert again.result(WAIT_SECONDS) == "again"
        assert [one.result(WAIT_SECONDS) for one in futures] == list(range(120))


@pytest.mark.slow
@pytest.mark.parametrize("row", ISOLATED)
def test_a_call_without_end_in_a_group_is_ended_by_its_time_out(row, tmp_path, monkeypatch):
    since_ns = Slate.running_since_ns

    def long_ago_ns(slate):
        is_endless = work.executions(tmp_path / "begun", slate.running())
        return since_ns(slate) - is_endless * 120 * 10**9

    monkeypatch.setattr(Slate, "running_since_ns", long_ago_ns)
    with executor_at(row, task_timeout=60.0, retries=0) as executor:
        warm_up(executor)
        futures = [executor.submit(work.same, item) for item in range(60)]
        endless = executor.submit(say_number_and_wait, tmp_path / "begun", tmp_path / "never")
        futures += [executor.submit(work.same, item) for item in range(60, 120)]
        assert [one.result(WAIT_SECONDS) for one in futures] == list(range(120))
        with pytest.raises(TaskTimeoutError):
            endless.result(WAIT_SECONDS)


@pytest.mark.parametrize("row", ISOLATED)
def test_calls_behind_a_long_one_end_long_before_it(row, tmp_path):
    gate = tmp_path / "gate"
    with executor_at(row) as executor:
        warm_up(executor)
        long = executor.submit(work.wait_for, gate)
        futures = [executor.submit(work.same, item) for item in range(300)]
        assert len(list(as_completed(futures, timeout=WAIT_SECONDS))) == 300
        with pytest.raises(WaitTimeoutError):
            long.result(0.01)
        gate.touch()
        long.result(WAIT_SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize("row", ISOLATED)
def test_calls_that_fail_or_cannot_travel_keep_to_themselves_in_a_group(row):
    with executor_at(row) as executor:
        warm_up(executor)
        futures = [executor.submit(work.invert, item % 10) for item in range(400)]
        strange = executor.submit(work.same, (item for item in ()))
        futures += [executor.submit(work.invert, item % 10) for item in range(400)]
        wait([*futures, strange], timeout=WAIT_SECONDS)
        for item, future in enumerate(futures):
            if item % 10:
                assert future.result() == 1 / (item % 10)
            else:
                assert isinstance(future.exception(), ZeroDivisionError)
        assert isinstance(strange.exception(), TypeError)


@pytest.mark.parametrize("row", ISOLATED)
def test_calls_that_wait_can_be_cancelled_and_the_others_end(row, tmp_path):
    with executor_at(row) as executor:
        warm_up(executor)
        hold(executor, tmp_path / "gate")
        futures = [executor.submit(time.sleep, 0.0002) for _ in range(1000)]
        cancelled = [one.cancel() for one in futures]
        touch(tmp_path / "gate")
        wait(futures, timeout=WAIT_SECONDS)
        assert any(cancelled)
        assert all(one.cancelled() == was for one, was in zip(futures, cancelled, strict=True))


class Breaks:
    """Can be packed and not unpacked."""

    def __reduce__(self):
        return (int, ("no number",))


@pytest.mark.parametrize("row", ISOLATED)
@pytest.mark.parametrize(
    ("item", "error"), [((one for one in ()), UnsendableError), (Breaks(), ValueError)]
)
def test_a_call_that_cannot_travel_ends_before_a_long_one_behind_it(row, item, error, tmp_path):
    gate = tmp_path / "gate"
    with executor_at(row) as executor:
        warm_up(executor)
        busy = [executor.submit(time.sleep, 0.2) for _ in range(2)]
        strange = [executor.submit(work.same, item)]
        long = [executor.submit(work.wait_for, gate)]
        strange += [executor.submit(work.same, item) for _ in range(3)]
        try:
            assert {type(one.exception(WAIT_SECONDS)) for one in strange} == {error}
        finally:
            gate.touch()
        wait(busy + long, timeout=WAIT_SECONDS)
        assert long[0].exception() is None


@pytest.mark.parametrize("row", ISOLATED)
def test_calls_that_cannot_travel_are_counted_once_though_their_group_was_cut(row, tmp_path):
    gate = tmp_path / "gate"
    with executor_at(row) as executor:
        warm_up(executor)
        futures = []
        for _ in range(4):
            futures.append(executor.submit(work.wait_for, gate))
            futures += [executor.submit(work.same, (one for one in ())) for _ in range(10)]
        time.sleep(0.3)  # until groups are cut
        gate.touch()
        wait(futures, timeout=WAIT_SECONDS)
    report = executor.report  # at its end: it is told of a call after whoever waits for it
    assert (report.tasks, report.failed_tasks) == (444, 40)


@pytest.mark.parametrize("row", ISOLATED)
def test_a_group_that_is_cut_before_it_has_begun_gets_on_all_the_same(row, monkeypatch):
    def clear(slate, half):
        slate.numbers[2 + half] = 0
        slate.cut()

    with executor_at(row) as executor:
        warm_up(executor)
        monkeypatch.setattr(Slate, "clear", clear)
        futures = [executor.submit(work.same, item) for item in range(100)]
        assert [one.result(WAIT_SECONDS) for one in futures] == list(range(100))


@pytest.mark.parametrize("row", ISOLATED)
def test_what_is_taken_back_is_told_once(row, tmp_path, monkeypatch):
    told = []

    def tell(at, chunk, stop):
        told.append((chunk, stop))
        return TasksUnbegun(at, chunk, stop)

    for module in (lookout, process):
        monkeypatch.setattr(module, "TasksUnbegun", tell)
    gate = tmp_path / "gate"
    with executor_at(row) as executor:
        warm_up(executor)
        futures = [executor.submit(work.same, item) for item in range(60)]
        long = executor.submit(work.wait_for, gate)
        futures += [executor.submit(work.same, item) for item in range(300)]
        wait(futures, timeout=WAIT_SECONDS)
        time.sleep(0.5)
        gate.touch()
        long.result(WAIT_SECONDS)
    assert len(told) == len(set(told))


@pytest.mark.parametrize("row", ISOLATED)
@pytest.mark.parametrize("retries", [0, 2])
def test_without_shared_memory_a_death_costs_the_one_call_that_was_sent(
    row, retries, tmp_path, monkeypatch
):
    for starter in (loky, zygote):
        monkeypatch.setattr(starter, "make_slate", lambda: (-1, None))
    notes = tmp_path / "notes"
    with executor_at(row, retries=retries) as executor:
        warm_up(executor)
        futures = [executor.submit(work.note, notes, item) for item in range(60)]
        deadly = executor.submit(note_and_die, notes, "deadly")
        futures += [executor.submit(work.note, notes, item) for item in range(60, 120)]
        assert isinstance(deadly.exception(WAIT_SECONDS), WorkerLostError | PoisonTaskError)
        wait(futures, timeout=WAIT_SECONDS)
        assert all(one.exception() is None for one in futures)
    assert all(work.executions(notes, item) == 1 for item in range(120))


@pytest.mark.parametrize("row", ISOLATED)
def test_calls_taken_back_that_never_began_end_as_cancelled_with_the_rest(row, tmp_path):
    gate, notes = tmp_path / "gate", tmp_path / "notes"
    with executor_at(row) as executor:
        warm_up(executor)
        futures = [executor.submit(work.same, item) for item in range(60)]
        futures += [executor.submit(work.wait_for, gate) for _ in range(2)]
        late = [executor.submit(work.note, notes, item) for item in range(500)]
        time.sleep(0.3)  # until both workers are at a long one
        executor.shutdown(wait=False, cancel_futures=True)
        gate.touch()
        wait(futures + late, timeout=WAIT_SECONDS)
    for item, future in enumerate(late):
        if work.executions(notes, item):
            assert future.result() == item
        else:
            with pytest.raises(CancelledError):
                future.result()
