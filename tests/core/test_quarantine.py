"""Whom to blame, and who is poison."""

import pytest

from adaptive_exec.core.events import WorkerLost
from adaptive_exec.core.quarantine import accuse, explain_death, is_poison

KILLED = {"cause": "signal 11"}
MEMORY = {"cause": "out of memory (confirmed)", "memory": True}
OUTSIDE = {"cause": "signal 9", "unexplained": True}


def charge(*deaths):
    """Enter deaths; each is what is known of the worker, and whether the task was alone."""
    record = None
    for number, (death, is_alone) in enumerate(deaths, start=1):
        lost = WorkerLost(float(number), "process", number, running=0, **death)
        record = accuse(record, lost, executions=number, is_alone=is_alone)
    return record


@pytest.mark.parametrize(
    ("deaths", "retries", "expected"),
    [
        pytest.param([(KILLED, False)], 2, False, id="one death is a suspicion"),
        pytest.param([(KILLED, False)] * 2, 2, False, id="two are too"),
        pytest.param([(KILLED, False)] * 3, 2, True, id="three are poison"),
        pytest.param([(KILLED, False)] * 2, 1, True, id="two with one retry"),
        pytest.param([(MEMORY, False)] * 9, 2, False, id="for memory among others none counts"),
        pytest.param([(MEMORY, True)] * 3, 2, True, id="for memory alone each counts"),
        pytest.param([(OUTSIDE, False)] * 3, 2, False, id="an unexplained kill allows one more"),
        pytest.param([(OUTSIDE, False)] * 4, 2, True, id="but only one"),
        pytest.param(
            [(OUTSIDE, False), *[(KILLED, True)] * 2], 2, False, id="whenever it was unexplained"
        ),
    ],
)
def test_a_task_is_poison_when_it_has_killed_as_often_as_retries_allow(deaths, retries, expected):
    assert is_poison(charge(*deaths), retries) is expected


def test_a_record_keeps_what_people_ask_for():
    first = MEMORY | {"peak_bytes": 900}

    record = charge((first, False), (KILLED | {"peak_bytes": 500}, True))

    assert (record.executions, record.deaths, record.since) == (2, 1, 1.0)
    assert (record.cause, record.peak_bytes) == ("signal 11", 900)


def test_a_task_that_once_died_for_memory_stays_alone():
    record = charge((MEMORY, False), (KILLED, True))

    assert record.for_memory


@pytest.mark.parametrize(
    ("has_killed", "peak", "cause", "unexplained"),
    [
        pytest.param(True, 900, "out of memory (confirmed)", False, id="both witnesses"),
        pytest.param(True, 100, "out of memory (probable)", False, id="it was a small one"),
        pytest.param(True, None, "out of memory (probable)", False, id="its size is unknown"),
        pytest.param(False, 900, "out of memory (probable)", True, id="no kill was counted"),
        pytest.param(False, 100, "signal 9", True, id="nothing speaks for memory"),
        pytest.param(False, None, "signal 9", True, id="nothing is known"),
    ],
)
def test_a_death_for_memory_is_confirmed_by_two_witnesses(has_killed, peak, cause, unexplained):
    lost = WorkerLost(1.0, "process", 1, running=0, peak_bytes=peak, **OUTSIDE)

    judged = explain_death(lost, has_killed=has_killed, limit_bytes=1000)

    assert (judged.cause, judged.unexplained) == (cause, unexplained)
    assert judged.memory == (cause != "signal 9")
