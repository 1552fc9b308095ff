"""What a script defines in its own `__main__` runs in workers as it does in the script."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import collections, dataclasses, enum, functools
from adaptive_exec import adaptive_executor

class Color(enum.Enum):
    RED = 1
    GREEN = 2

@dataclasses.dataclass(frozen=True)
class Point:
    x: int

Pair = collections.namedtuple("Pair", "a b")

class TwoArgumentsError(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)
        self.a = a

class Scale:
    def __init__(self, factor):
        self.factor = factor
    def times(self, x):
        return self.factor * x

@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

def other(color):
    return Color.GREEN if color is Color.RED else Color.RED

def move(point):
    return Point(point.x + 1)

def swap(pair):
    return Pair(pair.b, pair.a)

def fail(x):
    raise TwoArgumentsError(x, 2)

with adaptive_executor(levels="process", max_workers=2) as executor:
    assert [*executor.map(other, [Color.RED, Color.GREEN])] == [Color.GREEN, Color.RED]
    assert all(one is Color.GREEN for one in executor.map(other, [Color.RED] * 3))
    assert all(type(one) is Point for one in executor.map(move, [Point(1)] * 3))
    assert [*executor.map(swap, [Pair(1, 2)] * 2)] == [Pair(2, 1)] * 2
    assert [*executor.map(Scale(3).times, range(4))] == [0, 3, 6, 9]
    assert [*executor.map(fib, range(10))][-1] == 34
    assert executor.submit(fib, 80).result() == fib(80)
    assert fib.cache_info().hits > 0
    try:
        executor.submit(fail, 1).result()
    except TwoArgumentsError as error:
        assert error.a == 1
    else:
        raise AssertionError
print("all is well")
"""


def test_classes_methods_and_cached_functions_of_a_script_are_the_scripts_own(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.stdout, done.returncode) == ("all is well\n", 0), done.stderr
