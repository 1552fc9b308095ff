"""A program may call tasks while one of its modules is being imported: it ends, as a loop does.

Whoever pickles a name of such a module by reference waits for the import, which waits for the
tasks; a worker that imports it would run the same calls once more.
"""

import subprocess
import sys
import textwrap

import pytest

from adaptive_exec.program.places import Places

MODULE = """
import enum, threading
from adaptive_exec import adaptive_executor

FACTOR = 3

class Colour(enum.Enum):
    RED = 1

class Number:
    def __init__(self, value):
        self.value = value

class OwnError(Exception):
    pass

def times(number):
    if number.value > 5:
        raise OwnError(number.value)
    return Number(number.value * FACTOR), Colour.RED

def flat(outcomes):
    found = list(outcomes)
    assert all(type(one) is Number and colour is Colour.RED for one, colour in found)
    return [one.value for one, _ in found]

with adaptive_executor(max_workers=2, start=START, share_host=False) as pool:
    MAPPED = flat(pool.map(times, map(Number, range(6))))
    SUBMITTED = flat([one.result() for one in [pool.submit(times, Number(n)) for n in range(6)]])
    try:
        pool.submit(times, Number(7)).result()
    except OwnError as error:
        FAILED = error.args
"""


@pytest.mark.parametrize("start", [None, "snapshot", "fresh", "loky"])
@pytest.mark.parametrize("name", ["early", "package.early"])
def test_a_module_that_calls_tasks_while_it_is_imported_is_imported(name, start, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("from package.early import MAPPED\n")
    for place in ("early.py", "package/early.py"):
        text = textwrap.dedent(MODULE).replace("START", repr(start))
        (tmp_path / place).write_text(text)
    program = f"import {name} as m; print(m.MAPPED, m.SUBMITTED == m.MAPPED, m.FAILED)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "[0, 3, 6, 9, 12, 15] True (7,)\n", done.stderr


def test_what_another_thread_imports_is_looked_at_when_it_is_there(monkeypatch):
    module = type(sys)("being_imported")
    module.__spec__ = type("Spec", (), {"_initializing": True, "origin": "built-in"})()
    monkeypatch.setitem(sys.modules, "being_imported", module)
    places = Places()
    places.look()
    assert not places.is_strange("being_imported")
    exec("places.look()", {"__name__": "being_imported", "places": places})  # as its body
    assert places.is_strange("being_imported")
    assert places.would_wait()
    module.__spec__._initializing = False
    assert not places.would_wait()
