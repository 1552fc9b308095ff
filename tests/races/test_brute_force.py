"""Races with a shutdown by sheer numbers: three threads bring work in a loop beside it."""

import os
import sys
import threading
import time
from concurrent.futures import CancelledError

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.errors import DriverError

ROUNDS = int(os.environ.get("ADAPTIVE_EXEC_RACE_ROUNDS", "0"))
"""Rounds of each case; 0 for as many as fit into SECONDS."""
SECONDS = {"thread": 2.5, "sequential": 2.5, "process": 2.0}
"""Seconds for each case; with processes a dozen rounds, as their workers are real."""
STEP_SECONDS = {"thread": 0.0003, "sequential": 0.0003, "process": 0.008}
"""Seconds by which the end comes later in each of ten rounds, then from the begin again: a worker
is there after 40 ms, a thread after 0.2."""
END_SECONDS = 60.0
"""Seconds within which a round must end; one takes 2 ms."""
REFUSED = "cannot schedule new futures after shutdown"


@pytest.fixture(autouse=True)
def threads_switch_at_every_turn():
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def by_map(executor):
    assert list(executor.map(abs, range(3))) == [0, 1, 2]


def by_outcomes(executor):
    assert sorted(one.value for one in executor.outcomes(abs, range(3))) == [0, 1, 2]


def by_submit(executor):
    assert executor.submit(abs, -1).result(END_SECONDS) == 1


def by_dropped_map(executor):
    assert next(iter(executor.map(abs, range(3)))) == 0


def in_a_loop(bring, executor, troubles):
    while True:
        try:
            bring(executor)
        except CancelledError:
            return
        except (RuntimeError, DriverError) as error:
            if REFUSED not in str(error) and not isinstance(error, DriverError):
                troubles.append(error)
            return
        except BaseException as error:
            troubles.append(error)
            return


def end_softly(executor):
    executor.shutdown(wait=True)


def end_and_cancel(executor):
    executor.shutdown(wait=True, cancel_futures=True)


def end_at_once(executor):
    executor.kill_workers()


def one_round(level, bring, end, wait_seconds):
    executor = adaptive_executor(levels=(level,), max_workers=2, share_host=False)
    troubles = []
    threads = [
        threading.Thread(target=in_a_loop, args=(bring, executor, troubles), daemon=True)
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    time.sleep(wait_seconds)
    ender = threading.Thread(target=end, args=(executor,), daemon=True)
    ender.start()
    for thread in (ender, *threads):
        thread.join(END_SECONDS)
        assert not thread.is_alive(), "hangs"
    assert troubles == []


@pytest.mark.slow
@pytest.mark.timeout(0 if ROUNDS else 600)
@pytest.mark.parametrize("end", [end_softly, end_and_cancel, end_at_once])
@pytest.mark.parametrize("bring", [by_map, by_submit, by_outcomes, by_dropped_map])
@pytest.mark.parametrize("level", ["thread", "sequential", "process"])
def test_what_is_brought_beside_a_shutdown_has_an_end(level, bring, end):
    began, done = time.monotonic(), 0
    while done < ROUNDS if ROUNDS else time.monotonic() - began < SECONDS[level]:
        one_round(level, bring, end, (done % 10) * STEP_SECONDS[level])
        done += 1
