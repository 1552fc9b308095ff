"""What every level promises about values, exceptions and objects that do not travel."""

import logging
import os
import pickle
import re
import threading
import traceback
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from adaptive_exec import TaskError, UnsendableError
from adaptive_exec.levels.base import Runner
from tests.levels import work
from tests.levels.ladder import LEVELS, TRAITS, executor_at, name_of, shared_at

pytestmark = pytest.mark.parametrize("level", LEVELS)
SHARES = True

WAYS = ("map", "map_unordered", "outcomes", "submit")

BUILTIN_ERRORS = [
    SystemExit(3),
    KeyboardInterrupt(),
    TimeoutError("slow"),
    OSError(12, "Cannot allocate memory"),
    MemoryError("no memory"),
    RuntimeError("can't start new thread"),
    BrokenProcessPool("a child died"),
    GeneratorExit(),
    RecursionError("deep"),
]


def outcomes_of(executor, way, function, items):
    """Run a batch one of four ways; return value or exception of each task, in order."""
    if way == "outcomes":
        found = {outcome.index: outcome for outcome in executor.outcomes(function, items)}
        return [found[index].error or found[index].value for index in sorted(found)]
    if way == "submit":
        futures = [executor.submit(function, item) for item in items]
        return [future.exception() or future.result() for future in futures]
    results = getattr(executor, way)(function, items)
    found = list(drained(results))
    return sorted(found, key=_place) if way == "map_unordered" else found


def _place(item):
    """Sort values by size and exceptions by the index in their note: no two runs differ."""
    notes = getattr(item, "__notes__", None)
    if notes:
        return 1, int(re.search(r"task (\d+)", "\n".join(notes))[1])
    if isinstance(item, np.ndarray):
        return 0, item.size, float(item.sum())
    return (0, item) if isinstance(item, int) else (2, type(item).__name__)


def drained(results):
    """Walk an iterator past every exception; yield values and exceptions."""
    while True:
        try:
            yield next(results)
        except StopIteration:
            return
        except BaseException as error:
            yield error


# values


def test_the_executor_is_one_of_the_standard_library(level):
    with shared_at(level) as executor:
        assert isinstance(executor, Executor)
        assert type(executor.submit(work.same, 1)) is Future


def test_a_runner_has_everything_that_the_contract_names(level):
    with executor_at(level) as executor:
        list(executor.map(work.same, range(4)))
        runner = executor._driver.runner(name_of(level))
        for name in vars(Runner):
            assert name.startswith("_") or callable(getattr(runner, name))


@pytest.mark.parametrize("count", [0, 1, 3, 1000], ids=lambda count: f"{count} tasks")
def test_results_come_in_the_order_of_the_input(level, count):
    with shared_at(level) as executor:
        assert list(executor.map(work.square, range(count))) == [n * n for n in range(count)]


@pytest.mark.parametrize("size", [1, 7, 1000], ids=lambda size: f"chunks of {size}")
def test_every_chunk_size_gives_the_same_results(level, size):
    with shared_at(level) as executor:
        results = executor.map(work.add, range(100), range(100), chunksize=size)
        assert list(results) == [2 * number for number in range(100)]


@pytest.mark.parametrize("way", ["map", "outcomes"])
@pytest.mark.parametrize(
    "make_items",
    [list, tuple, set, iter, lambda numbers: (n for n in numbers), lambda numbers: numbers],
    ids=["list", "tuple", "set", "iterator", "generator", "range"],
)
def test_every_kind_of_input_gives_every_result_once(level, way, make_items):
    with shared_at(level) as executor:
        found = outcomes_of(executor, way, work.square, make_items(range(40)))
    assert sorted(found) == [number * number for number in range(40)]


def test_several_inputs_are_cut_at_the_shortest(level):
    with shared_at(level) as executor:
        assert list(executor.map(work.add, [1, 2, 3], iter([10, 20]))) == [11, 22]


def test_a_changed_list_does_not_change_a_map_that_was_begun(level):
    items = list(range(500))
    with shared_at(level) as executor:
        results = executor.map(work.same, items)
        items.clear()
        assert list(results) == list(range(500))


def test_keyword_arguments_reach_the_function_by_any_name(level):
    with shared_at(level) as executor:
        future = executor.submit(work.keywords, 1, self=2, fn=3, timeout=4, index=5)
        assert future.result(60) == ((1,), {"self": 2, "fn": 3, "timeout": 4, "index": 5})


@pytest.mark.parametrize("bad", [None, 3, "square"], ids=repr)
def test_what_is_not_callable_is_refused_before_any_worker_starts(level, bad):
    with executor_at(level) as executor:
        with pytest.raises(TypeError, match="fn must be callable, got"):
            executor.submit(bad, 1)
        with pytest.raises(TypeError, match="fn must be callable, got"):
            executor.map(bad, [1])
        assert executor._driver.runner(name_of(level)) is None


@pytest.mark.parametrize("size", [0, -1], ids=lambda size: f"{size}")
def test_a_chunk_or_buffer_size_below_one_is_refused(level, size):
    with executor_at(level) as executor:
        with pytest.raises(ValueError, match="chunksize must be >= 1"):
            executor.map(work.same, [1], chunksize=size)
        with pytest.raises(ValueError, match="buffersize must be >= 1"):
            executor.map(work.same, [1], buffersize=size)


def test_an_input_that_is_not_iterable_is_refused_at_once(level):
    with shared_at(level) as executor, pytest.raises(TypeError):
        executor.map(work.same, 5)


def test_outcomes_say_where_and_for_how_long_a_task_ran(level):
    with shared_at(level) as executor:
        (found,) = executor.outcomes(work.square, [3])
    assert (found.index, found.value, found.error, found.attempts) == (0, 9, None, 1)
    assert found.level == name_of(level)
    assert found.wall_seconds >= 0


def test_a_level_runs_tasks_where_its_traits_say(level):
    with shared_at(level) as executor:
        pids = set(executor.map(work.pid_of, range(8)))
        pids.add(executor.submit(os.getpid).result(60))
    assert (os.getpid() in pids) == TRAITS[level].shares_memory
    assert len(pids) == 1 or not TRAITS[level].shares_memory


def test_many_more_workers_than_cores_may_be_asked_for(level):
    with executor_at(level, max_workers=70) as executor:
        assert list(executor.map(work.same, range(140), chunksize=1)) == list(range(140))


@pytest.mark.parametrize("way", WAYS)
def test_big_arrays_travel_both_ways(level, way):
    arrays = [np.arange(300_000, dtype=np.float64) + shift for shift in range(3)]
    arrays.append(np.arange(40_000)[::3])
    arrays.append(np.asfortranarray(np.ones((300, 200))))
    arrays.append(np.empty((0, 5)))
    with shared_at(level) as executor:
        found = outcomes_of(executor, way, work.double, arrays)
    if way == "map_unordered":
        arrays.sort(key=_place)
    for array, result in zip(arrays, found, strict=True):
        assert np.array_equal(result, array * 2)
        result[...] = 7  # what comes back can be written to


@pytest.mark.parametrize("length", [1, 20_000_000], ids=lambda length: f"{length} bytes")
def test_long_bytes_travel_both_ways(level, length):
    text = b"x" * length
    with shared_at(level) as executor:
        assert list(executor.map(work.same, [text, text])) == [text, text]
        assert executor.submit(work.same, text).result(60) == text


# exceptions of the task


@pytest.mark.parametrize("way", WAYS)
def test_whatever_a_task_raises_is_its_outcome_after_one_execution(level, way, tmp_path, caplog):
    log = tmp_path / "log"

    def task(number):
        if number % 2:
            work.raise_noted(log, BUILTIN_ERRORS[number // 2])
        return number

    with shared_at(level) as executor:
        found = outcomes_of(executor, way, task, range(2 * len(BUILTIN_ERRORS)))
        decisions = str(executor.report)
    values = [item for item in found if not isinstance(item, BaseException)]
    errors = [(type(item), item.args) for item in found if isinstance(item, BaseException)]
    assert values == list(range(0, 2 * len(BUILTIN_ERRORS), 2))
    assert errors == [(type(error), error.args) for error in BUILTIN_ERRORS]
    assert work.executions(log) == len(BUILTIN_ERRORS)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "degraded" not in decisions


@pytest.mark.parametrize("way", WAYS)
def test_a_stop_iteration_of_a_task_ends_no_iterator(level, way):
    def task(number):
        if number == 1:
            raise StopIteration(number)
        return number

    with shared_at(level) as executor:
        found = outcomes_of(executor, way, task, range(6))
    (error,) = [item for item in found if isinstance(item, BaseException)]
    assert [item for item in found if item is not error] == [0, 2, 3, 4, 5]
    if way in {"map", "map_unordered"}:
        assert type(error) is RuntimeError  # as any generator that a StopIteration passes through
        error = error.__cause__
    assert type(error) is StopIteration
    assert error.args == (1,)


def test_an_exception_carries_its_traceback_and_a_note(level):
    with (
        shared_at(level) as executor,
        pytest.raises(LookupError, match="the task failed on 5") as caught,
    ):
        list(executor.map(work.raise_deep, [5]))
    shown = "".join(traceback.format_exception(caught.value))
    assert "in _fail" in shown
    assert "in raise_deep" in shown
    (note,) = caught.value.__notes__
    assert note.startswith("adaptive_exec: task 0, attempt 1, level ")
    assert name_of(level) in note
    if not TRAITS[level].shares_memory:
        assert "in _fail" in caught.value.__cause__.text


def test_map_raises_at_the_place_of_the_failure_and_can_be_advanced_past_it(level):
    with shared_at(level) as executor:
        results = executor.map(work.invert, [1, 2, 0, 4, 0, 5])
        found = list(drained(results))
    assert [type(item) for item in found] == [
        float,
        float,
        ZeroDivisionError,
        float,
        ZeroDivisionError,
        float,
    ]
    assert found[5] == 0.2


def test_outcomes_never_raise_for_a_task(level):
    with shared_at(level) as executor:
        found = sorted(executor.outcomes(work.invert, [1, 0, 2]), key=lambda outcome: outcome.index)
    assert [outcome.value for outcome in found] == [1.0, None, 0.5]
    assert type(found[1].error) is ZeroDivisionError


TEXTS = {
    "ExitingError": "exits when unpickled",
    "SilentError": "its message cannot be read",
    "TwoArgumentsError": "two is not 2",
    "UnpicklableError": "will not be pickled",
}


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_arrives_as_itself_whatever_its_own_pickling_does(level, way):
    with shared_at(level) as executor:
        found = outcomes_of(executor, way, work.raise_kind, list(TEXTS))
        assert list(executor.map(work.same, range(4))) == [0, 1, 2, 3]
    by_name = {type(error).__name__: error for error in found}
    assert set(by_name) == set(TEXTS)
    for name in set(TEXTS) - {"SilentError"}:
        assert str(by_name[name]) == TEXTS[name]
    assert by_name["TwoArgumentsError"].name == "two"
    if not TRAITS[level].shares_memory:
        assert all("in raise_kind" in str(error.__cause__) for error in found)


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_that_holds_what_does_not_travel_keeps_name_message_and_traceback(level, way):
    with shared_at(level) as executor:
        (error,) = outcomes_of(executor, way, work.raise_kind, ["LockHolderError"])
    if TRAITS[level].shares_memory:
        assert type(error) is work.LockHolderError
        return
    assert type(error) is TaskError
    assert (error.type_name, error.text) == ("tests.levels.work.LockHolderError", "holds a lock")
    assert "in raise_kind" in error.traceback_text
    assert pickle.loads(pickle.dumps(error)).type_name == error.type_name


# objects that do not travel


ODD = {
    "RefusesPickling": TypeError,
    "RefusesUnpickling": ValueError,
    "ExitsAtUnpickling": SystemExit,
    "ExitsAtPickling": SystemExit,
}
UNSENDABLE = dict.fromkeys(("RefusesPickling", "ExitsAtPickling"), UnsendableError)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", ["argument", "result"])
def test_an_object_that_does_not_travel_harms_its_task_alone(level, way, side):
    items = [0, 1, "RefusesPickling", "RefusesUnpickling", 2, 3, "ExitsAtUnpickling", 4]
    items += [5, "ExitsAtPickling", 6]
    function = work.make_or_same
    if side == "argument":
        items = [work.make_or_same(item) for item in items]
        function = work.same
    with shared_at(level) as executor:
        found = outcomes_of(executor, way, function, items)
    assert [item for item in found if isinstance(item, int)] == list(range(7))
    odd = [type(item) for item in found if not isinstance(item, int)]
    if TRAITS[level].shares_memory:
        assert sorted(kind.__name__ for kind in odd) == sorted(ODD)
    else:
        kinds = ODD | (UNSENDABLE if side == "argument" else {})
        assert sorted(kind.__name__ for kind in odd) == sorted(
            kind.__name__ for kind in kinds.values()
        )


@pytest.mark.parametrize("way", WAYS)
def test_functions_that_plain_pickle_refuses_run_at_every_level(level, way):
    offset = 10

    def local(number):
        return number + offset

    with shared_at(level) as executor:
        assert sorted(outcomes_of(executor, way, local, range(4))) == [10, 11, 12, 13]
        assert sorted(outcomes_of(executor, way, lambda n: n * offset, range(4))) == [0, 10, 20, 30]


def test_a_function_that_cannot_be_sent_ends_as_an_error_not_as_a_wait(level):
    lock = threading.Lock()

    def locked(number):
        with lock:
            return number

    with executor_at(level) as executor:
        found = list(drained(executor.map(locked, range(3))))
    if TRAITS[level].shares_memory:
        assert found == [0, 1, 2]
    else:
        assert len(found) == 3
        assert all(isinstance(item, Exception) for item in found)


# one iterator, several takers


def taken_by_threads(results, takers):
    """Take all results in so many threads; return what came and what was raised, in any order."""
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(drained(results)), daemon=True)
        for _ in range(takers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "hangs"
    return found


@pytest.mark.parametrize("way", ["map", "map_unordered"])
def test_threads_that_take_from_one_iterator_get_each_result_once(level, way):
    with shared_at(level) as executor:
        found = taken_by_threads(getattr(executor, way)(abs, range(-1500, 0)), takers=4)
    assert sorted(found) == list(range(1, 1501))


def test_threads_that_take_from_one_iterator_get_each_failure_once(level):
    with shared_at(level) as executor:
        found = taken_by_threads(executor.map(int, ["1", "x"] * 200), takers=4)
    assert found.count(1) == 200
    assert sum(isinstance(item, ValueError) for item in found) == 200


# what only some levels can promise


def test_levels_that_share_memory_hand_over_the_very_object(level):
    if not TRAITS[level].shares_memory:
        pytest.skip("this level copies arguments and results")
    marker = object()
    with shared_at(level) as executor:
        assert next(executor.map(work.same, [marker])) is marker
        assert executor.submit(work.same, marker).result(60) is marker


def test_levels_that_copy_leave_the_callers_object_alone(level):
    if TRAITS[level].shares_memory:
        pytest.skip("this level shares the caller's objects")
    items = [[1], [2]]
    with shared_at(level) as executor:
        assert list(executor.map(list.append, items, [9, 9])) == [None, None]
    assert items == [[1], [2]]
