"""Orders of threads, searched: what is brought beside an end, a cancel, a drop, a fork has one end.

The world is that of the caller's side: the sequential and the thread level, with a host that stands
still. A failure prints its schedule; `play(scene, schedule)` shows it again.
"""

import os
import time
import weakref
from concurrent.futures import CancelledError, wait
from contextlib import suppress

import pytest

from adaptive_exec import adaptive_executor, calls, executor, submits
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.engine import gate, lifetime, loop
from adaptive_exec.errors import DriverError
from tests.races.baton import search

RUNS = int(os.environ.get("ADAPTIVE_EXEC_RACE_RUNS", "0"))
"""Schedules of each case; 0 for so many that the ring stays quick."""
QUICK_RUNS = 6
SLOW_RUNS = 60
GIB = 1024**3
REFUSED = "cannot schedule new futures after"
LEVELS = ["sequential", "thread"]


@pytest.fixture(autouse=True)
def a_host_that_stands_still(monkeypatch):
    still = HostSnapshot(0.0, 32 * GIB, "test", 32 * GIB, "test", 4, "test")
    monkeypatch.setattr(
        executor, "take_snapshot", lambda: still._replace(taken_at=time.monotonic())
    )
    for module, name in ((lifetime, "_alive"), (lifetime, "exit_began"), (gate, "exit_began")):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back after each test


class Ends:
    """What became of what was brought."""

    def __init__(self) -> None:
        self.calls = {}
        self.futures = []
        self.errors = []
        self.cuts = []

    def watch(self, future) -> None:
        self.futures.append(future)
        self.calls[id(future)] = 0
        future.add_done_callback(self.count)

    def count(self, future) -> None:
        self.calls[id(future)] += 1

    def check(self, *, may_cancel: bool, may_cut: bool) -> None:
        """Each future has exactly one end, and only an end that was asked for costs results."""
        assert all(future.done() for future in self.futures)
        assert set(self.calls.values()) <= ({0, 1} if may_cancel else {1})  # kill waits for none
        for future in self.futures:
            if future.cancelled() or future.exception() is not None:
                assert may_cancel, future
            else:
                assert future.result() == 1
        for error in self.errors:
            assert may_cancel or REFUSED in str(error), error
        for error in self.cuts:
            assert may_cancel or (may_cut and REFUSED in str(error)), error


def bring_submit(executor, ends):
    for _ in range(2):
        try:
            future = executor.submit(abs, -1)
        except (RuntimeError, DriverError) as error:
            ends.errors.append(error)
            return
        ends.watch(future)


def take(ends, bring):
    """Take the results of a map; a map that was let in yields all or says why it does not."""
    try:
        results = bring()
    except (RuntimeError, DriverError) as error:
        ends.errors.append(error)
        return
    try:
        values = list(results)
    except (CancelledError, RuntimeError, DriverError) as error:
        ends.cuts.append(error)
    else:
        assert values == [1, 1, 1]


def bring_map(executor, ends):
    take(ends, lambda: executor.map(abs, [-1, -1, -1]))


def bring_lazy_map(executor, ends):
    take(ends, lambda: executor.map(abs, iter([-1, -1, -1])))


def bring_outcomes(executor, ends):
    take(ends, lambda: (one.value for one in executor.outcomes(abs, [-1, -1, -1])))


def bring_and_drop(executor, ends):
    """Take one result of a map and let go of the rest."""
    try:
        results = executor.map(abs, [-1, -1, -1])
        assert next(results) == 1
    except (RuntimeError, CancelledError, DriverError) as error:
        ends.errors.append(error)


BRINGS = [bring_submit, bring_map, bring_lazy_map, bring_outcomes, bring_and_drop]


def shut(executor):
    executor.shutdown()


def shut_and_cancel(executor):
    executor.shutdown(cancel_futures=True)


def kill(executor):
    executor.kill_workers()


def leave_the_interpreter(executor):
    lifetime._stop_all()


def open_pool(level, threads, baton):
    gate.exit_began = lifetime.exit_began = threads.Event()
    lifetime._alive = weakref.WeakSet()
    return adaptive_executor(levels=(level,), max_workers=2, share_host=False)


def run_all(those):
    for one in those:
        one.start()
    for one in those:
        one.join()


def beside(level, bring, end, *, bringers=1):
    """Threads bring work, another ends the executor."""

    def scene(threads, baton):
        pool, ends = open_pool(level, threads, baton), Ends()
        those = [threads.Thread(target=bring, args=(pool, ends)) for _ in range(bringers)]
        those += [threads.Thread(target=end, args=(pool,))]
        run_all(those)
        pool.shutdown()
        check_end(pool)
        # At exit the input of a map that has begun is cut: it might have no end.
        may_cut = bring is bring_lazy_map and end is leave_the_interpreter
        ends.check(may_cancel=end in {shut_and_cancel, kill}, may_cut=may_cut)

    return scene


def check_end(pool):
    assert pool._driver.finished.is_set()
    assert pool._driver.gate.state == "ended"
    assert not pool._driver.batches


def search_twice(scene, request, *, lines_of=(gate, submits, calls, loop, executor)):
    """Search with a switch at every lock and wait, then at every line too."""
    runs = RUNS or (SLOW_RUNS if request.node.get_closest_marker("slow") else QUICK_RUNS)
    search(scene, runs=runs)
    search(scene, runs=runs, lines_of=lines_of)


ENDS = [shut, shut_and_cancel, kill, leave_the_interpreter]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("bring", BRINGS)
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_brought_beside_an_end_has_one_end(level, bring, end, request):
    search_twice(beside(level, bring, end), request)


def cancelled_meanwhile(level):
    """One thread submits, another cancels what it finds and waits for its end."""

    def scene(threads, baton):
        pool, ends = open_pool(level, threads, baton), Ends()

        def cancel_all():
            for future in list(ends.futures):
                future.cancel()
                wait([future], 60)

        both = [threads.Thread(target=bring_submit, args=(pool, ends))]
        both += [threads.Thread(target=cancel_all)]
        run_all(both)
        pool.shutdown()
        check_end(pool)
        ends.check(may_cancel=True, may_cut=False)
        assert not ends.errors

    return scene


def closed_meanwhile(level, kind):
    """One thread takes results, another closes the iterator; what comes after still has an end."""

    def scene(threads, baton):
        pool, ends = open_pool(level, threads, baton), Ends()
        results = getattr(pool, kind)(abs, iter([-1, -1, -1]))
        both = [threads.Thread(target=take_some, args=(ends, results))]
        both += [threads.Thread(target=results.close)]
        run_all(both)
        bring_submit(pool, ends)
        pool.shutdown()
        check_end(pool)
        ends.check(may_cancel=False, may_cut=False)

    return scene


def take_some(ends, results):
    values = [getattr(one, "value", one) for one in results]
    assert values in ([], [1], [1, 1], [1, 1, 1])


def never_taken(level, end):
    """A map whose iterator is dropped at once runs to its end, or is ended."""

    def scene(threads, baton):
        pool, ran = open_pool(level, threads, baton), []

        def drop():
            with suppress(RuntimeError):
                pool.map(ran.append, iter([1, 2, 3]))

        run_all([threads.Thread(target=drop), threads.Thread(target=end, args=(pool,))])
        pool.shutdown()
        check_end(pool)
        assert sorted(ran) in ([], [1, 2, 3]) or end is not shut

    return scene


def called_back(level, what):
    """A callback does its worst while another thread brings work."""

    def scene(threads, baton):
        pool, ends = open_pool(level, threads, baton), Ends()

        def bring():
            with suppress(RuntimeError):
                first = pool.submit(abs, -1)
                ends.watch(first)
                first.add_done_callback(lambda _future: what(pool))

        run_all([
            threads.Thread(target=guarded, args=(bring,)),
            threads.Thread(target=bring_submit, args=(pool, ends)),
            threads.Thread(target=bring_map, args=(pool, ends)),
        ])
        pool.shutdown()
        check_end(pool)
        ends.check(may_cancel=what in {shut_and_cancel, kill}, may_cut=False)

    return scene


def guarded(bring):
    """A future that is done already calls back where the callback is added, and raises there."""
    with suppress(LeavesError):
        bring()


class LeavesError(BaseException):
    """As SystemExit: no Exception."""


def leave(_pool):
    raise LeavesError


def crashed(level, bring):
    """The loop fails, from a bug of ours, while work is brought."""

    def scene(threads, baton):
        pool, ends = open_pool(level, threads, baton), Ends()

        def fail():
            pool._driver._run.handle = lambda _event: 1 / 0

        both = [threads.Thread(target=bring, args=(pool, ends)), threads.Thread(target=fail)]
        run_all(both)
        pool.shutdown()
        check_end(pool)
        ends.check(may_cancel=True, may_cut=False)

    return scene


def forked(level, bring):
    """Another thread forks while work is brought; in the child all is closed and nothing waits."""

    def scene(threads, baton):
        pool, ends = open_pool(level, threads, baton), Ends()
        results = pool.map(abs, iter([-1, -1, -1]))

        def fork():
            child = os.fork()
            if not child:
                use_in_child(pool, results)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0, "the child failed or hung"

        both = [threads.Thread(target=bring, args=(pool, ends)), threads.Thread(target=fork)]
        run_all(both)
        assert list(results) == [1, 1, 1]
        pool.shutdown()
        check_end(pool)
        ends.check(may_cancel=False, may_cut=False)

    return scene


def use_in_child(pool, results):
    with pytest.raises(RuntimeError, match="made in another process"):
        pool.submit(abs, -1)
    with pytest.raises(RuntimeError, match="made in another process"):
        pool.map(abs, [-1])
    with suppress(RuntimeError):  # unless all had come by then
        assert list(results) == [1, 1, 1]
    pool.shutdown()
    pool.kill_workers()


@pytest.mark.parametrize("level", LEVELS)
def test_a_future_cancelled_at_any_moment_has_one_end(level, request):
    search_twice(cancelled_meanwhile(level), request)


@pytest.mark.parametrize("kind", ["map", "outcomes"])
@pytest.mark.parametrize("level", LEVELS)
def test_an_iterator_closed_at_any_moment_ends(level, kind, request):
    search_twice(closed_meanwhile(level, kind), request)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_map_that_nobody_takes_ends(level, end, request):
    search_twice(never_taken(level, end), request)


@pytest.mark.parametrize("what", [shut, shut_and_cancel, kill, leave])
@pytest.mark.parametrize("level", LEVELS)
def test_whatever_a_callback_does_all_has_an_end(level, what, request):
    search_twice(called_back(level, what), request)


@pytest.mark.parametrize("bring", BRINGS)
@pytest.mark.parametrize("level", LEVELS)
def test_when_the_loop_fails_all_has_an_end(level, bring, request):
    search_twice(crashed(level, bring), request)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("bring", [bring_submit, bring_map, bring_outcomes])
@pytest.mark.parametrize("level", LEVELS)
def test_a_fork_at_any_moment_hangs_nobody(level, bring, request):
    search_twice(forked(level, bring), request)


@pytest.mark.slow
@pytest.mark.timeout(0 if RUNS else 600)
@pytest.mark.parametrize("bring", [bring_submit, bring_map])
@pytest.mark.parametrize("level", LEVELS)
def test_what_two_threads_bring_beside_an_end_has_one_end(level, bring, request):
    search_twice(beside(level, bring, shut, bringers=2), request)


@pytest.mark.slow
@pytest.mark.timeout(0 if RUNS else 600)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("bring", BRINGS)
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_brought_beside_an_end_has_one_end_in_more_orders(level, bring, end, request):
    search_twice(beside(level, bring, end), request)
