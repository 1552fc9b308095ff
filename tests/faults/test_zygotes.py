"""A zygote that dies or stands still costs the running tasks one more run, and makes no suspect."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from adaptive_exec import PoisonTaskError
from tests.faults.doom import WAYS, Gated, outcomes_of
from tests.levels import work
from tests.levels.ladder import executor_at
from tests.levels.leaks import eventually, is_alive, zygotes


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_zygote_killed_while_workers_are_busy_costs_their_tasks_one_more_run(
    way, number, tmp_path
):
    log, gate = tmp_path / "log", tmp_path / "gate"

    def end_the_zygote():
        assert eventually(lambda: len(work.pids_of_executions(log)) == 2)
        (zygote,) = zygotes()
        os.kill(zygote.pid, number)
        assert eventually(lambda: len(work.pids_of_executions(log)) > 2)
        gate.touch()

    events = []
    with executor_at("process", on_event=events.append) as executor:
        killer = threading.Thread(target=end_the_zygote)
        killer.start()
        found = outcomes_of(executor, way, Gated(log, gate, held=range(20)), range(20))
        killer.join()
    assert found == {item: item for item in range(20)}
    assert work.executions(log) == 22
    lost = [event["reason"] for event in events if event["event"] == "lost"]
    assert set(lost) == {"starter_lost"}
    assert not [event for event in events if event["event"] in {"quarantined", "degraded"}]


@pytest.mark.parametrize("way", WAYS)
def test_a_zygote_killed_while_idle_costs_nothing(way):
    with executor_at("process") as executor:
        for shift in (0, 10, 20):
            items = range(shift, shift + 8)
            assert outcomes_of(executor, way, work.same, items) == {item: item for item in items}
            for zygote in zygotes():  # none, where the last one's end is not noticed yet
                zygote.kill()
        assert list(executor.map(work.same, range(8))) == list(range(8))


@pytest.mark.parametrize("way", WAYS)
def test_a_zygote_killed_while_it_loads_is_followed_by_another(way, tmp_path):
    loading = tmp_path / "loading"

    def kill_the_first():
        assert eventually(loading.exists)
        (zygote,) = zygotes()
        zygote.kill()

    with executor_at("process") as executor:
        killer = threading.Thread(target=kill_the_first)
        killer.start()
        function = LoadsSlowlyOnce(str(loading), str(tmp_path / "gate"))
        found = outcomes_of(executor, way, function, range(8))
        killer.join()
    assert found == {item: item for item in range(8)}


class LoadsSlowlyOnce:
    """A function that takes for ever to be loaded the first time, and no time after that."""

    def __init__(self, loading, gate):
        self.loading = loading
        self.gate = gate

    def __call__(self, item):
        return item

    def __reduce__(self):
        return _load_slowly_once, (self.loading, self.gate)


def _load_slowly_once(loading, gate):
    if not os.path.exists(loading):  # noqa: PTH110
        work.note(loading, "loading")
        work.wait_for(gate)
    return LoadsSlowlyOnce(loading, gate)


def test_a_function_whose_loading_ends_the_process_ends_as_an_error_not_as_a_wait():
    with executor_at("process") as executor:
        found = [outcome.error for outcome in executor.outcomes(DiesAtLoading(), range(3))]
        assert len(found) == 3
        assert all(isinstance(error, Exception) for error in found)
        assert not any(isinstance(error, PoisonTaskError) for error in found)


class DiesAtLoading:
    """A function that ends the process that loads it."""

    def __call__(self, item):
        return item

    def __reduce__(self):
        return os._exit, (4,)


def test_a_function_that_starts_threads_while_loading_runs_all_the_same():
    with executor_at("process") as executor:
        assert list(executor.map(StartsThreadAtLoading(), range(8))) == list(range(8))


class StartsThreadAtLoading:
    """A function whose loading leaves a thread behind, which must not be forked."""

    def __call__(self, item):
        return item

    def __reduce__(self):
        return _load_with_thread, ()


def _load_with_thread():
    threading.Thread(target=threading.Event().wait, args=(600,), daemon=True).start()
    return StartsThreadAtLoading()


def test_a_stopped_zygote_does_not_hold_up_running_workers_nor_the_end():
    with executor_at("process") as executor:
        results = executor.map(work.same, range(50))
        assert next(results) == 0
        (zygote,) = zygotes()
        zygote.suspend()
        assert list(results) == list(range(1, 50))
    assert eventually(lambda: not is_alive(zygote.pid))


def test_a_worker_that_dies_while_the_zygote_is_stopped_is_replaced(tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    with executor_at("process") as executor:
        results = executor.map(Gated(log, gate, held=range(8)), range(8))
        assert eventually(lambda: len(work.pids_of_executions(log)) == 2)
        before = work.pids_of_executions(log)
        (zygote,) = zygotes()
        zygote.suspend()
        os.kill(min(before), signal.SIGKILL)
        gate.touch()
        assert list(results) == list(range(8))


class LoadsWithCompany:
    """A function whose loading leaves a program and a fork behind, which hold what they can."""

    def __init__(self, log, gate=""):
        self.log = str(log)
        self.gate = gate and str(gate)

    def __call__(self, item):
        return item

    def __reduce__(self):
        return _load_with_company, (self.log, self.gate)


def _load_with_company(log, gate):
    child = os.fork()
    if child == 0:
        time.sleep(1000)
    program = subprocess.Popen(["sleep", "1000"], close_fds=False)
    work.note(log, child)
    work.note(log, program.pid)
    if gate and not Path(gate).exists():
        work.wait_for(gate)
    return LoadsWithCompany(log, gate)


def company_of(log):
    return [int(line.split()[0]) for line in Path(log).read_text().splitlines()]


def test_what_loading_had_started_ends_with_the_executor(tmp_path):
    log = tmp_path / "log"
    with executor_at("process") as executor:
        assert list(executor.map(LoadsWithCompany(log), range(8))) == list(range(8))
        assert len(company_of(log)) == 2
        assert all(map(is_alive, company_of(log)))
    assert eventually(lambda: not any(map(is_alive, company_of(log))))


@pytest.mark.parametrize("is_loading", [True, False], ids=["loading", "serving"])
def test_a_zygote_that_is_killed_is_missed_although_what_it_loaded_holds_its_descriptors(
    is_loading, tmp_path
):
    log, gate = tmp_path / "log", tmp_path / "gate"
    if not is_loading:
        gate.touch()
    with executor_at("process") as executor:
        results = executor.map(LoadsWithCompany(log, gate), range(8))
        assert eventually(lambda: log.exists() and len(company_of(log)) == 2)
        if not is_loading:
            assert next(results) == 0
        company = company_of(log)
        (zygote,) = [one for one in zygotes() if one.pid not in company]
        zygote.kill()
        gate.touch()
        assert list(results) == list(range(0 if is_loading else 1, 8))
        assert executor.submit(work.same, 1).result(30) == 1
        assert eventually(lambda: not any(map(is_alive, company)))
