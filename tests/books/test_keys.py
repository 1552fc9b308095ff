"""Keys name content: equal for what is equal, in every process; different for all else."""

import functools
import itertools
import os
import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.journal.keys import FunctionName, digest_of, numbered_key, task_key
from tests.architecture.house import ROOT

FUNCTION = bytes(16)


class Colour(Enum):
    RED = 1
    BLUE = 2


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Slotted:
    a: int
    b: object = None


class Plain:
    def __init__(self, **facts) -> None:
        self.__dict__.update(facts)

    def work(self, x):
        return x


def double(x):
    return 2 * x


def power(x, n=2):
    return x**n


@functools.cache
def cached(x):
    return x


def adder(n):
    return lambda x: x + n


SHARED = "a text that is one object"
DIFFERENT = {
    "None": None,
    "False": False,
    "0": 0,
    "0.0": 0.0,
    "-0.0": -0.0,
    "''": "",
    "b''": b"",
    "bytearray": bytearray(),
    "()": (),
    "[]": [],
    "{}": {},
    "set()": set(),
    "frozenset()": frozenset(),
    "'0'": "0",
    "b'0'": b"0",
    "True": True,
    "1": 1,
    "2**70": 2**70,
    "nested tuple": ((1, 2), 3),
    "other nesting": (1, (2, 3)),
    "flat tuple": (1, 2, 3),
    "flat list": [1, 2, 3],
    "list of lists": [[1], [2, 3]],
    "other lists": [[1, 2], [3]],
    "surrogate": "\ud800",
    "dict": {"a": 1},
    "dict of list": {"a": [1]},
    "dict by number": {1: "a"},
    "range": range(3),
    "range 1": range(1, 4),
    "point": Point(1, 2),
    "slotted": Slotted(1),
    "slotted 2": Slotted(1, 2),
    "plain": Plain(a=1),
    "plain 2": Plain(b=1),
    "colour": Colour.RED,
    "other colour": Colour.BLUE,
    "decimal": Decimal("1.0"),
    "decimal 2": Decimal("1.00"),
    "fraction": Fraction(1, 3),
    "path": Path("/a/b"),
    "array": np.arange(4),
    "array of other type": np.arange(4, dtype="int32"),
    "array of other shape": np.arange(4).reshape(2, 2),
    "array of times": np.arange(4).astype("M8[s]"),
    "array of objects": np.array([1, "a", None], dtype=object),
    "array with names": np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]),
    "scalar": np.float64(0.0),
    "frame": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    "other frame": pd.DataFrame({"a": [1, 2], "b": ["x", "z"]}),
    "function": double,
    "function with default": power,
    "cached function": cached,
    "builtin": len,
    "method of a type": str.upper,
    "method of a text": "a".upper,
    "method of another text": "b".upper,
    "bound method": Plain(a=1).work,
    "other bound method": Plain(a=2).work,
    "partial": functools.partial(power, n=3),
    "other partial": functools.partial(power, n=4),
    "lambda": lambda x: x + 1,
    "other lambda": lambda x: x + 2,
    "closure": adder(1),
    "other closure": adder(2),
    "type": Point,
    "module": functools,
}


def test_different_content_has_different_keys():
    keys = {name: task_key(FUNCTION, value) for name, value in DIFFERENT.items()}

    same = [pair for pair in itertools.combinations(keys, 2) if keys[pair[0]] == keys[pair[1]]]
    assert same == []


@pytest.mark.parametrize("name", DIFFERENT)
def test_content_has_the_same_key_again(name: str):
    assert task_key(FUNCTION, DIFFERENT[name]) == task_key(FUNCTION, DIFFERENT[name])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, id="dict"),
        pytest.param({1: "x", (2,): "y"}, {(2,): "y", 1: "x"}, id="dict of mixed keys"),
        pytest.param({"b", "a", "c"}, {"c", "b", "a"}, id="set"),
        pytest.param([SHARED, SHARED], [SHARED, str(SHARED.encode(), "utf-8")], id="shared"),
        pytest.param(adder(1), adder(1), id="closure made twice"),
        pytest.param(Plain(a=[1], b={2}), Plain(a=[1], b={2}), id="object"),
        pytest.param(np.ones((3, 4)), np.ones((4, 3)).T, id="order in memory"),
        pytest.param(np.arange(10)[::2], np.array([0, 2, 4, 6, 8]), id="slice"),
        pytest.param(
            pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2], "b": 0})[["a"]], id="frame"
        ),
        pytest.param(OrderedDict(a=1), OrderedDict(a=1), id="ordered dict"),
    ],
)
def test_equal_content_has_one_key_however_it_was_made(one, other):
    assert task_key(FUNCTION, one) == task_key(FUNCTION, other)


CONTENT = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(CONTENT, CONTENT)
def test_keys_are_equal_exactly_where_content_is(one, other):
    same = repr(normal(one)) == repr(normal(other))
    assert (digest_of(one) == digest_of(other)) == same


def normal(value):
    if isinstance(value, dict):
        return {key: normal(value[key]) for key in sorted(value)}
    return type(value)(map(normal, value)) if isinstance(value, (list, tuple)) else value


def test_content_may_contain_itself():
    loop = [1]
    loop.append(loop)

    assert digest_of(loop) == digest_of(loop)


@pytest.mark.parametrize("what", [open, iter([1]), (one for one in "a")], ids=["ok", "iter", "gen"])
def test_what_has_no_content_has_no_key(what, tmp_path: Path):
    if what is open:
        with (tmp_path / "file").open("w") as file, pytest.raises(TypeError, match="has no key"):
            digest_of(file)
    elif what.__class__.__name__ == "generator":
        with pytest.raises(TypeError, match="has no key"):
            digest_of([what])
    else:
        digest_of(what)  # a list's iterator can be pickled, so it has content


def test_what_is_nested_too_deeply_has_no_key():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(TypeError, match="has no key"):
        digest_of(deep)


def test_equal_tasks_have_a_key_each_by_their_number():
    key = task_key(FUNCTION, 7)

    assert len({numbered_key(key, ordinal) for ordinal in range(100)}) == 100
    assert numbered_key(key, 0) == key


def test_functions_are_known_by_name_and_by_source(tmp_path: Path):
    sources = (
        "def f(x):\n    return x",
        "# note\ndef f(x):\n\n    return x  \n",
        "def f(x):\n    return 2*x",
    )
    names = [name_in_new_process(tmp_path, source) for source in sources]

    (first, first_source), (same, same_source), (changed, changed_source) = names
    assert first == same == changed
    assert first_source == same_source != changed_source


def name_in_new_process(folder: Path, source: str) -> tuple[str, str]:
    (folder / "mine.py").write_text(source)
    code = (
        "import mine; from adaptive_exec.journal.keys import FunctionName as N;"
        "n = N(mine.f); print(n.text, n.digest.hex(), n.source.hex())"
    )
    text, digest, source_digest = run(code, {"PYTHONDONTWRITEBYTECODE": "1"}, folder).split()
    assert text == "mine:f"
    return digest, source_digest


def run(code: str, environment: dict[str, str], folder: Path = ROOT, python: str = sys.executable):
    path = os.pathsep.join([str(ROOT), str(folder)])
    done = subprocess.run(
        [python, "-c", code],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_partial_and_a_callable_object_are_named_by_what_they_call():
    assert FunctionName(functools.partial(double, 3)).text == f"{__name__}:double"
    assert FunctionName(functools.partial(double, 3)).digest != FunctionName(double).digest
    assert FunctionName(len).text == "builtins:len"


SAMPLES = """
import fractions, datetime
values = [None, 1, -2**80, 1.5, "a", b"b", (1, "x"), [1, [2]], {"b": {1, "two", 3.0}, "a": None},
    {"x", "y", "z"}, frozenset("abc"), fractions.Fraction(1, 3), datetime.date(2024, 2, 29),
    {(1, "k"): [None]}, range(4)]
from adaptive_exec.journal.keys import task_key
print(*(task_key(bytes(16), value).hex() for value in values))
"""


def test_keys_are_the_same_in_every_process_and_hash_seed():
    answers = {run(SAMPLES, {"PYTHONHASHSEED": seed}) for seed in ("0", "1", "4711", "random")}

    assert len(answers) == 1


def other_pythons() -> list[str]:
    versions = Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))) / "versions"
    return sorted(map(str, versions.glob("3.1[1-9]*/bin/python")))


@pytest.mark.skipif(not other_pythons(), reason="no other Python on this machine")
def test_keys_of_plain_content_are_the_same_in_other_versions_of_python():
    answers = {run(SAMPLES, {}, python=python) for python in [sys.executable, *other_pythons()]}

    assert len(answers) == 1
