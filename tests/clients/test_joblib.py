"""joblib's calls on our executor: every ending is told, workers stay, dead ones cost nothing."""

import gc
import multiprocessing
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import threadpoolctl
from joblib import Parallel, delayed

from adaptive_exec import PoisonTaskError, take_snapshot
from adaptive_exec.clients import joblib as client

WAIT_SECONDS = 60.0


@pytest.fixture(autouse=True)
def _adaptive():
    with joblib.parallel_config("adaptive", share_host=False):
        yield
    client.close_idle()


def square(item):
    return item * item


def pid(item):
    time.sleep(0.002)
    return os.getpid()


def die_once(path, item):
    if item == 7:
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return item
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def die(item):
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def fail(item):
    if item == 5:
        message = f"item {item}"
        raise LookupError(message)
    return item


def add(array, item):
    return float(array[0]) + item


def write(array):
    array[0] = 1


def inner(item):
    backend, _ = joblib.parallel.get_active_backend()
    return type(backend).__name__, Parallel(n_jobs=-1)(delayed(square)(k) for k in range(item))


@pytest.mark.parametrize(
    ("asked", "found"),
    [(None, 1), (1, 1), (3, 3), (-1, take_snapshot().usable_cores), (-10_000, 1)],
)
def test_jobs_are_counted_as_by_joblibs_own_backends(asked, found):
    assert client.AdaptiveBackend().effective_n_jobs(asked) == found


def test_no_jobs_at_all_are_refused():
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0)(delayed(square)(k) for k in range(3))


def test_an_unknown_setting_is_named_before_any_work():
    with pytest.raises(TypeError, match="target_memmory"):
        joblib.parallel_config("adaptive", target_memmory="70%")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 500])
def test_results_are_those_of_the_loop_in_its_order(count):
    assert Parallel(n_jobs=2)(delayed(square)(k) for k in range(count)) == [
        k * k for k in range(count)
    ]


def test_functions_without_a_name_and_keywords_are_taken():
    add_more = lambda item, more=1: item + more  # noqa: E731  # it is what users write
    assert Parallel(n_jobs=2)(delayed(add_more)(k, more=k) for k in range(8)) == [
        2 * k for k in range(8)
    ]


def test_ten_calls_in_a_row_start_workers_once():
    found = [set(Parallel(n_jobs=2)(delayed(pid)(k) for k in range(8))) for _ in range(10)]
    assert os.getpid() not in set.union(*found)
    assert len(set.union(*found)) <= 2


def test_a_dead_worker_costs_nothing_and_a_deadly_task_has_a_name(tmp_path):
    calls = (delayed(die_once)(tmp_path / "died", k) for k in range(40))
    assert Parallel(n_jobs=2)(calls) == list(range(40))
    with pytest.raises(PoisonTaskError):
        Parallel(n_jobs=2)(delayed(die)(k) for k in range(8))
    assert Parallel(n_jobs=2)(delayed(square)(k) for k in range(4)) == [0, 1, 4, 9]


@pytest.mark.slow
def test_an_exception_is_the_tasks_own_and_ends_what_still_runs():
    with pytest.raises(LookupError, match="item 5"):
        Parallel(n_jobs=2)(delayed(fail)(k) for k in range(100))
    with Parallel(n_jobs=2) as parallel:
        with pytest.raises(LookupError, match="item 5"):
            parallel(delayed(fail)(k) for k in range(100))
        assert parallel(delayed(square)(k) for k in range(4)) == [0, 1, 4, 9]


@pytest.mark.slow
@pytest.mark.parametrize("at", ["_get_batch_size", "_dispatch", "dispatch_next"])
def test_nothing_of_a_call_that_failed_is_in_the_next_one(at, monkeypatch):
    found = getattr(Parallel, at)

    def pause(*args):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.05)  # a callback that is at work while the call is given up
        return found(*args)

    monkeypatch.setattr(Parallel, at, pause)
    with Parallel(n_jobs=2) as parallel:
        for _ in range(2):
            with pytest.raises(LookupError, match="item 5"):
                parallel(delayed(fail)(k) for k in range(100))
            assert parallel(delayed(square)(k) for k in range(4)) == [0, 1, 4, 9]


def test_what_cannot_be_sent_ends_the_call_and_nothing_hangs():
    with pytest.raises(TypeError, match="lock"):
        Parallel(n_jobs=2)(delayed(square)(threading.Lock()) for _ in range(8))


def test_a_call_that_takes_too_long_is_ended():
    begun = time.monotonic()
    with pytest.raises(multiprocessing.TimeoutError):
        Parallel(n_jobs=2, timeout=0.5)(delayed(time.sleep)(WAIT_SECONDS) for _ in range(4))
    assert time.monotonic() - begun < WAIT_SECONDS / 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["generator", "generator_unordered"])
def test_generators_give_results_as_they_come(kind):
    found = Parallel(n_jobs=2, return_as=kind)(delayed(square)(k) for k in range(50))
    assert next(found) in {k * k for k in range(50)}
    assert len(list(found)) == 49


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_generator_that_is_left_lets_go_of_everything():
    found = Parallel(n_jobs=2, return_as="generator")(delayed(pid)(k) for k in range(1000))
    next(found)
    del found
    gc.collect()
    assert Parallel(n_jobs=2)(delayed(square)(k) for k in range(4)) == [0, 1, 4, 9]


def test_a_large_array_travels_once_and_cannot_be_written():
    array = np.zeros(1 << 20)
    assert Parallel(n_jobs=2)(delayed(add)(array, k) for k in range(30)) == list(range(30))
    with pytest.raises(ValueError, match="read-only"):
        Parallel(n_jobs=2)(delayed(write)(array) for _ in range(2))
    assert array[0] == 0


@pytest.mark.slow
def test_a_large_array_may_be_written_where_joblib_is_told_so():
    array = np.zeros(1 << 20)
    Parallel(n_jobs=2, mmap_mode="c")(delayed(write)(array) for _ in range(2))
    Parallel(n_jobs=2, max_nbytes=None)(delayed(write)(array) for _ in range(2))
    assert array[0] == 0


def test_shared_memory_means_threads_as_many_as_asked():
    found = []
    Parallel(n_jobs=3, require="sharedmem")(delayed(found.append)(k) for k in range(20))
    assert sorted(found) == list(range(20))
    hint = Parallel(n_jobs=2, prefer="threads")(delayed(pid)(k) for k in range(4))
    assert set(hint) == {os.getpid()}


def test_threads_are_not_taken_for_a_hint_where_isolation_is_asked():
    with joblib.parallel_config("adaptive", share_host=False, isolate=True):
        found = Parallel(n_jobs=2, prefer="threads")(delayed(pid)(k) for k in range(4))
    assert os.getpid() not in found


@pytest.mark.slow
def test_each_worker_has_its_share_of_threads_and_what_is_told_wins(monkeypatch):
    ask = delayed(os.getenv)
    cores = take_snapshot().usable_cores
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert set(Parallel(n_jobs=cores + 1)(ask("OMP_NUM_THREADS") for _ in range(4))) == {"1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    client.close_idle()
    assert set(Parallel(n_jobs=2)(ask("OMP_NUM_THREADS") for _ in range(4))) == {"4"}
    with joblib.parallel_config("adaptive", inner_max_num_threads=3, share_host=False):
        assert set(Parallel(n_jobs=2)(ask("OMP_NUM_THREADS") for _ in range(4))) == {"3"}


def blas_threads(_):
    return max(one["num_threads"] for one in threadpoolctl.threadpool_info())


def test_what_is_told_holds_for_libraries_that_are_loaded(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with joblib.parallel_config("adaptive", inner_max_num_threads=1, share_host=False):
        assert set(Parallel(n_jobs=2)(delayed(blas_threads)(k) for k in range(4))) == {1}


def test_a_callback_that_fails_leaves_the_others_their_thread(caplog):
    called = threading.Event()
    calls = queue.SimpleQueue()
    for call in (lambda _: 1 / 0, lambda _: called.set()):
        calls.put((call, None))
    calls.put(None)
    client._serve(calls, threading.Event())
    assert called.is_set()
    assert "callback" in caplog.text


@pytest.mark.slow
def test_calls_within_calls_end_and_take_no_more_than_the_cores_of_their_task():
    found = Parallel(n_jobs=2)(delayed(inner)(k) for k in range(6))
    assert [squares for _, squares in found] == [[k * k for k in range(n)] for n in range(6)]
    assert {name for name, _ in found} <= {"ThreadingBackend", "SequentialBackend"}


def test_a_callback_is_never_called_within_submit_and_has_a_thread_of_its_own():
    backend = client.AdaptiveBackend(share_host=False)
    parallel = Parallel(n_jobs=2, backend=backend)
    backend.configure(n_jobs=2, parallel=parallel)
    ended = threading.Event()
    seen = []

    class Batch:
        items = ((threading.Lock, (), {}),)  # its result cannot be sent back

    def call_back(future):
        seen.append((threading.current_thread().name, future.exception()))
        ended.set()

    backend.submit(Batch, call_back)
    assert ended.wait(WAIT_SECONDS)
    assert seen[0][0] == "adaptive-joblib"
    assert seen[0][1] is not None
    backend.terminate()


@pytest.mark.slow
def test_two_threads_have_an_executor_each():
    results = {}

    def call(name):
        with joblib.parallel_config("adaptive", share_host=False):
            results[name] = Parallel(n_jobs=2)(delayed(square)(k) for k in range(50))

    threads = [threading.Thread(target=call, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert results == {name: [k * k for k in range(50)] for name in range(3)}
    assert len(client._idle) <= client.IDLE_EXECUTORS_MAX


def test_a_journal_recalls_what_is_finished(tmp_path):
    notes = tmp_path / "notes"

    def note(item):
        with notes.open("a") as file:
            file.write(f"{item}\n")
        return item

    for _ in range(2):
        with joblib.parallel_config("adaptive", share_host=False, journal=str(tmp_path / "j")):
            assert Parallel(n_jobs=2)(delayed(note)(k) for k in range(12)) == list(range(12))
    assert sorted(map(int, notes.read_text().split())) == list(range(12))


def count(folder, array, item):
    descriptor = os.open(folder / "counted", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b"x")
    os.close(descriptor)
    return float(array[item])


def test_a_journal_knows_calls_by_what_large_arrays_hold(tmp_path):
    settings = {"share_host": False, "levels": "process", "journal": str(tmp_path / "j")}
    counts = []
    for first, jobs in ((0.0, 2), (0.0, 3), (1.0, 2)):
        array = np.arange(200_000, dtype=float)  # 1.6 MB
        array[0] = first
        with joblib.parallel_config("adaptive", **settings):
            found = Parallel(n_jobs=jobs)(delayed(count)(tmp_path, array, k) for k in range(8))
        assert found == [first, *map(float, range(1, 8))]
        counts.append((tmp_path / "counted").stat().st_size)
    assert counts == [8, 8, 16]


@pytest.mark.parametrize("length", [10, 200_000])  # the second travels once
def test_a_key_of_the_users_is_asked_for_each_call_with_what_was_given(tmp_path, length):
    settings = {"share_host": False, "levels": "process", "journal": str(tmp_path / "j")}
    for first in (0.0, 1.0):
        array = np.full(length, first)
        with joblib.parallel_config(
            "adaptive", key=lambda _, array, item: (array.size, item), **settings
        ):
            found = Parallel(n_jobs=2)(delayed(count)(tmp_path, array, k) for k in range(8))
        assert found == [0.0] * 8, "recalled"
    assert (tmp_path / "counted").stat().st_size == 8


def test_the_page_runs_and_is_short(tmp_path):
    page = (Path(__file__).parents[2] / "docs/clients/joblib.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 40
    script = tmp_path / "page.py"
    script.write_text(re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0])
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=WAIT_SECONDS, check=True
    )
    assert done.stdout == f"{[k**3 for k in range(8)]}\n"
