"""A guard for loops of one's own: one warning in a while, an exception before memory is gone."""

import logging
import threading
import timeit
from pathlib import Path

import pytest

from adaptive_exec import MemoryGuard, MemoryPressureError
from adaptive_exec.config import GIB, MIB
from adaptive_exec.guard import GUARD_LINE_SECONDS
from adaptive_exec.host.survey import HostProbe
from tests.cgroups import memory_group
from tests.core.world import make_host


class Host:
    """A host whose available memory follows a list; the last number stays."""

    def __init__(self, *available: int, step_seconds: float = 1.0) -> None:
        self.available = list(available)
        self.now = 0.0
        self.step_seconds = step_seconds
        self.looks = 0

    def __call__(self):
        self.looks += 1
        self.now += self.step_seconds
        left = self.available.pop(0) if len(self.available) > 1 else self.available[0]
        return make_host(available=left, limit=32 * GIB, at=self.now)


def guard_of(host, **marks):
    return MemoryGuard(**{"warn": "4GiB", "critical": "2GiB", **marks}, look=host)


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "adaptive_exec"]


def test_with_plenty_of_memory_nothing_is_said(caplog):
    guard_of(Host(20 * GIB)).check("split 1/5")

    assert lines(caplog) == []


def test_a_warning_comes_at_most_once_in_half_a_minute_and_counts_the_others(caplog):
    guard = guard_of(Host(3 * GIB, step_seconds=1.0))

    for _ in range(int(GUARD_LINE_SECONDS) * 2 + 1):
        guard.check("split 3/5")

    assert len(lines(caplog)) == 3
    assert lines(caplog)[0].startswith("pressure: split 3/5 normal -> warn reason=memory_warn ")
    assert "available=3072.0MiB" in lines(caplog)[0]
    assert lines(caplog)[1].endswith(f"held_back={int(GUARD_LINE_SECONDS) - 1}")


def test_at_critical_the_brake_is_logged_and_raised_with_the_facts(caplog):
    with pytest.raises(MemoryPressureError) as caught:
        guard_of(Host(GIB)).check("split 3/5")

    error = caught.value
    assert (error.where, error.available_bytes, error.critical_bytes) == ("split 3/5", GIB, 2 * GIB)
    assert (error.limit_bytes, error.needed_bytes) == (32 * GIB, None)
    assert isinstance(error, MemoryError)
    (line,) = lines(caplog)
    assert line.startswith("EMERGENCY BRAKE ACTIVATED [split 3/5] reason=memory_critical ")
    assert caplog.records[0].levelno == logging.ERROR


def test_a_moment_below_the_mark_that_has_passed_at_the_second_look_brakes_nothing():
    host = Host(GIB, 20 * GIB)

    guard_of(host).check("split 3/5")

    assert host.looks == 2


def test_marks_are_what_is_left_and_may_be_fractions():
    MemoryGuard(warn=0.5, critical="25%", look=Host(9 * GIB)).check()

    with pytest.raises(MemoryPressureError):
        MemoryGuard(warn=0.5, critical="25%", look=Host(7 * GIB)).check()


def test_without_marks_those_of_the_executor_hold():
    MemoryGuard(look=Host(2 * GIB)).check()

    with pytest.raises(MemoryPressureError):
        MemoryGuard(look=Host(2 * GIB - 1)).check()


@pytest.mark.parametrize(
    ("marks", "kind", "said"),
    [
        pytest.param({"warn": "1GiB", "critical": "2GiB"}, ValueError, "above", id="wrong order"),
        pytest.param({"warn": "much"}, ValueError, "warn", id="no size"),
        pytest.param({"critical": True}, TypeError, "critical", id="no number"),
    ],
)
def test_a_wrong_mark_is_refused_at_once(marks, kind, said):
    with pytest.raises(kind, match=said):
        MemoryGuard(**marks)


def test_room_that_is_there_costs_no_wait(caplog):
    assert guard_of(Host(20 * GIB)).wait_for_room("10GiB", 5) == 0.0
    assert lines(caplog) == []


def test_a_wait_ends_when_there_is_room(caplog):
    host = Host(*[3 * GIB] * 6, 30 * GIB)

    waited = guard_of(host).wait_for_room("4GiB", 30, where="split 2/5")

    assert 0 < waited < 30
    (line,) = lines(caplog)
    assert line.startswith("waiting for room: split 2/5 reason=memory_critical needed=4096.0MiB ")


def test_a_wait_without_room_ends_with_the_facts_when_patience_does():
    with pytest.raises(MemoryPressureError) as caught:
        guard_of(Host(3 * GIB)).wait_for_room("4GiB", 0.2)

    assert caught.value.needed_bytes == 4 * GIB
    assert caught.value.available_bytes == 3 * GIB


def test_what_can_never_fit_is_not_waited_for():
    host = Host(20 * GIB)

    with pytest.raises(MemoryPressureError):
        guard_of(host).wait_for_room("31GiB", 3600)

    assert host.looks == 1


@pytest.mark.parametrize("patience", [-1, float("nan"), float("inf")])
def test_a_wait_has_an_end(patience):
    with pytest.raises(ValueError, match="patience"):
        guard_of(Host(20 * GIB)).wait_for_room("1GiB", patience)


def test_the_containers_limit_counts():
    tree = HostProbe(str(Path(__file__).parent / "trees" / "docker_v2"))
    host = tree.take(0.0)
    above = host.available_bytes + MIB

    with pytest.raises(MemoryPressureError) as caught:
        MemoryGuard(warn=above + MIB, critical=above, look=tree.take).check()

    assert "cgroup" in caught.value.source


def test_threads_may_share_a_guard(caplog):
    guard = guard_of(Host(3 * GIB, step_seconds=0.001))
    errors = []

    def look():
        try:
            for _ in range(200):
                guard.check()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert len(lines(caplog)) == 1


EATER = """
import sys
from adaptive_exec import MemoryGuard, MemoryPressureError
guard, held = MemoryGuard(warn="40%", critical="20%"), []
for step in range(1000):
    try:
        guard.check(f"step {step}")
    except MemoryPressureError as error:
        assert "cgroup" in error.source, error.source
        print(step, error.available_bytes, error.limit_bytes)
        break
    held.append(bytearray(b"1") * 2**20)
held.clear()
print(guard.wait_for_room("50MiB", 60))
"""


def test_in_a_real_group_a_loop_that_eats_memory_is_stopped_before_the_kernel_does():
    with memory_group(256 * MIB) as group:
        done = group.run_python(EATER)

    assert done.returncode == 0, done.stderr
    steps, available, limit, _ = (float(word) for word in done.stdout.split())
    assert 100 < steps < 220
    assert 0.1 * limit < available < 0.2 * limit
    assert "EMERGENCY BRAKE ACTIVATED [step " in done.stderr


def test_a_check_is_cheap():
    guard = MemoryGuard(warn="2MiB", critical="1MiB")

    took = min(timeit.repeat(guard.check, number=200, repeat=5)) / 200

    assert took < 0.005
