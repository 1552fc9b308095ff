"""Virtual time."""

from adaptive_exec.core.events import TimerFired
from adaptive_exec.sim.clock import Clock


def test_events_happen_in_the_order_of_their_times():
    clock = Clock()
    for at in (2.0, 1.0, 3.0):
        clock.schedule(TimerFired(at))

    happened = [clock.pop().at for _ in range(3)]

    assert happened == [1.0, 2.0, 3.0]
    assert clock.next_at is None
    assert clock.now == 3.0


def test_events_of_one_moment_happen_as_they_were_scheduled():
    clock = Clock()
    first, second = TimerFired(1.0), TimerFired(1.0)
    clock.schedule(first)
    clock.schedule(second)

    assert clock.pop() is first
    assert clock.pop() is second


def test_time_never_goes_back():
    clock = Clock()
    clock.skip_to(5.0)

    clock.skip_to(3.0)

    assert clock.now == 5.0
