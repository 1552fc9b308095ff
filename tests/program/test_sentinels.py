"""`MISSING = object()` is the same object for the program and its tasks."""

import pickle
import subprocess
import sys

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.levels.wire import Packed
from adaptive_exec.program import sentinels
from adaptive_exec.program.places import OBJECT_MARK
from tests.levels.ladder import ISOLATED, settings_at
from tests.program import of_mine

ABSENT = of_mine.ABSENT


class Box:
    """Something that has one inside."""

    def __init__(self, value=ABSENT):
        self.value = value


def take(value, default=ABSENT):
    return value is ABSENT, default is of_mine.ABSENT, {"deep": [value]}, Box()


@pytest.mark.parametrize("level", ISOLATED)
def test_an_object_of_a_module_is_itself_in_arguments_and_results(level):
    with adaptive_executor(**settings_at(level), max_workers=1) as ex:
        ours, other = ex.map(take, [ABSENT, object()])
        inner = ex.submit(lambda value: (value is ABSENT, value), ABSENT).result(60)

    assert (ours[:2], other[:2]) == ((True, True), (False, True))
    assert ours[2]["deep"][0] is ABSENT
    assert ours[3].value is ABSENT
    assert type(other[2]["deep"][0]) is object
    assert inner == (True, ABSENT)


PROGRAM = """
import sys
from adaptive_exec import adaptive_executor

MISSING = object()

class Box:
    def __init__(self, value=MISSING):
        self.value = value

def take(value, default=MISSING):
    inner = object()
    return value is MISSING, default is MISSING, MISSING, Box(), inner

if __name__ == "__main__":
    with adaptive_executor(start=sys.argv[1] or None, max_workers=1, share_host=False) as pool:
        for _ in range(2):
            for value, default, told, box, inner in pool.map(take, [MISSING, 1, object(), 2]):
                print(value, default, told is MISSING, box.value is MISSING, type(inner) is object)
"""


@pytest.mark.parametrize("start", ["", "fresh", pytest.param("loky", marks=pytest.mark.slow)])
def test_an_object_of_the_script_is_itself_in_arguments_and_results(start, tmp_path):
    (tmp_path / "script.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "script.py", start],
        capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path,
    )  # fmt: skip
    lines = [f"{one} True True True True" for one in (True, False, False, False)]
    assert done.stdout.splitlines() == lines * 2, done.stderr


def test_an_object_whose_name_has_another_value_now_is_another(monkeypatch):
    held = object()
    monkeypatch.setattr(of_mine, "ABSENT", held)
    assert sentinels.name_of(ABSENT) is None or sentinels.name_of(ABSENT)[0] == __name__
    assert sentinels.find(of_mine.__name__, "ABSENT") is held
    assert type(sentinels.find(of_mine.__name__, "NAMES")) is object


def test_the_mark_stands_in_each_pickle_that_has_one():
    assert OBJECT_MARK in pickle.dumps([1, object()], 5)
    packed = Packed(lambda _: None)
    packed.add({"one": ABSENT})
    assert pickle.loads(b"".join(packed.pieces))["one"] is ABSENT
