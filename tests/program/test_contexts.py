"""Tasks in threads find the caller's context variables and decimal's context, and change copies."""

import contextvars
import decimal
import subprocess
import sys

import pytest

from adaptive_exec import adaptive_executor

NAME = contextvars.ContextVar("name", default="nobody")
SHARING = ["thread", "sequential"]


def tell(_item):
    return NAME.get(), decimal.getcontext().prec


def change(_item):
    NAME.set("a task")
    decimal.getcontext().prec = 3
    return tell(None)


@pytest.fixture
def ours():
    before = decimal.getcontext().copy()
    token = NAME.set("the caller")
    decimal.getcontext().prec = 9
    yield ("the caller", 9)
    NAME.reset(token)
    decimal.setcontext(before)


@pytest.mark.parametrize("level", SHARING)
def test_tasks_find_what_the_caller_has(level, ours):
    with adaptive_executor(levels=level) as ex:
        assert list(ex.map(tell, range(20))) == [ours] * 20
        assert ex.submit(tell, None).result(30) == ours


@pytest.mark.parametrize("level", SHARING)
def test_what_tasks_change_is_not_the_callers(level, ours):
    with adaptive_executor(levels=level) as ex:
        assert list(ex.map(change, range(3))) == [("a task", 3)] * 3
        assert ex.submit(change, None).result(30) == ("a task", 3)

    assert tell(None) == ours


@pytest.mark.parametrize("level", SHARING)
def test_each_call_finds_what_its_caller_had(level, ours):
    with adaptive_executor(levels=level, max_workers=2) as ex:
        futures = []
        for number in range(50):
            NAME.set(str(number))
            decimal.getcontext().prec = number + 1
            futures.append(ex.submit(tell, None))
        found = [one.result(30) for one in futures]

    assert found == [(str(number), number + 1) for number in range(50)]


SCRIPT = """
from contextvars import ContextVar
from adaptive_exec import adaptive_executor

NAME = ContextVar("NAME", default="nobody")
BARE = ContextVar("BARE")

def tell(_):
    return NAME.get(), BARE.get("nothing")

def main():
    with adaptive_executor(levels="process", max_workers=1) as ex:
        found = [*ex.map(tell, range(1))]
        token = NAME.set("the caller")
        BARE.set(1)
        found += [*ex.map(tell, range(1)), ex.submit(tell, None).result()]
        NAME.reset(token)
        found += [*ex.map(tell, range(1))]
    print(found)

if __name__ == "__main__":
    main()
"""


def test_variables_of_the_script_itself_are_there_in_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    found = [("nobody", "nothing"), ("the caller", 1), ("the caller", 1), ("nobody", 1)]
    assert done.stdout == f"{found}\n", done.stderr
