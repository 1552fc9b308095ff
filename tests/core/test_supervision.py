"""Copies of a command: who is restarted, when, in which order, and who is given up."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.config import GIB, MIB
from adaptive_exec.core import supervision as sup
from adaptive_exec.core.reason import Code
from adaptive_exec.core.supervision import (
    HOST_SETTLE_SECONDS,
    RESTART_CALM_SECONDS,
    RESTART_SECONDS_MAX,
    RESTARTS_MAX,
    UNKILLABLE_SECONDS,
)
from tests.core.world import make_host


class Fleet:
    """Answers the orders of a supervision as a well-behaved host would."""

    def __init__(self, copies=2, **terms):
        self.at = 1000.0
        self.terms = sup.CopyTerms(copies=copies, **terms)
        self.mind = sup.Supervision(self.terms, self.at)
        self.available = 20 * GIB
        self.memory = {}
        self.alive = {}
        self.said = []
        self.terminated = []
        self.killed = []
        self.starts = []
        self.refuse = ""
        self.code = None
        self.tell(sup.Tick(self.at))

    def tell(self, event):
        orders = self.mind.handle(event)
        while orders:
            order = orders.pop(0)
            answer = self.obey(order)
            if answer is not None:
                orders += self.mind.handle(answer)

    def obey(self, order):
        match order:
            case sup.Start():
                assert order.number not in self.alive
                self.starts.append((self.at, order.number))
                if self.refuse:
                    return sup.CopyRefused(self.at, order.number, self.refuse)
                self.alive[order.number] = 100 * len(self.starts) + order.number
                return sup.CopyStarted(self.at, order.number, self.alive[order.number])
            case sup.Terminate():
                assert order.number in self.alive
                self.terminated.append(order.number)
            case sup.Kill():
                assert order.number in self.alive
                self.killed.append(order.number)
            case sup.CopyMeasure():
                memory = {number: self.memory.get(number, MIB) for number in self.alive}
                return sup.CopiesMeasured(self.at, memory, order.is_check)
            case sup.LookAtHost():
                host = make_host(available=self.available, at=self.at)
                return sup.HostSeen(self.at, host)
            case sup.Say():
                self.said.append(order.decision)
            case sup.EndSupervision():
                assert self.code is None or self.code == order.code
                self.code = order.code
        return None

    def end(self, number, status=0):
        del self.alive[number]
        self.tell(sup.CopyEnded(self.at, number, status))

    def wait(self, seconds):
        """Let time pass, waking when the supervision wants to be woken."""
        end = self.at + seconds
        while self.at < end and self.code is None:
            assert self.mind.wake_at > self.at, "it would spin"
            self.at = min(end, self.mind.wake_at)
            self.tell(sup.Tick(self.at))

    def wait_for_life(self):
        end = self.at + RESTART_SECONDS_MAX + 1
        while not self.alive and self.code is None:
            assert self.at < end
            self.wait(0.5)

    def codes(self, event):
        return [decision.reason.code for decision in self.said if decision.event == event]

    def stop(self, code=130):
        self.tell(sup.StopAsked(self.at, code))


def test_all_copies_start_at_once_and_end_with_zero():
    fleet = Fleet(3)
    assert sorted(fleet.alive) == [1, 2, 3]

    for number in (2, 1, 3):
        assert fleet.code is None
        fleet.end(number)

    assert fleet.code == sup.DONE
    assert fleet.codes("done") == [Code.COPY_DONE] * 3
    assert len(fleet.starts) == 3


@pytest.mark.parametrize(
    ("status", "settings", "again"),
    [
        pytest.param(-9, {}, True, id="a signal"),
        pytest.param(137, {}, True, id="a shell's word for a signal"),
        pytest.param(1, {}, False, id="an exit code of its own"),
        pytest.param(255, {}, False, id="a code no signal has"),
        pytest.param(1, {"is_failure_restarted": True}, True, id="an exit code, if asked for"),
    ],
)
def test_who_is_started_again(status, settings, again):
    fleet = Fleet(1, **settings)

    fleet.end(1, status)
    fleet.wait(10)

    assert len(fleet.starts) == 1 + again
    assert fleet.code == (None if again else sup.FAILED)


def test_short_lives_wait_twice_as_long_each_time_and_are_given_up():
    fleet = Fleet(1)
    while fleet.code is None:
        fleet.wait(1)
        fleet.end(1, -11)
        fleet.wait_for_life()

    waits = [decision.reason.fact("wait") for decision in fleet.said if decision.event == "ended"]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert len(fleet.starts) == RESTARTS_MAX + 1
    assert fleet.code == sup.GIVEN_UP
    (given_up,) = [d for d in fleet.said if d.event == "given up"]
    assert given_up.reason.code is Code.RESTARTS_SPENT
    assert given_up.reason.fact("signal") == 11


def test_a_long_life_ends_the_row_of_short_ones():
    fleet = Fleet(1)
    for _ in range(5):
        fleet.end(1, -9)
        fleet.wait_for_life()

    fleet.wait(RESTART_CALM_SECONDS)
    fleet.end(1, -9)

    assert fleet.said[-1].reason.fact("wait") == 1.0


def test_an_old_copy_is_told_to_end_and_replaced_whatever_it_says():
    fleet = Fleet(2, max_age_seconds=3600)

    fleet.wait(3599)
    assert fleet.terminated == []
    fleet.wait(2)

    assert fleet.terminated == [1, 2]
    assert fleet.codes("stopping") == [Code.COPY_OLD] * 2
    fleet.end(1, 0)
    fleet.end(2, -15)
    fleet.wait(2)
    assert sorted(fleet.alive) == [1, 2]


def test_a_copy_that_does_not_go_is_killed_after_the_grace_and_not_before():
    fleet = Fleet(1, max_age_seconds=100, grace_seconds=120)
    fleet.wait(100)

    fleet.wait(119)
    assert (fleet.terminated, fleet.killed) == ([1], [])
    fleet.wait(2)

    assert fleet.killed == [1]
    fleet.wait(60)
    assert fleet.killed == [1]


def test_a_leak_is_seen_at_the_check_and_a_healthy_copy_gets_its_line():
    fleet = Fleet(2, max_memory_bytes=8 * GIB, check_seconds=60)
    fleet.memory = {1: 9 * GIB, 2: 2 * GIB}

    fleet.wait(59)
    assert fleet.terminated == []
    fleet.wait(2)

    assert fleet.terminated == [1]
    assert fleet.codes("stopping") == [Code.COPY_LARGE]
    (checked,) = [decision for decision in fleet.said if decision.event == "checked"]
    assert (checked.subject, checked.reason.fact("memory")) == ("worker 2", 2 * GIB)


def test_unknown_memory_is_no_leak():
    fleet = Fleet(1, max_memory_bytes=MIB)
    fleet.memory = {1: None}

    fleet.wait(61)

    assert fleet.terminated == []


def test_when_the_host_runs_low_the_largest_goes_first_and_one_at_a_time():
    fleet = Fleet(3, min_available_bytes=2 * GIB, grace_seconds=120)
    fleet.memory = {1: 3 * GIB, 2: 7 * GIB, 3: 5 * GIB}
    fleet.wait(5)

    fleet.available = 1.5 * GIB
    fleet.wait(5)
    assert fleet.terminated == [2]
    fleet.end(2, -15)
    fleet.wait(HOST_SETTLE_SECONDS / 2)
    assert fleet.terminated == [2]
    fleet.wait(HOST_SETTLE_SECONDS)

    assert fleet.terminated == [2, 3]
    assert fleet.codes("stopping") == [Code.HOST_LOW] * 2


def test_one_low_look_is_not_believed():
    fleet = Fleet(1, min_available_bytes=2 * GIB)
    fleet.available = GIB
    fleet.wait(1.0)
    fleet.available = 20 * GIB
    fleet.wait(30)

    assert fleet.terminated == []


def test_a_copy_told_to_end_is_killed_when_half_of_the_rest_is_gone():
    fleet = Fleet(1, min_available_bytes=2 * GIB, grace_seconds=120)
    fleet.wait(5)
    fleet.available = 1.5 * GIB
    fleet.wait(5)
    assert (fleet.terminated, fleet.killed) == ([1], [])

    fleet.available = 0.9 * GIB
    fleet.wait(1)

    assert fleet.killed == [1]


def test_nobody_is_started_while_the_host_is_low():
    fleet = Fleet(1, min_available_bytes=2 * GIB)
    fleet.wait(5)
    fleet.available = GIB
    fleet.end(1, -9)

    fleet.wait(200)
    assert fleet.alive == {}
    held = [decision for decision in fleet.said if decision.event == "checked"][-1]
    assert held.reason.code is Code.HOST_LOW
    fleet.available = 2.2 * GIB
    fleet.wait(5)
    assert fleet.alive == {}
    fleet.available = 3 * GIB
    fleet.wait(5)

    assert list(fleet.alive) == [1]


def test_a_copy_that_the_host_ended_is_never_given_up():
    fleet = Fleet(1, min_available_bytes=2 * GIB)
    for _ in range(RESTARTS_MAX * 2):
        fleet.available = GIB
        while not fleet.terminated:
            fleet.wait(1)
        fleet.terminated.clear()
        fleet.end(1, -15)
        fleet.available = 20 * GIB
        fleet.wait_for_life()

    assert fleet.code is None


def test_a_refused_start_is_tried_again_and_then_given_up():
    fleet = Fleet(1)
    fleet.refuse = "OSError: [Errno 12] Cannot allocate memory"
    fleet.end(1, -9)

    fleet.wait(RESTART_SECONDS_MAX * (RESTARTS_MAX + 1))

    assert fleet.code == sup.GIVEN_UP
    assert len(fleet.starts) == 1 + RESTARTS_MAX


def test_a_stop_ends_all_within_the_grace_and_keeps_its_code():
    fleet = Fleet(3, grace_seconds=10)
    fleet.end(3, -9)

    fleet.stop(143)

    assert fleet.terminated == [1, 2]
    fleet.end(1, 0)
    assert fleet.code is None
    fleet.wait(10)
    assert fleet.killed == [2]
    fleet.end(2, -9)
    assert fleet.code == 143
    assert [decision.event for decision in fleet.said[-2:]] == ["killed", "stopped"]


def test_a_second_stop_kills_at_once():
    fleet = Fleet(2, grace_seconds=100)
    fleet.stop()

    fleet.stop()
    fleet.stop()

    assert fleet.killed == [1, 2]


def test_what_no_signal_ends_is_not_waited_for_for_ever():
    fleet = Fleet(1, grace_seconds=10)
    fleet.stop(130)

    fleet.wait(10 + UNKILLABLE_SECONDS + 2)

    assert fleet.killed == [1]
    assert fleet.code == 130


@given(st.data())
def test_whatever_happens_each_copy_lives_at_most_once_and_a_stop_is_an_end(data):
    fleet = Fleet(
        data.draw(st.integers(1, 4)),
        max_age_seconds=data.draw(st.sampled_from([None, 5.0, 500.0])),
        max_memory_bytes=data.draw(st.sampled_from([None, GIB])),
        min_available_bytes=2 * GIB,
        check_seconds=data.draw(st.sampled_from([1.0, 60.0])),
        grace_seconds=data.draw(st.sampled_from([1.0, 120.0])),
        is_failure_restarted=data.draw(st.booleans()),
    )
    for _ in range(data.draw(st.integers(0, 30))):
        if fleet.code is not None:
            break
        match data.draw(st.sampled_from(["wait", "end", "memory", "host", "refuse"])):
            case "wait":
                fleet.wait(data.draw(st.sampled_from([0.05, 1.0, 30.0])))
            case "end" if fleet.alive:
                number = data.draw(st.sampled_from(sorted(fleet.alive)))
                fleet.end(number, data.draw(st.sampled_from([0, 1, -9, -15, 143])))
            case "memory":
                fleet.memory = dict.fromkeys((1, 3), data.draw(st.sampled_from([MIB, 2 * GIB])))
            case "host":
                fleet.available = data.draw(st.sampled_from([0, GIB, 20 * GIB]))
            case "refuse":
                fleet.refuse = data.draw(st.sampled_from(["", "OSError"]))
    if fleet.code is None:
        fleet.stop(130)
        fleet.wait(fleet.terms.grace_seconds + UNKILLABLE_SECONDS + 2)
        assert fleet.code == 130
        assert set(fleet.killed) >= set(fleet.alive)
    assert max(Counter(fleet.starts).values(), default=0) <= 1
