"""A cluster of Dask's on this host: its workers, all of them, and its scheduler are killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from adaptive_exec import PoisonTaskError, WorkerLostError, adaptive_executor
from tests.architecture.house import ROOT

SCRIPT = Path(__file__).parent / "scripts/on_cluster.py"
WAIT_SECONDS = 120
needs_dask = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("distributed"),
    reason="Dask is not installed: pip install adaptive-exec[cluster]",
)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Cluster:
    """A scheduler and workers, each a process; workers have one thread and no nanny."""

    def __init__(self, port: int) -> None:
        self.address = f"tcp://127.0.0.1:{port}"
        self.port = port
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, workers: int = 2) -> None:
        self.scheduler = self._run("dask_scheduler", "--port", str(self.port))
        wait_for(self._listens)
        for _ in range(workers):
            self.add_worker()

    def add_worker(self) -> None:
        self.workers.append(self._run("dask_worker", self.address, "--no-nanny", "--nthreads", "1"))

    def _run(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [
                sys.executable, "-m", f"distributed.cli.{program}", *arguments,
                "--host", "127.0.0.1", "--no-dashboard",
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def send(self, number: int, *, to: str) -> None:
        workers = {"one": self.workers[:1], "all": self.workers, "scheduler": [self.scheduler]}
        for process in workers[to]:
            assert process is not None
            process.send_signal(number)

    def end(self) -> None:
        for process in [*self.workers, self.scheduler]:
            if process is not None:
                process.kill()
                process.wait(30)


def wait_for(condition, seconds: float = WAIT_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster(free_port())
    try:
        made.start()
        yield made
    finally:
        made.end()


class Batch:
    """The script in a process of its own."""

    def __init__(self, address: str, folder: Path, tasks: int, milliseconds: int, **settings):
        self.book = folder / "book"
        self.tasks = tasks
        self.process = subprocess.Popen(
            [
                sys.executable, SCRIPT, address, str(tasks), str(milliseconds), self.book,
                json.dumps(settings),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def wait_until_there(self) -> None:
        """Wait until tasks have come back from the cluster."""
        there = Path(f"{self.book}.there")
        wait_for(lambda: there.exists() or self.process.poll() is not None)
        assert there.exists(), self.process.communicate()

    def end(self) -> dict:
        out, errors = self.process.communicate(timeout=WAIT_SECONDS)
        assert self.process.returncode == 0, errors
        found = json.loads(out.splitlines()[-1])
        assert found["ended"] == list(range(self.tasks)), "a task has no outcome, or two"
        return found

    def runs(self) -> Counter[int]:
        return Counter(int(line.split()[0]) for line in self.book.read_text().splitlines())


def squares(tasks: int) -> dict[str, int]:
    return {str(number): number * number for number in range(tasks)}


@needs_dask
@pytest.mark.parametrize("who", ["one", "all", "scheduler"])
def test_what_is_killed_costs_what_was_out_there_and_nothing_else(who, cluster, tmp_path):
    batch = Batch(cluster.address, tmp_path, 600, 20)
    batch.wait_until_there()

    cluster.send(signal.SIGKILL, to=who)
    found = batch.end()

    assert found["values"] == squares(600)
    assert found["there"] > 0
    again = sum(count - 1 for count in batch.runs().values())
    assert again <= 4 * 60, "more ran twice than can have been out: four chunks of 1.2 s at most"
    assert max(batch.runs().values()) <= 3
    if who == "scheduler":
        assert "help_lost" in found["codes"]
    elif who == "all":
        assert "worker_died" in found["codes"] or "help_found" in found["codes"]


@needs_dask
def test_with_no_retries_nothing_runs_twice(cluster, tmp_path):
    batch = Batch(cluster.address, tmp_path, 600, 20, retries=0)
    batch.wait_until_there()

    cluster.send(signal.SIGKILL, to="all")
    found = batch.end()

    assert max(batch.runs().values()) == 1
    assert set(found["errors"].values()) <= {"WorkerLostError"}
    assert len(found["values"]) + len(found["errors"]) == 600


@needs_dask
def test_workers_that_come_in_the_midst_help(cluster, tmp_path):
    cluster.send(signal.SIGKILL, to="all")
    batch = Batch(cluster.address, tmp_path, 1000, 20)
    wait_for(batch.book.exists)
    cluster.add_worker()

    found = batch.end()

    assert found["values"] == squares(1000)
    assert found["there"] > 0


@needs_dask
def test_a_task_that_kills_its_workers_ends_as_poison_and_never_runs_in_the_caller(
    cluster, tmp_path
):
    batch = Batch(cluster.address, tmp_path, 60, 20, poison=30)

    found = batch.end()

    assert found["errors"] == {"30": "PoisonTaskError"}
    assert len(found["values"]) == 59


@needs_dask
def test_where_nobody_listens_the_work_is_done_here(tmp_path):
    address = f"tcp://127.0.0.1:{free_port()}"
    batch = Batch(address, tmp_path, 200, 30, cluster_wait=1.0)

    found = batch.end()

    assert found["values"] == squares(200)
    assert found["there"] == 0
    assert "start_refused" in found["codes"]


@needs_dask
@pytest.mark.slow
def test_a_stopped_worker_holds_nobody_up_for_ever(cluster, tmp_path):
    batch = Batch(cluster.address, tmp_path, 600, 20)
    batch.wait_until_there()

    cluster.send(signal.SIGSTOP, to="one")
    found = batch.end()

    assert found["values"] == squares(600)


@needs_dask
@pytest.mark.slow
def test_a_cluster_that_is_back_helps_again(cluster, tmp_path):
    batch = Batch(cluster.address, tmp_path, 4000, 20)
    batch.wait_until_there()

    cluster.end()
    cluster.workers.clear()
    cluster.start()
    found = batch.end()

    assert found["values"] == squares(4000)
    assert found["events"].count("restored") == 1


@needs_dask
@pytest.mark.slow
def test_ten_thousand_tasks_of_five_milliseconds(cluster, tmp_path):
    batch = Batch(cluster.address, tmp_path, 10_000, 5)

    found = batch.end()

    assert found["values"] == squares(10_000)
    assert set(batch.runs().values()) == {1}


def tell_and_sleep(number: int) -> tuple[int, int]:
    time.sleep(0.01)
    return number, os.getpid()


def kill_worker_at(number: int) -> int:
    time.sleep(0.01)
    if number == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_pool_one_of_whose_workers_is_killed_is_broken_and_nothing_is_lost():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        pids = {pid for _, pid in pool.map(tell_and_sleep, range(20))}
        with adaptive_executor(cluster=pool, max_workers=1, share_host=False) as executor:
            results = executor.map(tell_and_sleep, range(600))
            wait_for(lambda: "cluster" in executor.report.levels)
            os.kill(next(iter(pids)), signal.SIGKILL)
            found = list(results)

    assert [number for number, _ in found] == list(range(600))
    assert "help_lost" in [str(one.reason.code) for one in executor.report.decisions]


def test_a_task_that_kills_a_pool_ends_as_poison_here():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(tell_and_sleep, range(20)))
        with adaptive_executor(cluster=pool, max_workers=1, share_host=False) as executor:
            outcomes = sorted(executor.outcomes(kill_worker_at, range(100)))

    errors = {one.index: type(one.error) for one in outcomes if one.error is not None}
    assert errors == {40: PoisonTaskError}
    assert len(outcomes) == 100


@pytest.mark.parametrize("levels", ["thread", "sequential"])
def test_without_processes_what_may_have_killed_ends_and_never_runs_in_the_caller(levels):
    caller = os.getpid()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        list(pool.map(tell_and_sleep, range(20)))
        with adaptive_executor(cluster=pool, levels=levels, share_host=False) as executor:
            numbers = iter(range(10**6))
            results = executor.outcomes(tell_or_kill, ((caller, one) for one in numbers))
            ended = [next(results) for _ in range(300)]
            while not executor.report.degrades:
                ended.append(next(results))
            results.close()

    lost = [one for one in ended if one.error is not None]
    assert all(type(one.error) is WorkerLostError for one in lost)
    assert {one.value for one in ended if one.error is None} >= {caller}


def tell_or_kill(at: tuple[int, int]) -> int:
    """End the worker that is not the caller, now and then."""
    caller, number = at
    time.sleep(0.005)
    if os.getpid() != caller and number > 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()
