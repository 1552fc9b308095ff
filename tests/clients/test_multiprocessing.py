"""`adaptive_exec.Pool`: the methods and endings of `multiprocessing.Pool`."""

import multiprocessing
import multiprocessing.pool
import os
import pickle
import threading
from pathlib import Path

import pytest

from adaptive_exec import PoisonTaskError, Pool
from adaptive_exec.clients.multiprocessing import ThreadPool

WAIT_SECONDS = 120


def power(base, exponent=3):
    return base**exponent


def lock_for(_):
    return threading.Lock()


def note(path, text):
    Path(path).write_text(text, encoding="utf-8")


def end():
    os._exit(3)


@pytest.fixture(params=[Pool, ThreadPool])
def pool(request):
    with request.param(2) as made:
        yield made
    made.join()


def test_each_method_gives_what_the_standard_one_gives(pool):
    cubes = [k**3 for k in range(20)]
    assert pool.apply(power, (2,), {"exponent": 5}) == 32
    assert pool.map(power, range(20)) == cubes
    assert pool.map(power, iter(range(20)), chunksize=3) == cubes
    assert pool.map(power, []) == []
    assert pool.starmap(power, zip(range(20), [3] * 20, strict=True)) == cubes
    assert list(pool.imap(power, range(20), 4)) == cubes
    assert sorted(pool.imap_unordered(power, range(20))) == cubes
    assert pool.map_async(power, range(20)).get(WAIT_SECONDS) == cubes
    assert pool.starmap_async(power, [(2, 2), (3,)]).get(WAIT_SECONDS) == [4, 27]


def test_callbacks_are_through_when_the_result_is_there(pool):
    said = []
    pool.apply_async(power, (2,), callback=said.append).wait(WAIT_SECONDS)
    pool.map_async(power, [1, 2], callback=said.append).wait(WAIT_SECONDS)
    assert said == [8, [1, 8]]
    failed = pool.apply_async(power, ("2",), error_callback=said.append)
    failed.wait(WAIT_SECONDS)
    assert failed.ready()
    assert not failed.successful()
    assert isinstance(said[2], TypeError)
    failed = pool.map_async(power, [1, "2", 3], error_callback=said.append)
    with pytest.raises(TypeError):
        failed.get(WAIT_SECONDS)
    assert isinstance(said[3], TypeError)


def test_a_callback_that_fails_holds_up_nobody(pool, caplog):
    result = pool.apply_async(power, (2,), callback=lambda value: value / 0)
    assert result.get(WAIT_SECONDS) == 8
    assert "a callback failed" in caplog.text


def test_a_result_can_be_waited_for_with_patience():
    gate = threading.Event()
    with ThreadPool(1) as pool:
        result = pool.apply_async(gate.wait, (WAIT_SECONDS,))
        results = pool.imap(gate.wait, [WAIT_SECONDS])
        assert not result.ready()
        with pytest.raises(ValueError, match="not ready"):
            result.successful()
        for wait in (result.get, results.next):
            with pytest.raises(multiprocessing.TimeoutError):
                wait(timeout=0.01)
        gate.set()
        assert result.get(WAIT_SECONDS)
        assert results.next(WAIT_SECONDS)
        with pytest.raises(StopIteration):
            results.next()
    pool.join()


def test_an_iterator_goes_on_after_an_error(pool):
    results = pool.imap(power, [1, "2", 3])
    assert next(results) == 1
    with pytest.raises(TypeError):
        next(results)
    assert list(results) == [27]


def test_an_input_that_fails_ends_the_iterator_after_what_came(pool):
    def some():
        yield 1
        raise KeyError("input")

    results = pool.imap(power, some())
    assert next(results) == 1
    with pytest.raises(KeyError):
        next(results)


def test_nobody_need_take_the_results_of_an_iterator(pool, tmp_path):
    pool.imap(Path.touch, [tmp_path / f"{k}" for k in range(5)])
    pool.close()
    pool.join()
    assert len(list(tmp_path.iterdir())) == 5


def test_a_map_waits_for_all_and_raises_the_first_error(pool, tmp_path):
    items = [(tmp_path / "a", 1), (tmp_path / "b", "text")]
    with pytest.raises(TypeError):
        pool.starmap(note, items)
    assert (tmp_path / "b").exists()


def test_states_are_the_standard_ones():
    pool = Pool(1)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    with pytest.raises(NotImplementedError):
        pickle.dumps(pool)
    late = pool.map_async(power, [2])
    pool.close()
    pool.join()
    assert late.get(WAIT_SECONDS) == [8]
    for call in (lambda: pool.apply(power, (1,)), pool.__enter__, lambda: pool.imap(power, [1])):
        with pytest.raises(ValueError, match="Pool not running"):
            call()


def test_those_who_ask_whether_it_is_a_standard_pool_hear_yes():
    standard = multiprocessing.pool
    with Pool(2) as pool, ThreadPool(2) as threads:
        assert isinstance(pool, standard.Pool)
        assert not isinstance(pool, standard.ThreadPool)
        assert isinstance(threads, standard.ThreadPool)
        assert (pool._processes, threads._processes) == (2, 2)
        assert isinstance(pool.apply_async(power, (3,)), standard.AsyncResult)
        assert isinstance(pool.imap(power, [1]), standard.IMapIterator)


def test_a_pool_that_nobody_closed_is_warned_of():
    pool = ThreadPool(1)
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        pool.__del__()
    pool.terminate()
    pool.join()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"processes": 0}, "at least 1"),
        ({"maxtasksperchild": 0}, "positive int"),
        ({"maxtasksperchild": 0.5}, "positive int"),
    ],
)
def test_wrong_numbers_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        Pool(**arguments)


def test_what_cannot_be_pickled_is_told_as_it_was_raised():
    class Stubborn:
        def __reduce__(self):
            raise RuntimeError("no pickles")

    with Pool(1) as pool, pytest.raises(RuntimeError, match="no pickles"):
        pool.map(power, [Stubborn()] * 3)
    pool.join()


def test_a_result_that_cannot_be_sent_is_the_standard_error():
    error = multiprocessing.pool.MaybeEncodingError
    with Pool(1) as pool:
        with pytest.raises(error, match=r"cannot pickle.*lock"):
            pool.apply(threading.Lock)
        with pytest.raises(error, match=r"_thread\.lock"):
            list(pool.imap(lock_for, [1]))
        assert pool.apply(power, (2,)) == 8
    pool.join()


def test_a_traceback_of_the_worker_is_told_as_the_standard_pool_does():
    with Pool(1) as pool, pytest.raises(TypeError) as caught:
        pool.apply(power, ("2",))
    pool.join()
    assert isinstance(caught.value.__cause__, multiprocessing.pool.RemoteTraceback)


@pytest.mark.faults
def test_a_lost_worker_is_an_error_and_the_pool_goes_on():
    with Pool(2) as pool:
        with pytest.raises(PoisonTaskError):
            pool.apply(end)
        assert pool.apply(power, (2,)) == 8
    pool.join()


@pytest.mark.faults
def test_terminate_ends_what_runs(tmp_path):
    pool = Pool(1)
    result = pool.apply_async(hang, (tmp_path / "began",))
    while not (tmp_path / "began").exists():
        result.wait(0.01)
    pool.terminate()
    pool.join()
    with pytest.raises(BaseException):  # noqa: B017  # whichever says that it was ended
        result.get(WAIT_SECONDS)


def hang(path):
    Path(path).touch()
    threading.Event().wait()
