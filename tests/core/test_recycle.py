"""When a worker has served long enough, and what shows that its function leaks."""

import pytest

from adaptive_exec.config import GIB, MIB, Config
from adaptive_exec.core.events import Usage
from adaptive_exec.core.memory.recycle import (
    Service,
    growth_per_task,
    leak_per_task,
    serve,
    suggest_recycle,
)
from adaptive_exec.core.reason import Code

FAIR = 80 * MIB


def after(*kept_mib, tasks=1, birth=10 * MIB):
    service = Service(0.0)
    for kept in kept_mib:
        kept_bytes = None if kept is None else int(kept * MIB)
        service = serve(service, Usage(tasks, 0.1, kept_bytes=kept_bytes, birth_bytes=birth))
    return service


def judge(service, *, now=1.0, fair_bytes=FAIR, **settings):
    return suggest_recycle(
        service, Config(**settings), now=now, limit_bytes=GIB, fair_bytes=fair_bytes
    )


@pytest.mark.parametrize(
    ("service", "now", "settings", "code"),
    [
        pytest.param(after(1, 1, 1), 1, {}, None, id="a worker that keeps little stays"),
        pytest.param(
            after(1, 1, 1), 1, {"max_tasks_per_worker": 3}, Code.TASKS_SERVED, id="by tasks"
        ),
        pytest.param(after(1, 1), 1, {"max_tasks_per_worker": 3}, None, id="not before"),
        pytest.param(after(1), 60, {"max_worker_age": 60}, Code.WORKER_OLD, id="by age"),
        pytest.param(after(1), 59, {"max_worker_age": 60}, None, id="not younger"),
        pytest.param(
            after(50), 1, {"max_worker_memory": 60 * MIB}, Code.WORKER_LARGE, id="by its size"
        ),
        pytest.param(after(49), 1, {"max_worker_memory": 60 * MIB}, None, id="not smaller"),
        pytest.param(after(5, 90), 1, {}, Code.WORKER_LARGE, id="it kept its fair part"),
        pytest.param(after(5, 90), 1, {"max_worker_memory": GIB}, None, id="the user's mark wins"),
        pytest.param(after(90, 91), 1, {}, None, id="a fresh one would keep as much"),
        pytest.param(
            after(*range(10, 110, 10)), 1, {}, Code.TASKS_LEAK, id="it grows with each task"
        ),
        pytest.param(after(), 60, {"max_worker_memory": MIB}, None, id="one that did nothing"),
    ],
)
def test_a_worker_goes_for_a_reason(service, now, settings, code):
    reason = judge(service, now=now, **settings)

    assert (reason and reason.code) == code


def test_little_is_never_too_much_however_small_the_part():
    assert judge(after(1, 30), fair_bytes=0) is None


@pytest.mark.parametrize(
    ("service", "leak"),
    [
        pytest.param(after(10, 20, 30, 40, 50), 10 * MIB, id="the same with each"),
        pytest.param(after(10, 20, 30, 40, 50, tasks=5), 2 * MIB, id="spread over a chunk's tasks"),
        pytest.param(after(10, 20, 30), None, id="too early to say"),
        pytest.param(after(10, 40, 50, 51, 52), None, id="a cache that fills up"),
        pytest.param(after(10, 20, 15, 30, 50), None, id="up and down"),
        pytest.param(after(*range(10, 200, 10)), 10 * MIB, id="only the newest count"),
        pytest.param(after(1.0, 1.1, 1.2, 1.3, 1.4), None, id="too little to matter"),
        pytest.param(after(10, None, 20, 30, None, 40, 50), 10 * MIB * 4 // 6, id="with gaps"),
    ],
)
def test_a_leak_is_steady_growth(service, leak):
    assert leak_per_task(service) == leak


@pytest.mark.parametrize(
    ("service", "grown"),
    [
        pytest.param(after(5, 15, 35), 15 * MIB, id="with each chunk"),
        pytest.param(after(5, 25, tasks=4), 5 * MIB, id="by tasks"),
        pytest.param(after(5, 5, 35), None, id="not with each"),
        pytest.param(after(90), None, id="one chunk shows nothing"),
        pytest.param(after(), None, id="no chunk"),
    ],
)
def test_growth_counts_where_it_came_with_every_chunk(service, grown):
    assert growth_per_task(service) == grown
