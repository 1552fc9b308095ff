"""A worker is the caller's program: one namespace for all that a script defines, and it lasts."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.levels.ladder import ISOLATED, SETTINGS

HEAD = """
import functools, importlib.util, os, sys, types
from adaptive_exec import adaptive_executor

def executor(**settings):
    return adaptive_executor(max_workers=2, share_host=False, **{SETTINGS!r}, **settings)
"""

STATE = """
FACTOR, TABLE, LOADED, SEEN = 1, None, 0, {}

def begin(table):
    global FACTOR
    FACTOR = 10
    globals()["TABLE"] = table

def times(number):
    return FACTOR * number

def look_up(number):
    return TABLE[number]

def load(number):
    global LOADED
    if not LOADED:
        LOADED = os.getpid()
    SEEN[number] = SEEN.get(number, 0) + 1
    return LOADED == os.getpid(), SEEN[number]

@functools.cache
def answer():
    return object()

def cached(_):
    return os.getpid(), id(answer())

with executor(initializer=begin, initargs=("abcde",)) as pool:
    for _ in range(2):
        assert [*pool.map(times, range(5))] == [0, 10, 20, 30, 40]
        assert [pool.submit(times, n).result() for n in range(5)] == [0, 10, 20, 30, 40]
        assert [*pool.map(look_up, range(5))] == [*"abcde"]
        assert [pool.submit(look_up, n).result() for n in range(5)] == [*"abcde"]
        assert [*pool.map(lambda n: FACTOR + n, range(5))] == [10, 11, 12, 13, 14]
    counts = [*pool.map(load, [7] * 20)] + [pool.submit(load, 7).result() for _ in range(20)]
    assert all(is_own for is_own, _ in counts)
    most = {pid: seen for pid, seen in pool.map(lambda _: (os.getpid(), SEEN.get(7)), range(40))}
    assert len(most) == 1 or sum(filter(None, most.values())) == 40
    found = {*pool.map(cached, range(20))} | {pool.submit(cached, n).result() for n in range(20)}
    assert len(found) == len({pid for pid, _ in found}), found

    FACTOR = 3  # as one does in a notebook
    assert [*pool.map(times, range(5))] == [0, 3, 6, 9, 12]
    assert pool.submit(times, 2).result() == 6
    def times(number):
        return -FACTOR * number
    assert [*pool.map(times, range(5))] == [0, -3, -6, -9, -12]
    assert pool.submit(times, 2).result() == -6
"""

RECYCLED = """
FACTOR, BORN = 1, []

def begin():
    global FACTOR
    FACTOR += 9
    BORN.append(os.getpid())

def times(number):
    assert BORN == [os.getpid()]
    return FACTOR * number

with executor(initializer=begin, max_tasks_per_worker=2) as pool:
    assert [*pool.map(times, range(12), chunksize=1)] == [10 * n for n in range(12)]
    assert [pool.submit(times, n).result() for n in range(8)] == [10 * n for n in range(8)]
"""

CLASSES = """
import dataclasses, enum, typing

class Base:
    limit = 5
    def who(self):
        return ["base"]

class Child(Base):
    def who(self):
        return [*super().who(), "child"]
    @property
    def large(self):
        return self.limit > 3
    @classmethod
    def make(cls):
        return cls()
    class Inner:
        pass

@dataclasses.dataclass
class Point:
    x: int
    def moved(self):
        return Point(self.x + 1)

class Color(enum.Enum):
    RED = 1
    BLUE = 2

UserId = typing.NewType("UserId", int)
T = typing.TypeVar("T")

class Box(typing.Generic[T]):
    def __init__(self, content: T):
        self.content = content

class Odd(Exception):
    def __init__(self, what, why):
        super().__init__(what, why)
        self.why = why

MISSING = object()
ONE = Child()
ALL = {"one": ONE, "list": [], "missing": MISSING}
LIST = ALL["list"]
KEPT = []

def twice(function):
    @functools.wraps(function)
    def wrapper(*words):
        return 2 * function(*words)
    return wrapper

@twice
def even(n):
    return 1 if n == 0 else odd(n - 1)

def odd(n):
    return 0 if n == 0 else even(n - 1)

def look(item):
    KEPT.append(item)
    assert all(type(one) is type(item) for one in KEPT)
    assert ALL["one"] is ONE and ALL["list"] is LIST and ALL["missing"] is MISSING
    assert isinstance(item, Point) and ONE.who() == ["base", "child"] and Child.make().large
    assert Color(1) is Color.RED and UserId(3) == 3 and Box[int](4).content == 4
    return item.moved(), Color.BLUE, Child.Inner(), ONE, even(4)

def fail(item):
    raise Odd(item, "as asked")

def same(item):
    return item

def pow_of(holder, n):
    assert holder is ONE
    return holder.limit + n

with executor() as pool:
    for _ in range(2):
        for results in pool.map(look, map(Point, range(6))), [pool.submit(look, Point(0)).result()]:
            for point, color, inner, one, count in results:
                assert type(point) is Point and color is Color.BLUE and count == 8, count
                assert type(inner) is Child.Inner and type(one) is Child
    assert type(Point.moved(Point(1))) is Point and Point.moved.__globals__ is globals()
    assert [*pool.map(Point.moved, map(Point, range(4)))] == [Point(n + 1) for n in range(4)]
    assert all(one is Point.moved for one in pool.map(same, [Point.moved] * 4))
    assert [pool.submit(ONE.who).result() for _ in range(3)] == [["base", "child"]] * 3
    assert [*pool.map(functools.partial(pow_of, ONE), range(4))] == [n + 5 for n in range(4)]
    try:
        pool.submit(fail, 1).result()
    except Odd as error:
        assert error.why == "as asked"
    Base.limit = 1  # seen by workers, in the class that they have
    assert {*pool.map(lambda n: ONE.large, range(4))} == {False}

    class Point(Base):  # another one
        x = 1
    assert {type(one) for one in pool.map(same, [Point()] * 4)} == {Point}
    made = [*pool.map(lambda n: Point(), range(4))]
    assert {type(one) for one in made} == {Point}
"""

MODULES = """
from pathlib import Path
source = Path(sys.argv[1])
source.write_text('''
COUNT = 5
class Thing:
    def __init__(self, n):
        self.n = n
def count(n):
    global COUNT
    COUNT += 1
    return COUNT - COUNT + n + 1
def hold(thing):
    return Thing(thing.n + COUNT)
''')
spec = importlib.util.spec_from_file_location("loaded_by_path", source)
loaded = importlib.util.module_from_spec(spec)
sys.modules["loaded_by_path"] = loaded
spec.loader.exec_module(loaded)
made = types.ModuleType("made_by_hand")
exec("def add(n):\\n    return n + 100", made.__dict__)
sys.modules["made_by_hand"] = made

def through(n):
    return loaded.count(n) + made.add(0)

with executor() as pool:
    assert [*pool.map(loaded.count, range(6))] == [1, 2, 3, 4, 5, 6]
    assert pool.submit(loaded.count, 1).result() == 2
    assert [*pool.map(made.add, range(6))] == [100 + n for n in range(6)]
    assert pool.submit(made.add, 1).result() == 101
    assert [*pool.map(through, range(6))] == [101 + n for n in range(6)]
    assert pool.submit(pow, 2, 3).result() == 8
    things = [*pool.map(len, [[loaded.Thing(1)]] * 6)]
    assert things == [1] * 6
    with executor() as other:
        assert other.submit(loaded.hold, loaded.Thing(1)).result().n == 6
        assert type(other.submit(loaded.hold, loaded.Thing(1)).result()) is loaded.Thing
"""

SCRIPTS = {"state": STATE, "recycled": RECYCLED, "classes": CLASSES, "modules": MODULES}


def run(code: str, row: str, folder: Path, *, by: str) -> subprocess.CompletedProcess[str]:
    head = HEAD.replace("{SETTINGS!r}", repr(SETTINGS.get(row, {"levels": ("process",)})))
    script = folder / "script.py"
    script.write_text(head + code + "\nprint('all is well')\n")
    words = {"path": [script], "text": ["-c", script.read_text()], "input": ["-"]}[by]
    given = script.read_text() if by == "input" else None
    return subprocess.run(
        [sys.executable, *map(str, words), str(folder / "module.py")],
        input=given, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("row", ISOLATED)
def test_a_script_lives_once_in_each_worker(row, name, tmp_path: Path):
    done = run(SCRIPTS[name], row, tmp_path, by="path")

    assert (done.stdout, done.returncode) == ("all is well\n", 0), done.stderr


@pytest.mark.parametrize("by", ["text", "input"])
def test_a_program_without_a_file_does_too(by, tmp_path: Path):
    done = run(STATE, "process", tmp_path, by=by)

    assert (done.stdout, done.returncode) == ("all is well\n", 0), done.stderr


@pytest.mark.parametrize("row", ISOLATED)
def test_a_module_that_is_run_by_name_imports_its_siblings_in_tasks(row, tmp_path: Path):
    package = tmp_path / "tool_box"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text("FACTOR = 7\n")
    settings = SETTINGS.get(row, {"levels": ("process",)})
    (package / "tool.py").write_text(
        textwrap.dedent(f"""
        import sys
        from adaptive_exec import adaptive_executor
        def scaled(number):
            from .parts import FACTOR
            main = sys.modules["__main__"]
            spec = __spec__.name, __spec__.parent, __spec__.origin
            names = __name__, __package__, __file__, spec
            assert names == (main.__name__, main.__package__, main.__file__, spec)
            return FACTOR * number, names
        if __name__ == "__main__":
            with adaptive_executor(max_workers=2, **{settings!r}) as pool:
                wanted = [scaled(number) for number in range(6)]
                assert [*pool.map(scaled, range(6))] == wanted
                assert [pool.submit(scaled, number).result() for number in range(6)] == wanted
            print("all is well")
        """)
    )

    done = subprocess.run(
        [sys.executable, "-m", "tool_box.tool"],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip

    assert (done.stdout, done.returncode) == ("all is well\n", 0), done.stderr
