"""Whatever ends an executor, all that has come in has one end, from callbacks and forks too."""

import os
import threading
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.engine import loop
from adaptive_exec.errors import DriverError
from tests.levels import work
from tests.levels.leaks import eventually

END_SECONDS = 60.0
LEVELS = ["sequential", "thread", "process"]


def in_time(call):
    """Call in a thread, so that a test that hangs fails."""
    done = threading.Thread(target=call, daemon=True)
    done.start()
    done.join(END_SECONDS)
    assert not done.is_alive(), "hangs"


def hold_until(event):
    event.wait(END_SECONDS)
    return 1


@pytest.mark.parametrize("end", ["shutdown", "kill_workers"])
@pytest.mark.parametrize("level", LEVELS)
def test_a_callback_may_end_its_executor(level, end):
    executor = adaptive_executor(levels=(level,), max_workers=1, share_host=False)
    called = threading.Event()

    def stop(_future):
        getattr(executor, end)()
        called.set()

    def play():
        executor.submit(abs, -1).add_done_callback(stop)
        executor.shutdown()

    in_time(play)
    assert called.wait(END_SECONDS)


def test_a_call_that_moved_to_this_process_is_ended_when_all_is_cancelled():
    began, go_on = threading.Event(), threading.Event()

    def held():
        began.set()
        go_on.wait(END_SECONDS)

    executor = adaptive_executor(max_workers=1, share_host=False, fallback="thread")
    lock = threading.Lock()  # cannot be pickled
    futures = [executor.submit(lambda: (lock, held())) for _ in range(30)]
    assert began.wait(END_SECONDS)
    executor.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    executor.shutdown()
    assert not wait(futures, END_SECONDS).not_done


@pytest.mark.parametrize("level", LEVELS)
def test_a_callback_that_raises_more_than_an_exception_costs_nobody_else(level, tmp_path):
    def leave(_future):
        raise SystemExit(3)

    gate = tmp_path / "gate"
    with adaptive_executor(levels=(level,), max_workers=1, share_host=False) as executor:
        first = executor.submit(work.note_and_wait, tmp_path / "begun", gate)
        first.add_done_callback(leave)
        gate.touch()
        rest = [executor.submit(abs, -n) for n in range(5)]
        assert [one.result(END_SECONDS) for one in rest] == [0, 1, 2, 3, 4]
    assert first.result() == "through"


def test_a_future_that_the_caller_has_set_costs_nobody_else():
    go_on = threading.Event()
    with adaptive_executor(levels=("thread",), max_workers=1) as executor:
        held = executor.submit(hold_until, go_on)
        while not held.running():
            time.sleep(0.001)
        held.set_result("mine")
        go_on.set()
        assert executor.submit(abs, -2).result(END_SECONDS) == 2
    assert held.result() == "mine"


def test_an_end_at_once_beside_a_callback_that_hangs_ends_all_calls_in_time(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "CLOSE_SECONDS", 0.2)
    stuck, go_on = threading.Event(), threading.Event()

    def hang(_future):
        stuck.set()
        go_on.wait(END_SECONDS)

    executor = adaptive_executor(levels=("process",), max_workers=1, share_host=False)
    executor.submit(work.wait_for, tmp_path / "gate").add_done_callback(hang)
    (tmp_path / "gate").touch()
    rest = [executor.submit(time.sleep, 0.01) for _ in range(5)]
    assert stuck.wait(END_SECONDS)
    in_time(executor.kill_workers)
    assert not wait(rest, END_SECONDS).not_done
    in_time(executor.shutdown)
    go_on.set()
    thread = executor._driver._thread
    thread.join(END_SECONDS)
    assert not thread.is_alive()
    assert executor._driver.gate.state == "ended"


@pytest.mark.parametrize("level", LEVELS)
def test_after_a_crash_of_the_loop_nothing_that_came_in_stays_open(level, monkeypatch):
    executor = adaptive_executor(levels=(level,), max_workers=1, share_host=False)
    executor.submit(abs, -1).result(END_SECONDS)
    results = executor.map(abs, range(1_000_000))  # far more than go on while nobody takes any
    monkeypatch.setattr(executor._driver._run, "handle", lambda _event: 1 / 0)
    with pytest.raises(DriverError):  # what the map had out may end the loop before this comes
        executor.submit(abs, -1).result(END_SECONDS)
    with pytest.raises(DriverError):
        list(results)
    with pytest.raises(DriverError):
        executor.submit(abs, -1)
    in_time(executor.shutdown)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_results_of_a_map_are_not_awaited_in_a_forked_child():
    go_on = threading.Event()
    with adaptive_executor(levels=("thread",), max_workers=1) as executor:
        results = executor.map(hold_until, [go_on])
        child = os.fork()
        if not child:
            code = 1
            try:
                next(results)
            except RuntimeError as error:
                code = 0 if "made in another process" in str(error) else 2
            finally:
                os._exit(code)
        go_on.set()
        assert os.waitpid(child, 0)[1] == 0
        assert list(results) == [1]


def test_a_map_cancelled_by_a_shutdown_says_so():
    go_on = threading.Event()
    executor = adaptive_executor(levels=("thread",), max_workers=1)
    results = executor.map(hold_until, iter([go_on] * 10))
    executor.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    with pytest.raises(CancelledError):
        list(results)
    executor.shutdown()


def test_an_end_at_once_beside_a_callback_that_hangs_kills_what_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "CLOSE_SECONDS", 0.2)
    stuck, go_on = threading.Event(), threading.Event()

    def hang(_future):
        stuck.set()
        go_on.wait(END_SECONDS)

    executor = adaptive_executor(levels=("process",), max_workers=2, share_host=False)
    pid = executor.submit(os.getpid).result(END_SECONDS)
    long = executor.submit(time.sleep, 1000)
    while not long.running():
        time.sleep(0.001)
    executor.submit(work.wait_for, tmp_path / "gate").add_done_callback(hang)
    (tmp_path / "gate").touch()
    assert stuck.wait(END_SECONDS)
    in_time(executor.kill_workers)
    assert eventually(lambda: not is_alive(pid))
    go_on.set()
    executor._driver._thread.join(END_SECONDS)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_is_put_off_again_comes_next_time_and_not_for_ever_now():
    with adaptive_executor(levels=("thread",), max_workers=1) as executor:
        driver, tries = executor._driver, []

        def put_off():
            tries.append(1)
            assert len(tries) < 10, "put off for ever"
            driver._deferred.append(put_off)

        driver._deferred.append(put_off)
        driver._do_deferred()
        driver._deferred.clear()
    assert len(tries) == 1


def test_a_caller_leaves_what_is_put_off_to_the_thread_that_another_has_started():
    with adaptive_executor(levels=("thread",), max_workers=1) as executor:
        driver = executor._driver
        answers = iter([True, False])
        driver.may_drive = lambda: next(answers, False)
        driver._deferred.append(lambda: pytest.fail("done by a caller"))
        driver._tend_alone()
        driver._deferred.clear()
        del driver.may_drive
