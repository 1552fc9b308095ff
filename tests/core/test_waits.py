"""What a run waits for is said at once."""

from adaptive_exec.config import Config
from adaptive_exec.core import events as ev
from adaptive_exec.core import instructions as ins
from adaptive_exec.core.memory.readings import ROOM_SECONDS
from adaptive_exec.core.reason import Code
from adaptive_exec.core.run import Run
from tests.core.world import GIB, make_host


def waits(orders):
    said = [order.decision for order in orders if isinstance(order, ins.Explain)]
    return [one for one in said if one.reason.code is Code.ROOM_AWAITED]


def test_that_nothing_is_sent_for_want_of_memory_is_said_at_once_and_once():
    run = Run(Config(levels="process", share_host=False), make_host())
    run.handle(ev.BatchOpened(0.0, 1, 40))
    orders = run.handle(ev.TasksArrived(0.0, 1, 40))
    workers = run.rosters["process"].starting.copy()
    for worker in workers:
        orders += run.handle(ev.WorkerReady(0.0, "process", worker, 10**7))
    assert not waits(orders)

    first = run.handle(ev.HostSampled(1.0, make_host(available=GIB // 2, at=1.0)))
    second = run.handle(ev.HostSampled(1.1, make_host(available=GIB // 2, at=1.1)))

    (told,) = waits(first)
    assert (told.event, told.severity) == ("waiting", "info")
    assert told.reason.fact("wait") == ROOM_SECONDS
    assert not waits(second)


def test_a_run_with_nothing_to_send_waits_for_nothing():
    run = Run(Config(levels="process", share_host=False), make_host())

    assert not waits(run.handle(ev.HostSampled(1.0, make_host(available=GIB // 2, at=1.0))))
