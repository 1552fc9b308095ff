"""What programs have in globals, classes and exceptions every day reaches workers whole."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.errors import TaskError, traceback_of

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
import sys
from adaptive_exec import adaptive_executor


def each(task, count=2, **more):
    with adaptive_executor(isolate=True, max_workers=1, share_host=False, **more) as executor:
        return list(executor.map(task, range(count)))


"""


def run_script(tmp_path, body, start):
    """Run a script whose last line prints `True` where all is well."""
    path = tmp_path / "script.py"
    text = (HEAD + body).replace("max_workers=1", f"max_workers=1, start={start!r}")
    path.write_text(text, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", path],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
    )  # fmt: skip
    assert ran.stdout.splitlines()[-1:] == ["True"], (ran.stdout, ran.stderr)


STARTS = pytest.mark.parametrize(
    "start", [None, "fresh", pytest.param("loky", marks=pytest.mark.slow)]
)

ODD = """
import functools
import threading
import weakref

LOCAL = threading.local()
LOCAL.name = "main"


class Node:
    @functools.cached_property
    def rows(self):
        return [1, 2]

    @functools.singledispatchmethod
    def tell(self, value):
        return "thing"

    @tell.register
    def _(self, value: int):
        return "number"


NODE = Node()
SEEN = weakref.WeakSet([NODE])
NAMED = weakref.WeakValueDictionary(node=NODE)


@functools.singledispatch
def describe(value):
    return "thing"


@describe.register
def _(value: int):
    return "number"


def task(index):
    here = len(SEEN), NAMED["node"].rows, LOCAL.name, NODE.rows
    return describe(index), describe(""), NODE.tell(1), NODE.tell(""), here


print(each(task) == [task(0), task(1)])
"""

SOUGHT = """
import threading

LOCK = threading.Lock()  # cannot travel, and nobody needs it
RATE = 3


def double(number):
    return number * 2 * RATE


def by_globals(index):
    return globals()["dou" + "ble"](index)


def by_eval(index):
    return eval("double(index)")


def by_main(index):
    import __main__

    return getattr(__main__, "RATE") + index


def by_modules(index):
    return vars(sys.modules["__main__"])["RATE"] + index


given = [each(task) for task in (by_globals, by_eval, by_main, by_modules)]
print(given == [[0, 6], [0, 6], [3, 4], [3, 4]])
"""

HOOKED = """
from abc import ABCMeta, abstractmethod

KINDS = []


class Meta(ABCMeta):
    def __new__(cls, name, bases, space, *, flag=0):
        made = super().__new__(cls, name, bases, space)
        made.flag = flag
        KINDS.append(name)
        return made

    def __init__(cls, *parts, flag=0):
        super().__init__(*parts)


class Base(metaclass=Meta):
    def __init_subclass__(cls, *, need=0):
        KINDS.append(f"sub {cls.__name__}")

    @abstractmethod
    def area(self): ...


class Square(Base, flag=3):
    def area(self):
        return super().area()


def task(index):
    try:
        Base()
    except TypeError:
        return Square.flag, Square().area(), list(KINDS), isinstance(Square(), Base)


print(each(task) == [task(0), task(1)])
"""

GUESTS = """
from unittest import mock

import module_of_mine


def fake(index):
    return index * 100


def task(index):
    return module_of_mine.price(index), module_of_mine.twice(index)


with adaptive_executor(isolate=True, max_workers=1, share_host=False) as executor:
    given = [list(executor.map(task, range(2)))]
    with mock.patch("module_of_mine.price", fake):
        given.append(list(executor.map(task, range(2))))
    given.append(list(executor.map(task, range(2))))
print(given == [[(0, 0), (1, 2)], [(0, 0), (100, 200)], [(0, 0), (1, 2)]])
"""


@STARTS
@pytest.mark.parametrize(
    "body", [ODD, SOUGHT, HOOKED], ids=["odd objects", "names that are made", "hooks of classes"]
)
def test_a_program_finds_in_workers_what_it_finds_in_itself(body, start, tmp_path):
    run_script(tmp_path, body, start)


@STARTS
def test_a_function_that_stands_in_for_one_of_a_module_does_so_in_workers(start, tmp_path):
    module = tmp_path / "module_of_mine.py"
    module.write_text(
        "def price(index): return index\n\n\ndef twice(index): return 2 * price(index)\n",
        encoding="utf-8",
    )
    run_script(tmp_path, GUESTS, start)


class ShopError(ValueError):
    """Cannot be unpickled by itself."""

    def __init__(self, text, number):
        super().__init__(text)
        self.number = number


def failing(index):
    try:
        {}[index]
    except KeyError as error:
        raise ShopError("no such thing", index) from error


def failing_twice(index):
    try:
        failing(index)
    except ShopError:
        raise RuntimeError(index)  # noqa: B904  # its context is what is looked at


def failing_together(index):
    raise ExceptionGroup("two", [ValueError(index), ShopError("a", 2)])


def error_of(task):
    with (
        adaptive_executor(isolate=True, max_workers=1, share_host=False) as executor,
        pytest.raises(Exception) as raised,
    ):
        list(executor.map(task, [7]))
    return raised.value


def test_an_exception_comes_with_its_causes_and_the_workers_traceback_behind_them():
    error = error_of(failing)
    assert (type(error), error.number, type(error.__cause__)) == (ShopError, 7, KeyError)
    assert "in failing" in traceback_of(error)
    error = error_of(failing_twice)
    assert (type(error.__context__), error.__context__.number) == (ShopError, 7)


def test_a_group_of_exceptions_comes_with_all_that_are_in_it():
    error = error_of(failing_together)
    assert not isinstance(error, TaskError)
    assert [type(one) for one in error.exceptions] == [ValueError, ShopError]
    assert error.exceptions[1].number == 2


def say_and_die(mark, index):
    if index == 5 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    print("task", index)
    return index


@pytest.mark.parametrize("detailed", [False, True])
def test_a_task_that_has_spoken_is_not_run_again_for_the_death_of_a_later_one(
    detailed, tmp_path, capsys
):
    task = partial(say_and_die, tmp_path / "mark")
    with adaptive_executor(isolate=True, max_workers=1, share_host=False) as executor:
        if detailed:
            given = sorted(one.value for one in executor.outcomes(task, range(9)))
        else:
            given = list(executor.map(task, range(9), chunksize=9))
    assert given == list(range(9))
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == [f"task {index}" for index in range(9)]


IN_TABLES = """
import math


def root(value):
    return math.sqrt(value)


TABLE = {"root": root}
LIST = [root]


class Holder:
    chosen = [root]


def task(item):
    return TABLE["root"](item) + LIST[0](item) + Holder.chosen[0](item)


print(each(task, 3) == [task(item) for item in range(3)])
"""


@STARTS
def test_functions_in_tables_find_what_they_look_up(start, tmp_path):
    run_script(tmp_path, IN_TABLES, start)


IN_A_LOOP = """
import numpy as np
from adaptive_exec.levels import functions, told
from adaptive_exec.levels.functions import PROGRAM

functions.IDLE_SECONDS = told.IDLE_SECONDS = 1000.0  # however slow the host is between two maps

ARRAY = np.arange(500_000)
laid, lay = [], PROGRAM._share
PROGRAM._share = lambda entries: (laid.append(entries), lay(entries))


def look(item):
    return int(ARRAY[item])


with adaptive_executor(isolate=True, max_workers=1, share_host=False) as executor:
    found = [list(executor.map(look, range(5))) for _ in range(4)]
    ARRAY[3] = -1
    found.append(list(executor.map(look, range(5))))
expected = [[0, 1, 2, 3, 4]] * 4 + [[0, 1, 2, -1, 4]]
print(found == expected and len(laid) == 2)
"""


@STARTS
def test_maps_one_after_another_share_one_copy_of_a_large_global(start, tmp_path):
    pytest.importorskip("numpy", reason="needs NumPy")
    run_script(tmp_path, IN_A_LOOP, start)
