"""Where a batch starts, and with how many workers."""

import pytest

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.core.costs import Costs
from adaptive_exec.core.plan import (
    BatchShape,
    count_waiting_workers,
    count_workers,
    make_plan,
    paying_workers,
    usable_levels,
)
from adaptive_exec.core.reason import Code
from tests.core.world import make_host

HOST = make_host(cores=8)
TIGHT = make_host(cores=8, available=48 * MIB, limit=16 * GIB)
FULL = make_host(cores=8, available=16 * MIB, limit=16 * GIB)
NONE: frozenset[str] = frozenset()
PROCESS, THREAD = frozenset({"process"}), frozenset({"process", "thread"})
UNPORTABLE = BatchShape(10, portable=False)


@pytest.mark.parametrize(
    ("shape", "settings", "host", "shut", "level", "workers", "code"),
    [
        pytest.param(
            BatchShape(1), {}, HOST, NONE, "thread", 1, Code.BATCH_SMALL,
            id="one task goes to a thread",
        ),
        pytest.param(
            BatchShape(3), {}, HOST, NONE, "thread", 3, Code.BATCH_SMALL,
            id="three tasks go to three threads",
        ),
        pytest.param(
            BatchShape(4), {}, HOST, NONE, "process", 4, Code.BATCH_LARGE,
            id="four tasks go to four processes",
        ),
        pytest.param(
            BatchShape(1000), {}, HOST, NONE, "process", 8, Code.BATCH_LARGE,
            id="many tasks go to a process per core",
        ),
        pytest.param(
            BatchShape(None), {}, HOST, NONE, "process", 8, Code.BATCH_UNSIZED,
            id="an input of unknown length counts as large",
        ),
        pytest.param(
            BatchShape(1000), {"max_workers": 2}, HOST, NONE, "process", 2, Code.BATCH_LARGE,
            id="the caller may bound the workers",
        ),
        pytest.param(
            BatchShape(1000), {"max_workers": 99}, HOST, NONE, "process", 99, Code.BATCH_LARGE,
            id="the caller may ask for more workers than cores",
        ),
        pytest.param(
            BatchShape(1), {"isolate": True}, HOST, NONE, "process", 1, Code.ISOLATION_ASKED,
            id="with isolation one task too goes to a process",
        ),
        pytest.param(
            BatchShape(1), {"task_timeout": 1.0}, HOST, NONE, "process", 1, Code.TIMEOUT_ASKED,
            id="with a time-out one task too goes to a process",
        ),
        pytest.param(
            BatchShape(100), {"task_timeout": 1.0}, HOST, PROCESS, "thread", 2, Code.LEVEL_SHUT,
            id="with a time-out threads run where no process is to be had",
        ),
        pytest.param(
            BatchShape(100), {"isolate": True}, HOST, PROCESS, "process", 8, Code.LEVEL_SHUT,
            id="with isolation a batch stays with the process level even when it is shut",
        ),
        pytest.param(
            BatchShape(3, announced=False), {}, HOST, NONE, "process", 3, Code.BATCH_UNANNOUNCED,
            id="three tasks that nobody announced go to processes",
        ),
        pytest.param(
            BatchShape(1), {"initializer": print}, HOST, NONE, "process", 1, Code.WORKERS_ASKED,
            id="with an initializer one task too goes to a process",
        ),
        pytest.param(
            BatchShape(1), {"max_tasks_per_worker": 1}, HOST, NONE, "process", 1,
            Code.WORKERS_ASKED, id="where workers are replaced one task too goes to a process",
        ),
        pytest.param(
            BatchShape(1), {"start": "loky"}, HOST, NONE, "process", 1, Code.WORKERS_ASKED,
            id="with a way to start processes one task too goes to a process",
        ),
        pytest.param(
            BatchShape(1), {"initializer": print}, HOST, PROCESS, "process", 1, Code.LEVEL_SHUT,
            id="an initializer keeps a batch out of the caller also where processes failed",
        ),
        pytest.param(
            BatchShape(1), {"initializer": print, "levels": ("thread", "sequential")}, HOST, NONE,
            "thread", 1, Code.LEVEL_ASKED,
            id="with an initializer threads run where processes are excluded",
        ),
        pytest.param(
            UNPORTABLE, {"isolate": True}, HOST, NONE, "process", 8, Code.ISOLATION_ASKED,
            id="with isolation a function that cannot travel goes nowhere else",
        ),
        pytest.param(
            UNPORTABLE, {}, HOST, NONE, "process", 8, Code.FUNCTION_NOT_PORTABLE,
            id="a function that cannot travel goes nowhere else",
        ),
        pytest.param(
            UNPORTABLE, {"fallback": "thread"}, HOST, NONE, "thread", 2,
            Code.FUNCTION_NOT_PORTABLE, id="or by choice to threads",
        ),
        pytest.param(
            BatchShape(3, portable=False), {}, HOST, NONE, "thread", 3, Code.BATCH_SMALL,
            id="a small batch goes to threads whatever its function holds",
        ),
        pytest.param(
            BatchShape(100), {}, HOST, PROCESS, "thread", 2, Code.LEVEL_SHUT,
            id="where processes failed two threads run",
        ),
        pytest.param(
            BatchShape(100), {}, HOST, THREAD, "sequential", 1, Code.LEVEL_SHUT,
            id="where threads failed too the caller runs",
        ),
        pytest.param(
            BatchShape(100), {"levels": "process"}, HOST, PROCESS, "process", 8, Code.LEVEL_SHUT,
            id="the only level allowed is the plan even when it is shut",
        ),
        pytest.param(
            BatchShape(100), {"levels": "thread"}, HOST, NONE, "thread", 12, Code.LEVEL_ASKED,
            id="threads alone are as many as a thread pool would have",
        ),
        pytest.param(
            BatchShape(2), {"levels": "process"}, HOST, NONE, "process", 2, Code.LEVEL_ASKED,
            id="a small batch goes to processes where only they are allowed",
        ),
        pytest.param(
            BatchShape(100), {}, TIGHT, NONE, "process", 8, Code.BATCH_LARGE,
            id="short memory means fewer workers, by the window",
        ),
        pytest.param(
            BatchShape(100), {}, FULL, NONE, "thread", 1, Code.MEMORY_SHORT,
            id="memory short of even one worker leads to threads",
        ),
        pytest.param(
            BatchShape(100), {"task_memory": "10GiB"}, HOST, NONE, "process", 8, Code.BATCH_LARGE,
            id="how many of the processes work at once is the window's affair",
        ),
        pytest.param(
            BatchShape(0), {}, HOST, NONE, "thread", 1, Code.BATCH_SMALL,
            id="an empty batch plans one worker that nobody will order",
        ),
    ],
)  # fmt: skip
def test_a_batch_starts_where_the_rule_says(shape, settings, host, shut, level, workers, code):
    plan = make_plan(shape, host, Config(**settings), shut=shut)

    assert (plan.level, plan.workers, plan.reason.code) == (level, workers, code)


def test_no_more_workers_are_planned_than_can_be_started():
    host = make_host(cores=8)
    host = type(host)(
        0.0, host.limit_bytes, "t", host.available_bytes, "t", 8, "t", free_processes=3
    )

    assert count_workers("process", 100, host, Config()) == 3


@pytest.mark.parametrize(
    ("portable", "isolate", "shut", "expected"),
    [
        pytest.param(True, False, NONE, ("process", "thread", "sequential"), id="all by default"),
        pytest.param(False, False, NONE, ("thread", "sequential"), id="no process if it cannot go"),
        pytest.param(True, True, NONE, ("process",), id="only processes with isolation"),
        pytest.param(True, True, PROCESS, (), id="none with isolation where processes failed"),
        pytest.param(False, True, NONE, (), id="none with isolation if it cannot go"),
    ],
)
def test_levels_are_usable_unless_something_speaks_against_them(portable, isolate, shut, expected):
    assert usable_levels(Config(isolate=isolate), portable=portable, shut=shut) == expected


@pytest.mark.parametrize(
    ("level", "cpu", "settings", "expected"),
    [
        pytest.param("process", 0.5, {}, 0, id="busy tasks get no more than cores"),
        pytest.param("process", 0.1, {}, 32, id="waiting tasks get more workers than cores"),
        pytest.param("process", None, {}, 0, id="nothing is known of their processor time"),
        pytest.param("process", 0.1, {"max_workers": 4}, 0, id="the caller has said how many"),
        pytest.param("sequential", 0.1, {}, 0, id="the caller's thread is one"),
        pytest.param("thread", 0.1, {"task_memory": 2 * GIB}, 11, id="memory bounds threads"),
    ],
)
def test_tasks_that_wait_get_more_workers(level, cpu, settings, expected):
    costs = Costs(tasks=10, wall_seconds=1.0, cpu_seconds=cpu, chunk_tasks=1)
    host = make_host(cores=8, available=32 * GIB - 16 * MIB)

    assert count_waiting_workers(level, costs, 1000, host, Config(**settings)) == expected


@pytest.mark.parametrize(
    ("left", "price", "workers"),
    [
        pytest.param(64, 0.003, 32, id="a fork is not looked at"),
        pytest.param(64, 1.0, 2, id="an import of a second pays for two"),
        pytest.param(6_400, 1.0, 25, id="for more where there is more to do"),
        pytest.param(None, 1.0, 1, id="as much is expected as there was"),
        pytest.param(0, 10.0, 1, id="one there is"),
    ],
)
def test_no_more_workers_are_started_than_pay_for_their_start(left, price, workers):
    costs = Costs(tasks=8, wall_seconds=0.05, cpu_seconds=0.0)
    assert paying_workers(costs, left, 2, price) == workers
