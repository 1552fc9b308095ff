"""What every level promises about its input: pulled lazily, in the caller's thread, cut at once."""

import gc
import itertools
import sys
import threading
import time
import weakref

import pytest

from adaptive_exec.core.chunks import PULL_TASKS_MAX
from adaptive_exec.engine import loop
from tests.levels import work
from tests.levels.ladder import LEVELS, executor_at, shared_at
from tests.levels.leaks import eventually

pytestmark = pytest.mark.parametrize("level", LEVELS)
SHARES = True

HELD_TASKS = 15_000
"""Most tasks that may be held before a result is taken: 10,000, and what is on its way."""
PULLED_TASKS = HELD_TASKS + PULL_TASKS_MAX
"""Most tasks that may be pulled before a result is taken: those, and what is out at workers."""


class Source:
    """An endless or long input that counts what was pulled and by which threads."""

    def __init__(self, length=None):
        self.pulled = 0
        self.threads = set()
        self._length = length

    def __iter__(self):
        return self

    def __next__(self):
        if self._length is not None and self.pulled >= self._length:
            raise StopIteration
        self.pulled += 1
        self.threads.add(threading.current_thread())
        return self.pulled - 1


def test_an_endless_input_is_pulled_only_as_far_as_results_are_taken(level):
    source = Source()
    with executor_at(level) as executor:
        results = executor.map(work.same, source)
        assert [next(results) for _ in range(100)] == list(range(100))
        results.close()
    assert source.pulled <= PULLED_TASKS


@pytest.mark.slow
def test_a_long_input_is_never_held_as_a_whole(level):
    source = Source(400_000)
    ahead = 0
    with shared_at(level) as executor:
        for taken, result in enumerate(executor.map(work.same, source)):
            assert result == taken
            ahead = max(ahead, source.pulled - taken)
    assert taken == 399_999
    assert ahead < 2 * PULL_TASKS_MAX


@pytest.mark.parametrize("size", [1, 10], ids=lambda size: f"buffer of {size}")
def test_a_buffer_size_bounds_what_is_pulled_ahead(level, size):
    source = Source(500)
    with shared_at(level) as executor:
        for taken, _ in enumerate(executor.map(work.same, source, buffersize=size)):
            assert source.pulled <= taken + 1 + size
    assert taken == 499


def test_an_input_of_the_callers_is_pulled_in_the_callers_thread_only(level):
    source = Source(2000)
    with shared_at(level) as executor:
        assert len(list(executor.map(work.same, source))) == 2000
    assert source.threads == {threading.current_thread()}


@pytest.mark.parametrize("way", ["map", "map_unordered", "outcomes"])
@pytest.mark.parametrize("good", [0, 1, 5, 300], ids=lambda good: f"after {good} items")
def test_an_input_that_raises_gives_its_results_first_and_then_its_own_error(level, way, good):
    def source():
        yield from range(good)
        raise LookupError("the input failed")

    found = []
    with shared_at(level) as executor:
        results = getattr(executor, way)(work.same, source())
        with pytest.raises(LookupError, match="the input failed"):
            found.extend(results)
        assert next(results, "over") == "over"
        assert list(executor.map(work.same, range(3))) == [0, 1, 2]
    values = [item.value if way == "outcomes" else item for item in found]
    assert sorted(values) == list(range(good))


def test_an_input_that_blocks_holds_up_neither_other_batches_nor_what_it_gave_before(level):
    gate = threading.Event()

    def source():
        yield 1
        yield 2
        assert gate.wait(60)
        yield 3

    with shared_at(level) as executor:
        blocked = []
        thread = threading.Thread(target=lambda: blocked.extend(executor.map(work.same, source())))
        thread.start()
        assert list(executor.map(work.square, range(50))) == [n * n for n in range(50)]
        gate.set()
        thread.join(60)
    assert blocked == [1, 2, 3]


def test_an_empty_input_gives_an_empty_result(level):
    with shared_at(level) as executor:
        assert list(executor.map(work.same, iter(()))) == []
        assert list(executor.map_unordered(work.same, [])) == []
        assert list(executor.outcomes(work.same, range(0))) == []
        assert list(executor.map(work.same)) == []


def test_a_closed_iterator_yields_no_more_and_cancels_what_has_not_begun(level, tmp_path):
    log = tmp_path / "log"

    def task(number):
        return work.note(log, number)

    with executor_at(level) as executor:
        results = executor.map(task, itertools.count(), chunksize=1)
        assert next(results) == 0
        results.close()
        assert next(results, "over") == "over"
        results.close()
    assert work.executions(log) < HELD_TASKS


def test_a_map_whose_results_nobody_takes_goes_on_to_its_end(level):
    if level == "sequential":
        pytest.skip("runs in the thread that takes the results")
    with executor_at(level) as executor:
        executor.map(work.same, list(range(3 * HELD_TASKS)))
        assert eventually(lambda: executor.progress_now().done == 3 * HELD_TASKS, seconds=120)


@pytest.mark.slow
def test_a_dropped_iterator_cancels_what_has_not_begun(level):
    source = Source()
    with executor_at(level) as executor:
        results = executor.map(work.same, source)
        next(results)
        del results
        gc.collect()
        assert list(executor.map(work.same, range(5))) == list(range(5))
    assert source.pulled <= PULLED_TASKS


def test_an_end_that_waits_for_an_input_says_so(level, monkeypatch):
    monkeypatch.setattr(loop, "GATHERING_SECONDS", 0.05)
    told, end = [], time.monotonic() + 60
    monkeypatch.setattr(loop.LOGGER, "filter", lambda record: told.append(record.msg) or True)

    def waits_to_be_told_of():
        while not any(text.startswith("shutdown: ") for text in told):
            assert time.monotonic() < end
            yield -1
            time.sleep(0.01)

    with executor_at(level) as ex:
        held = ex.map(abs, waits_to_be_told_of())
        assert next(held) == 1
    assert set(held) <= {1}
    assert len([text for text in told if text.startswith("shutdown: ")]) == 1


def test_a_loop_left_early_cancels_the_rest(level):
    source = Source()
    with shared_at(level) as executor:
        for result in executor.map(work.same, source):
            if result == 10:
                break
    assert source.pulled <= PULLED_TASKS


def test_an_iterator_that_was_never_begun_lets_its_tasks_run(level, tmp_path):
    log = tmp_path / "log"

    def task(number):
        return work.note(log, number)

    with executor_at(level) as executor:
        executor.map(task, [1, 2, 3])
        executor.map(task, iter([4, 5, 6]))
        executor.map_unordered(task, (number for number in [7, 8]))
        executor.outcomes(task, [9])
    assert sorted(work.executions(log, number) for number in range(1, 10)) == [1] * 9


def test_a_map_after_another_that_was_only_begun_gives_its_own_results(level):
    with shared_at(level) as executor:
        first = executor.map(work.same, range(5000))
        assert [next(first) for _ in range(3)] == [0, 1, 2]
        assert list(executor.map(work.square, range(100))) == [n * n for n in range(100)]
        assert executor.submit(work.square, 9).result(60) == 81
        assert list(first) == list(range(3, 5000))


@pytest.mark.parametrize("kind", [iter, list], ids=["iterators", "lists"])
def test_two_maps_taken_in_turns_do_not_mix(level, kind):
    with shared_at(level) as executor:
        first = executor.map(work.same, kind(range(300)))
        second = executor.map(work.square, kind(range(300)))
        for number, (left, right) in enumerate(zip(first, second, strict=True)):
            assert (left, right) == (number, number * number)


def test_maps_of_several_threads_do_not_mix(level):
    found = {}

    def run(shift):
        found[shift] = list(executor.map(work.same, iter(range(shift, shift + 500))))

    with shared_at(level) as executor:
        threads = [threading.Thread(target=run, args=(1000 * n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert found == {1000 * n: list(range(1000 * n, 1000 * n + 500)) for n in range(6)}


def test_one_iterator_may_be_advanced_by_several_threads_one_at_a_time(level):
    lock = threading.Lock()
    found = []
    with shared_at(level) as executor:
        results = executor.map(work.same, iter(range(400)))

        def run():
            while True:
                with lock:
                    item = next(results, None)
                if item is None:
                    return
                found.append(item)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(found) == list(range(400))


def test_an_input_that_uses_the_executor_itself_does_not_deadlock(level):
    with shared_at(level) as executor:
        inner = executor.map(work.square, iter(range(30)))
        outer = executor.map(work.same, inner)
        assert list(outer) == [number * number for number in range(30)]


def test_a_map_begun_in_one_thread_can_be_taken_in_another(level):
    box = []
    with shared_at(level) as executor:
        thread = threading.Thread(target=lambda: box.append(executor.map(work.same, range(50))))
        thread.start()
        thread.join()
        assert list(box[0]) == list(range(50))


def test_arguments_are_let_go_of_when_their_tasks_are_finished(level):
    alive = weakref.WeakSet()

    def source():
        for _ in range(1000):
            item = work.Tracked()
            alive.add(item)
            yield item

    with shared_at(level) as executor:
        for result in executor.map(id, source(), buffersize=5):
            assert result
            assert eventually(lambda: len(alive) <= 8)  # who gave the result lets go after that
        assert eventually(lambda: not alive)


def test_a_chain_of_many_maps_leaves_nothing_in_the_executor(level):
    with executor_at(level) as executor:
        for _ in range(20):
            assert list(executor.map(work.same, range(4))) == [0, 1, 2, 3]
        driver = executor._driver
        kept = driver.delivery
        assert eventually(lambda: not (driver.batches or kept.orders or kept.results))
        assert sys.getrefcount(executor) < 10
