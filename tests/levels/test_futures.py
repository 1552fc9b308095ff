"""What every level promises about Futures, waiting, cancelling and shutting down."""

import asyncio
import gc
import os
import pickle
import threading
import time
import weakref
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    as_completed,
    wait,
)

import pytest

from adaptive_exec import InitializerError, adaptive_executor
from tests.levels import work
from tests.levels.ladder import LEVELS, TRAITS, executor_at, settings_at
from tests.levels.leaks import eventually, zygotes

pytestmark = pytest.mark.parametrize("level", LEVELS)


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


@pytest.fixture
def started(tmp_path):
    return tmp_path / "started"


# futures


def test_submit_returns_before_its_call_has_ended(level, gate, started):
    with executor_at(level) as executor:
        future = executor.submit(work.note_and_wait, str(started), str(gate))
        assert not future.done()
        assert eventually(started.exists)
        assert eventually(future.running)
        gate.touch()
        assert future.result(60) == "through"


def test_as_completed_yields_what_is_finished_first(level, gate, started):
    with executor_at(level) as executor:
        slow = executor.submit(work.note_and_wait, str(started), str(gate))
        if level != "sequential":  # one after the other there
            quick = executor.submit(work.same, 1)
            assert next(as_completed([slow, quick], timeout=60)) is quick
        gate.touch()
        assert list(as_completed([slow], timeout=60)) == [slow]


@pytest.mark.parametrize("mode", [ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION])
def test_wait_comes_back_in_all_modes(level, mode, gate, started):
    with executor_at(level) as executor:
        futures = [executor.submit(work.invert, 0 if mode == FIRST_EXCEPTION else 1)]
        futures += [executor.submit(work.note_and_wait, str(started), str(gate))]
        if mode == ALL_COMPLETED:
            gate.touch()
        done, rest = wait(futures, timeout=60, return_when=mode)
        assert futures[0] in done
        assert len(done) == (2 if mode == ALL_COMPLETED else 1)
        assert len(rest) == 2 - len(done)
        gate.touch()


@pytest.mark.parametrize("count", [1, 8], ids=lambda count: f"behind {count}")
def test_a_finished_call_is_delivered_although_a_later_one_waits_for_that(level, tmp_path, count):
    with executor_at(level, max_workers=1) as executor:
        for future in [executor.submit(work.same, number) for number in range(200)]:
            future.result(60)  # by now calls are known to be tiny
        for turn in range(3):
            gate = tmp_path / f"gate-{turn}"
            quick = [executor.submit(work.same, number) for number in range(count)]
            slow = executor.submit(work.note_and_wait, str(tmp_path / "log"), str(gate))
            assert [future.result(60) for future in quick] == list(range(count))
            gate.touch()
            assert slow.result(60) == "through"


def test_a_call_that_waits_for_a_later_one_does_not_hold_it_up(level, tmp_path):
    if level == "sequential":
        pytest.skip("one call at a time there")
    with executor_at(level) as executor:
        for future in [executor.submit(work.same, number) for number in range(200)]:
            future.result(60)
        for turn in range(3):
            gate = tmp_path / f"gate-{turn}"
            waiting = executor.submit(work.note_and_wait, str(tmp_path / "log"), str(gate))
            later = [executor.submit(work.same, number) for number in range(20)]
            opener = executor.submit(gate.touch)
            assert waiting.result(60) == "through"
            assert opener.result(60) is None
            assert [future.result(60) for future in later] == list(range(20))


def test_submit_comes_back_at_once_although_earlier_calls_wait(level, gate, started):
    with executor_at(level) as executor:
        futures = [executor.submit(work.same, 1)]
        futures += [executor.submit(work.note_and_wait, str(started), str(gate)) for _ in range(5)]
        assert not any(future.done() for future in futures[1:])
        gate.touch()
        assert [future.result(60) for future in futures] == [1, *["through"] * 5]


def test_result_exception_and_wait_keep_their_time_limits(level, gate, started):
    with executor_at(level) as executor:
        future = executor.submit(work.note_and_wait, str(started), str(gate))
        with pytest.raises(TimeoutError):
            future.result(timeout=0.02)
        with pytest.raises(TimeoutError):
            future.exception(timeout=0.02)
        assert wait([future], timeout=0.02).not_done == {future}
        gate.touch()
        assert future.exception(60) is None


def test_callbacks_are_called_once_and_their_errors_harm_nobody(level, caplog):
    called = []

    def fail(future):
        called.append(future.result())
        raise ValueError("this callback fails")

    with executor_at(level) as executor:
        futures = [executor.submit(work.square, number) for number in range(5)]
        for future in futures:
            future.add_done_callback(fail)
            future.add_done_callback(lambda future: called.append(future.result()))
        assert [future.result(60) for future in futures] == [0, 1, 4, 9, 16]
        assert eventually(lambda: len(called) == 10)
        assert executor.submit(work.same, 3).result(60) == 3
    assert sorted(called) == [0, 0, 1, 1, 4, 4, 9, 9, 16, 16]


def test_a_callback_may_use_the_executor(level):
    again = []
    with executor_at(level) as executor:
        first = executor.submit(work.same, 1)
        first.add_done_callback(lambda future: again.append(executor.submit(work.same, 2)))
        assert first.result(60) == 1
        assert eventually(lambda: again)
        assert again[0].result(60) == 2


def test_a_future_that_is_cancelled_before_it_begins_never_runs(level, gate, started, tmp_path):
    log = tmp_path / "log"
    with executor_at(level, max_workers=1) as executor:
        first = executor.submit(work.note_and_wait, str(started), str(gate))
        assert eventually(started.exists)
        second = executor.submit(work.note, str(log), "second")
        third = executor.submit(work.same, 3)
        assert second.cancel()
        assert not first.cancel()
        gate.touch()
        assert third.result(60) == 3
        with pytest.raises(CancelledError):
            second.result()
    assert work.executions(log) == 0


def test_map_honours_its_time_limit(level, gate, started):
    def task(number):
        return number if number < 2 else work.note_and_wait(str(started), str(gate))

    with executor_at(level) as executor:
        assert list(executor.map(work.same, range(4))) == [0, 1, 2, 3]
        if level == "sequential":
            gate.touch()  # the caller itself would wait
            assert list(executor.map(task, range(3), timeout=0.7)) == [0, 1, "through"]
            return
        found, began = [], time.monotonic()
        with pytest.raises(TimeoutError):
            found.extend(executor.map(task, range(3), timeout=0.7, chunksize=1))
        assert time.monotonic() - began >= 0.7
        assert found == [0, 1][: len(found)]  # what came in time
        results = executor.map(task, range(3), timeout=100, chunksize=1)
        assert [next(results), next(results)] == [0, 1]
        gate.touch()
        assert list(results) == ["through"]


def test_an_event_loop_runs_and_wraps_calls(level):
    async def run(executor):
        loop = asyncio.get_running_loop()
        ran = [loop.run_in_executor(executor, work.square, number) for number in range(4)]
        wrapped = asyncio.wrap_future(executor.submit(work.square, 9))
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(executor, work.invert, 0)
        return [*await asyncio.gather(*ran), await wrapped]

    with executor_at(level) as executor:
        assert asyncio.run(run(executor)) == [0, 1, 4, 9, 81]


def test_an_event_loop_goes_on_while_a_call_runs(level, gate, started):
    async def run(executor):
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(executor, work.note_and_wait, str(started), str(gate))
        await asyncio.to_thread(work.wait_for, started)
        gate.touch()
        return await asyncio.wait_for(call, 60)

    with executor_at(level) as executor:
        assert asyncio.run(run(executor)) == "through"


# the end


def test_after_shutdown_nothing_is_taken_on(level):
    executor = executor_at(level)
    assert executor.submit(work.same, 1).result(60) == 1
    executor.shutdown()
    for take_on in (executor.submit, executor.map, executor.outcomes, executor.map_unordered):
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            take_on(work.same, [1])
    executor.shutdown()
    executor.shutdown(wait=False, cancel_futures=True)


def test_shutdown_finishes_what_was_taken_on(level):
    executor = executor_at(level)
    futures = [executor.submit(work.square, number) for number in range(20)]
    results = executor.map(work.square, range(20))
    executor.shutdown()
    assert all(future.done() for future in futures)
    assert [future.result() for future in futures] == [n * n for n in range(20)]
    assert list(results) == [number * number for number in range(20)]


def test_shutdown_without_waiting_comes_back_and_the_work_goes_on(level, gate, started):
    executor = executor_at(level)
    future = executor.submit(work.note_and_wait, str(started), str(gate))
    executor.shutdown(wait=False)
    assert not future.done()
    gate.touch()
    assert future.result(60) == "through"


def test_shutdown_can_cancel_what_has_not_begun(level, gate, started):
    executor = executor_at(level, max_workers=1)
    first = executor.submit(work.note_and_wait, str(started), str(gate))
    assert eventually(started.exists)
    rest = [executor.submit(work.same, number) for number in range(50)]
    results = executor.map(work.same, range(50))
    executor.shutdown(wait=False, cancel_futures=True)
    gate.touch()
    executor.shutdown()
    assert first.result(60) == "through"
    assert all(future.done() for future in rest)
    assert sum(future.cancelled() for future in rest) >= 49
    with pytest.raises(CancelledError):
        list(results)


def test_an_executor_that_is_dropped_finishes_its_work_and_frees_everything(level):
    executor = executor_at(level)
    futures = [executor.submit(work.square, number) for number in range(10)]
    results = executor.map(work.square, range(10))
    executor_gone = weakref.ref(executor)
    del executor
    assert eventually(lambda: gc.collect() >= 0 and executor_gone() is None)
    assert [future.result(60) for future in futures] == [n * n for n in range(10)]
    assert list(results) == [number * number for number in range(10)]


def test_an_executor_that_was_never_used_holds_nothing(level):
    before = threading.active_count()
    executor = executor_at(level)
    assert threading.active_count() == before
    assert not zygotes()
    del executor
    with executor_at(level):
        pass


def test_an_exception_in_the_with_block_passes_and_nothing_hangs(level):
    def run():
        with executor_at(level) as executor:
            executor.map(work.same, range(100))
            raise LookupError("the block fails")

    with pytest.raises(LookupError, match="the block fails"):
        run()


def test_two_executors_at_a_time_do_not_disturb_each_other(level):
    with executor_at(level) as left, executor_at(level) as right:
        both = zip(left.map(work.same, range(200)), right.map(work.square, range(200)), strict=True)
        assert list(both) == [(number, number * number) for number in range(200)]


def test_many_short_lived_executors_leave_nothing(level):
    for number in range(5):
        with executor_at(level) as executor:
            assert executor.submit(work.same, number).result(60) == number


# references


def test_functions_arguments_and_results_are_let_go_of(level):
    gone = []

    def keep_watch(thing, name):
        weakref.finalize(thing, gone.append, name)
        return thing

    with executor_at(level) as executor:
        future = executor.submit(keep_watch(work.Tracked(), "function").method)
        assert future.result(60) == "called"
        del future
        executor.submit(id, keep_watch(work.Tracked(), "argument")).result(60)
        assert list(executor.map(id, [keep_watch(work.Tracked(), "item")]))
        for result in executor.map(work.make_tracked, range(3)):
            keep_watch(result, "result")
            del result
        assert eventually(lambda: sorted(gone) == ["argument", "function", "item", *["result"] * 3])


def test_exceptions_are_let_go_of(level):
    gone = []

    def watch(error, name):
        assert error.number == 4
        weakref.finalize(error, gone.append, name)

    with executor_at(level) as executor:
        try:
            executor.submit(work.raise_tracked, 4).result(60)
        except work.TrackedError as error:
            watch(error, "submit")
        try:
            list(executor.map(work.raise_tracked, [4]))
        except work.TrackedError as error:
            watch(error, "map")
        (outcome,) = executor.outcomes(work.raise_tracked, [4])
        watch(outcome.error, "outcomes")
        del outcome
        # A traceback and the frames in it may form a ring, as everywhere in Python.
        assert eventually(lambda: gc.collect() >= 0 and len(gone) == 3)


# initializer


@pytest.mark.parametrize("way", ["map", "submit"])
def test_an_initializer_runs_before_the_first_task(level, way):
    settings = {"initializer": work.initialize, "initargs": (5,)}
    try:
        with executor_at(level, **settings) as executor:
            if way == "map":
                assert set(executor.map(work.initialized, range(20))) == {5}
            else:
                assert executor.submit(work.initialized).result(60) == 5
    finally:
        work.initialize(None)


def _run_one(executor, way):
    if way == "map":
        return list(executor.map(work.same, range(5)))
    return executor.submit(work.same, 1).result(60)


@pytest.mark.parametrize("way", ["map", "submit"])
@pytest.mark.parametrize("kind", ["raises", "exits"])
def test_an_initializer_that_fails_breaks_the_executor_with_its_traceback(level, way, kind):
    settings = {"initializer": work.exit_in_initializer}
    if kind == "raises":
        settings = {"initializer": work.fail_to_initialize, "initargs": ("not today",)}
    with executor_at(level, **settings) as executor:
        with pytest.raises(InitializerError) as caught:
            _run_one(executor, way)
        assert ("not today" if kind == "raises" else "SystemExit") in caught.value.text
        assert isinstance(caught.value, BrokenExecutor)
        with pytest.raises(BrokenExecutor):
            executor.submit(work.same, 1).result(60)


def test_an_initializer_that_ends_the_process_ends_in_an_error_not_in_a_wait(level):
    if not TRAITS[level].isolates:
        pytest.skip("it would end the tests")
    with (
        executor_at(level, initializer=work.die_in_initializer) as executor,
        pytest.raises(BrokenExecutor),
    ):
        list(executor.map(work.same, range(5)))


# nesting


@pytest.mark.slow
@pytest.mark.parametrize("inner", LEVELS)
def test_a_task_may_use_an_executor_of_its_own(level, inner):
    with executor_at(level) as executor:
        assert executor.submit(work.map_inside_with, settings_at(inner), 10).result(60) == 285
        assert list(executor.map(work.map_inside, [10, 10])) == [285, 285]


def test_a_task_at_a_sharing_level_may_use_the_same_executor(level):
    if not TRAITS[level].shares_memory or level == "sequential":
        pytest.skip("the executor does not travel, and one worker cannot wait for itself")
    with executor_at(level, max_workers=2) as executor:
        outer = executor.submit(lambda: executor.submit(work.same, 5).result(60))
        assert outer.result(60) == 5


def test_an_executor_does_not_travel_and_says_so(level):
    with executor_at(level) as executor, pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(executor)


def test_a_fork_of_the_process_may_make_an_executor_of_its_own_but_not_use_this_one(level):
    with executor_at(level) as executor:
        assert list(executor.map(work.same, range(4))) == [0, 1, 2, 3]
        child = os.fork()
        if child == 0:
            code = 1
            try:
                try:
                    executor.submit(work.same, 1)
                except RuntimeError as error:
                    code = 0 if "another process" in str(error) else 2
                with adaptive_executor(**settings_at(level)) as mine:
                    code += list(mine.map(work.same, range(4))) != [0, 1, 2, 3]
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert list(executor.map(work.same, range(4))) == [0, 1, 2, 3]
