"""Every exception of the package carries its facts across processes."""

import copy
import inspect
import pickle

import pytest

from adaptive_exec import errors

EXAMPLES = [
    errors.AdaptiveExecError("plain"),
    errors.PoisonTaskError(7, "signal 9", attempts=3, peak_bytes=10**9, limit_bytes=2**30),
    errors.WorkerLostError(2, "exit 1"),
    errors.TaskTimeoutError(4, 2.5),
    errors.TaskError("mymod.MyError", "bad", "Traceback ..."),
    errors.UnsendableError("f.__globals__['FILE']", "_io.TextIOWrapper", "TypeError: no"),
    errors.WorkerTraceback("Traceback ..."),
    errors.MemoryPressureError(
        "split 3/5", available_bytes=10**9, critical_bytes=2**31, limit_bytes=2**34, needed_bytes=7
    ),
    errors.LevelUnavailableError("process", "OSError: [Errno 12] Cannot allocate memory"),
    errors.DriverError("the driver stopped"),
    errors.InitializerError("Traceback ..."),
    errors.JournalError("/data/run.journal", "foreign", "it is no SQLite file"),
]
KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, BaseException) and kind.__module__ == errors.__name__
]


def test_every_error_has_an_example_here():
    assert {type(error) for error in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_with_its_facts(error: Exception, protocol: int):
    error = copy.copy(error)
    error.add_note("task 7, attempt 1")

    twin = pickle.loads(pickle.dumps(error, protocol))

    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)
    assert twin.__notes__ == ["task 7, attempt 1"]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_can_be_copied(error: Exception):
    assert vars(copy.copy(error)) == vars(error)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_is_one_of_ours_and_says_what_it_means(kind: type):
    assert issubclass(kind, errors.AdaptiveExecError)
    assert inspect.cleandoc(kind.__doc__ or "").partition("\n")[0].endswith(".")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_attributes_of_an_error_are_documented(kind: type):
    example = next(error for error in EXAMPLES if type(error) is kind)

    missing = [name for name in vars(example) if f"{name}:" not in (kind.__doc__ or "")]

    assert missing == []
