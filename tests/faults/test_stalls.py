"""Tasks that take too long and workers that stand still are ended; nobody else waits for them."""

import os
import signal
import threading
import time

import pytest

from adaptive_exec import TaskTimeoutError, adaptive_executor
from tests.faults.doom import WAYS, Gated, outcomes_of, worker_of
from tests.levels import work
from tests.levels.ladder import ISOLATED, SHARING, executor_at
from tests.levels.leaks import eventually, is_alive

LONG_SECONDS = 1000


def nap_for(log, number, *, long):
    work.note(log, number)
    time.sleep(LONG_SECONDS if number in long else 0.002)
    return number


class Naps:
    def __init__(self, log, long):
        self.log = str(log)
        self.long = long

    def __call__(self, number):
        return nap_for(self.log, number, long=self.long)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("level", ISOLATED)
def test_a_task_past_its_time_is_ended_alone(level, way, tmp_path):
    log = tmp_path / "log"
    events = []
    with executor_at(level, task_timeout=1.0, on_event=events.append) as executor:
        found = outcomes_of(executor, way, Naps(log, {3, 17}), range(30))
    late = {number: item for number, item in found.items() if item != number}
    assert set(late) == {3, 17}
    for number, error in late.items():
        assert type(error) is TaskTimeoutError
        assert (error.index, error.limit_seconds) == (number, 1.0)
    assert work.executions(log, 3) == work.executions(log, 17) == 1
    assert [event["reason"] for event in events if event["event"] == "killed"] == [
        "task_overdue"
    ] * 2
    assert not [event for event in events if event["event"] == "quarantined"]


@pytest.mark.parametrize("level", ISOLATED)
def test_an_overdue_task_counts_one_execution(level, tmp_path):
    with executor_at(level, task_timeout=0.2) as executor:
        (found,) = executor.outcomes(Naps(tmp_path / "log", {0}), [0])
    assert (type(found.error), found.attempts) == (TaskTimeoutError, 1)


@pytest.mark.parametrize("level", ISOLATED)
def test_mates_in_the_chunk_of_an_overdue_task_run_on(level, tmp_path):
    log = tmp_path / "log"
    with executor_at(level, task_timeout=1.3, max_workers=1) as executor:
        found = list(executor.outcomes(Naps(log, {4}), range(10), chunksize=10))
    values = {outcome.index: outcome.value for outcome in found if outcome.error is None}
    assert values == {number: number for number in range(10) if number != 4}
    # At most the last half millisecond of results before the kill is computed again.
    assert work.executions(log) <= 11


@pytest.mark.parametrize("level", ISOLATED)
def test_what_an_overdue_task_had_started_is_ended_with_it(level, tmp_path):
    log = tmp_path / "log"
    with executor_at(level, task_timeout=0.5) as executor:
        (found,) = executor.outcomes(_start_sleeper, [str(log)])
        assert type(found.error) is TaskTimeoutError
        sleeper = int(log.read_text().split()[0])
        assert eventually(lambda: not is_alive(sleeper))


def _start_sleeper(log):
    import subprocess

    with subprocess.Popen(["sleep", "1000"]) as process:
        work.note(log, process.pid)


def test_with_a_time_limit_even_a_single_task_runs_where_it_can_be_killed():
    with adaptive_executor(tasks=1, task_timeout=0.2) as executor:
        (found,) = executor.outcomes(time.sleep, [LONG_SECONDS])
        assert "process" in executor.report.levels
    assert type(found.error) is TaskTimeoutError


@pytest.mark.parametrize("level", SHARING)
def test_where_nothing_can_be_killed_the_limit_is_said_not_to_be_enforced(level):
    with executor_at(level, task_timeout=0.01) as executor:
        assert list(executor.map(time.sleep, [0.05, 0])) == [None, None]
        assert "unenforced" in str(executor.report)


@pytest.mark.parametrize("level", ISOLATED)
def test_time_spent_waiting_in_line_does_not_count_as_running(level, tmp_path):
    with executor_at(level, task_timeout=2.0, max_workers=1) as executor:
        assert list(executor.map(time.sleep, [0.1] * 22)) == [None] * 22


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("level", ISOLATED)
def test_a_stopped_worker_is_noticed_and_its_task_runs_elsewhere_unsuspected(level, way, tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    events = []

    def stop_one():
        assert eventually(lambda: worker_of(log, 5))
        stopped = worker_of(log, 5)
        os.kill(stopped, signal.SIGSTOP)
        gate.touch()
        assert eventually(lambda: worker_of(log, 5) != stopped)

    with executor_at(level, on_event=events.append) as executor:
        stopper = threading.Thread(target=stop_one)
        stopper.start()
        found = outcomes_of(executor, way, Gated(log, gate, held=[5]), range(20))
        stopper.join()
    assert found == {number: number for number in range(20)}
    assert not [event for event in events if event["event"] == "quarantined"]


@pytest.mark.parametrize("level", ISOLATED)
def test_a_worker_that_is_stopped_while_it_starts_is_replaced(level, tmp_path):
    log = tmp_path / "log"
    with executor_at(level, max_workers=1, initializer=_stop_once, initargs=(str(log),)) as ex:
        assert ex.submit(work.same, 1).result(30) == 1
    assert work.executions(log) == 2


def _stop_once(log):
    work.note(log, "starting")
    if work.executions(log) == 1:
        os.kill(os.getpid(), signal.SIGSTOP)


@pytest.mark.parametrize("level", ISOLATED)
def test_a_worker_that_is_stopped_while_idle_costs_nothing(level):
    with executor_at(level, max_workers=1) as executor:
        stopped = executor.submit(os.getpid).result(30)
        os.kill(stopped, signal.SIGSTOP)
        assert executor.submit(os.getpid).result(30) != stopped
        assert eventually(lambda: not is_alive(stopped))
