"""The sampler: posts snapshots, changes pace at once, and always ends."""

import queue
import threading
import time

import pytest

from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.host import sampler as sampler_module
from adaptive_exec.host.sampler import INTERVAL_SECONDS_MAX, INTERVAL_SECONDS_MIN, Sampler

PATIENCE_SECONDS = 10.0
SNAPSHOT = HostSnapshot(0.0, 1, "test", 1, "test", 1, "test")


class Probe:
    def __init__(self, *failures: Exception):
        self._failures = list(failures)

    def take(self, now=None):
        if self._failures:
            raise self._failures.pop(0)
        return SNAPSHOT


@pytest.fixture
def inbox():
    return queue.Queue()


@pytest.fixture
def running():
    samplers = []

    def start(*arguments, **options):
        sampler = Sampler(*arguments, **options)
        samplers.append(sampler)
        sampler.start()
        return sampler

    yield start
    assert all(sampler.stop(timeout_seconds=PATIENCE_SECONDS) for sampler in samplers)


def test_the_first_snapshot_is_posted_at_once(inbox, running):
    running(Probe(), inbox.put, interval_seconds=INTERVAL_SECONDS_MAX)

    assert inbox.get(timeout=INTERVAL_SECONDS_MAX / 2) is SNAPSHOT


def test_snapshots_go_on_coming(inbox, running):
    running(Probe(), inbox.put, interval_seconds=INTERVAL_SECONDS_MIN)

    assert [inbox.get(timeout=PATIENCE_SECONDS) for _ in range(5)] == [SNAPSHOT] * 5


def test_a_shorter_interval_ends_the_present_wait(inbox, running):
    sampler = running(Probe(), inbox.put, interval_seconds=INTERVAL_SECONDS_MAX)
    inbox.get(timeout=PATIENCE_SECONDS)
    since = time.monotonic()

    sampler.set_interval(INTERVAL_SECONDS_MIN)
    inbox.get(timeout=PATIENCE_SECONDS)

    assert time.monotonic() - since < INTERVAL_SECONDS_MAX / 2


def test_an_interval_of_nothing_does_not_spin(inbox, running):
    running(Probe(), inbox.put, interval_seconds=0.0)
    since = time.monotonic()

    for _ in range(5):
        inbox.get(timeout=PATIENCE_SECONDS)

    assert time.monotonic() - since >= 3 * INTERVAL_SECONDS_MIN


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        pytest.param(0.0, INTERVAL_SECONDS_MIN, id="nothing is the least"),
        pytest.param(-1.0, INTERVAL_SECONDS_MIN, id="less than nothing is the least"),
        pytest.param(0.5, 0.5, id="between the bounds it is as asked"),
        pytest.param(float("inf"), INTERVAL_SECONDS_MAX, id="for ever is the most"),
    ],
)
def test_an_interval_is_bounded(asked, given):
    assert sampler_module._bounded(asked) == given


def test_after_stop_nothing_is_posted(inbox, running):
    sampler = running(Probe(), inbox.put, interval_seconds=INTERVAL_SECONDS_MIN)
    inbox.get(timeout=PATIENCE_SECONDS)

    assert sampler.stop(timeout_seconds=PATIENCE_SECONDS)
    posted = inbox.qsize()

    assert sampler.stop(timeout_seconds=PATIENCE_SECONDS)
    assert inbox.qsize() == posted


def test_stop_ends_a_long_wait(inbox, running):
    sampler = running(Probe(), inbox.put, interval_seconds=INTERVAL_SECONDS_MAX)
    inbox.get(timeout=PATIENCE_SECONDS)

    assert sampler.stop(timeout_seconds=INTERVAL_SECONDS_MAX / 2)


def test_a_sampler_that_never_started_has_ended():
    assert Sampler(Probe(), print).stop()


def test_a_stop_from_its_own_thread_does_not_wait_for_itself(running):
    answers = queue.Queue()
    sampler = None
    ready = threading.Event()

    def post(_):
        ready.wait(PATIENCE_SECONDS)
        answers.put(sampler.stop(timeout_seconds=3 * PATIENCE_SECONDS))

    sampler = running(Probe(), post)
    ready.set()

    assert answers.get(timeout=PATIENCE_SECONDS) is False


def test_a_probe_that_hangs_does_not_hang_stop(running):
    entered, release = threading.Event(), threading.Event()

    class Slow:
        def take(self, now=None):
            entered.set()
            release.wait(PATIENCE_SECONDS)
            return SNAPSHOT

    sampler = running(Slow(), lambda _: None)
    entered.wait(PATIENCE_SECONDS)

    assert not sampler.stop(timeout_seconds=0.05)
    release.set()
    assert sampler.stop(timeout_seconds=PATIENCE_SECONDS)


def test_a_failed_look_is_counted_and_the_next_one_comes(inbox, running):
    probe = Probe(MemoryError(), OSError())
    sampler = running(probe, inbox.put, interval_seconds=INTERVAL_SECONDS_MIN)

    assert inbox.get(timeout=PATIENCE_SECONDS) is SNAPSHOT
    assert sampler.failures == 2


def test_an_inbox_that_refuses_is_counted(running):
    refused = queue.Queue()

    def post(_):
        refused.put(True)
        raise RuntimeError

    sampler = running(Probe(), post, interval_seconds=INTERVAL_SECONDS_MIN)
    refused.get(timeout=PATIENCE_SECONDS)
    refused.get(timeout=PATIENCE_SECONDS)

    assert sampler.failures >= 1


def test_a_thread_that_is_refused_is_the_callers_to_know(monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    sampler = Sampler(Probe(), print)
    monkeypatch.setattr(sampler_module._thread, "start_new_thread", refuse)

    with pytest.raises(RuntimeError, match="can't start new thread"):
        sampler.start()

    assert sampler.stop()
