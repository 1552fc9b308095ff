"""Programs that use the executor in every way end by themselves, with all that was asked done."""

import subprocess
import sys

import pytest

from tests.levels.ladder import ISOLATED, LEVELS, TRAITS, settings_at

EXIT_SECONDS = 100
"""Seconds a program may take; far less on an idle host."""

HEAD = """
import itertools, sys, time
from adaptive_exec import adaptive_executor
SETTINGS = {settings!r}
def say(number):
    sys.stdout.write(f"did {{number}}\\n")  # one write, so that lines of threads do not mix
    sys.stdout.flush()
    return number
def nap(number):
    time.sleep(0.05)
    return say(number)
executor = adaptive_executor(max_workers=2, **SETTINGS)
"""

CANCEL = "executor.shutdown(wait=False, cancel_futures=True)"
ENDINGS = {
    "a submit": ("executor.submit(nap, 1)", {1}),
    "a submit, then del": ("executor.submit(nap, 1); del executor", {1}),
    "an executor that nobody holds": ("adaptive_executor(**SETTINGS).submit(nap, 1)", {1}),
    "a map that nobody began": ("executor.map(nap, [1, 2, 3])", {1, 2, 3}),
    "a map over a generator that nobody began": (
        "executor.map(nap, (number for number in [1, 2, 3]))",
        {1, 2, 3},
    ),
    "a map that was begun": ("results = executor.map(nap, range(3)); next(results)", {0}),
    "an endless map that was begun": (
        "results = executor.map(nap, itertools.count(), chunksize=1); next(results)",
        {0},
    ),
    "an endless map in a block that fails": (
        """
with executor:
    results = executor.map(nap, itertools.count(), chunksize=1)
    next(results)
    sys.exit(0)
""",
        {0},
    ),
    "an endless map that nobody began in a block that fails": (
        """
with executor:
    executor.submit(say, 0).result()
    results = executor.map(nap, itertools.count(1))
    sys.exit(0)
""",
        {0},
    ),
    "shutdown without waiting": ("executor.submit(nap, 1); executor.shutdown(wait=False)", {1}),
    "shutdown that cancels": (
        "results = executor.map(nap, range(1000)); next(results); " + CANCEL,
        {0},
    ),
    "idle workers": ("list(executor.map(say, range(4)))", {0, 1, 2, 3}),
    "an executor that was never used": ("", set()),
    "sys.exit in the with block": (
        "executor.__enter__(); executor.submit(say, 1).result(); sys.exit(0)",
        {1},
    ),
}


def run(code, *, arguments=("-c",), stdin=None):
    command = [sys.executable, *arguments, *([code] if stdin is None else [])]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=EXIT_SECONDS, check=False
    )


def done(ran):
    return {int(line.split()[1]) for line in ran.stdout.splitlines() if line.startswith("did ")}


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_ends_by_itself_and_quietly_with(level, ending):
    code, least = ENDINGS[ending]
    ran = run(HEAD.format(settings=settings_at(level)) + code)
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert done(ran) >= least


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_an_executor_used_after_the_end_of_the_program_says_so_and_does_not_hang(level):
    code = """
import atexit
def late():
    try:
        executor.submit(abs, 1)
    except RuntimeError as error:
        print("refused:", error)
atexit.register(late)
executor.submit(say, 1).result()
"""
    ran = run(HEAD.format(settings=settings_at(level)) + code)
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert "refused: cannot schedule new futures after" in ran.stdout


FUNCTIONS = """
from adaptive_exec import adaptive_executor
import os

SCALE = 10

class Pair:
    def __init__(self, left, right):
        self.left, self.right = left, right
    def __eq__(self, other):
        return (self.left, self.right) == (other.left, other.right)

class OwnError(Exception):
    pass

def plain(number):
    return number * SCALE

def pair(number):
    return Pair(number, os.getpid())

def fail(number):
    raise OwnError(number)

def outer():
    def local(number):
        return number * SCALE + 1
    return local

with adaptive_executor(max_workers=2, **{settings!r}) as executor:
    assert list(executor.map(plain, range(4))) == [0, 10, 20, 30]
    assert list(executor.map(lambda number: number + SCALE, range(4))) == [10, 11, 12, 13]
    assert list(executor.map(outer(), range(4))) == [1, 11, 21, 31]
    pairs = list(executor.map(pair, range(4)))
    assert [type(item) for item in pairs] == [Pair] * 4
    assert [item.left for item in executor.map(lambda item: item, pairs)] == [0, 1, 2, 3]
    assert executor.submit(plain, 7).result() == 70
    assert isinstance(executor.submit(pair, 7).result(), Pair)
    assert type(executor.submit(fail, 7).exception()) is OwnError
    print("pids", len({{item.right for item in pairs}} - {{os.getpid()}}) > 0)
print("through")
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("way", ["script", "standard input", "-c", "-m"])
def test_functions_of_the_main_module_run_without_a_guard(level, way, tmp_path):
    code = FUNCTIONS.format(settings=settings_at(level))
    if way == "script":
        (tmp_path / "program.py").write_text(code)
        ran = run(str(tmp_path / "program.py"), arguments=("-B",))
    elif way == "-m":
        (tmp_path / "program.py").write_text(code)
        command = [sys.executable, "-B", "-m", "program"]
        ran = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=EXIT_SECONDS, check=False
        )
    elif way == "-c":
        ran = run(code)
    else:
        ran = run("", arguments=("-",), stdin=code)
    assert ran.stderr == ""
    assert ran.stdout.splitlines()[-1] == "through"
    assert f"pids {not TRAITS[level].shares_memory}" in ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_what_tasks_print_is_seen_once_and_in_whole_lines(level):
    code = 'print("before")\nlist(executor.map(say, range(20)))\nprint("after")'
    ran = run(HEAD.format(settings=settings_at(level)) + code)
    lines = ran.stdout.splitlines()
    assert sorted(lines) == sorted([f"did {n}" for n in range(20)] + ["before", "after"])


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_task_that_reads_standard_input_finds_its_end_or_the_callers(level):
    code = "print(executor.submit(sys.stdin.readline).result(60).strip() or 'nothing')"
    if not TRAITS[level].shares_memory:
        code = (
            "def read(): return sys.stdin.readline()\n"
            "print(executor.submit(read).result(60).strip() or 'nothing')"
        )
    ran = run("", arguments=("-",), stdin=HEAD.format(settings=settings_at(level)) + code)
    assert ran.returncode == 0
    assert ran.stdout.splitlines()[-1:] == ["nothing"]


@pytest.mark.slow
@pytest.mark.parametrize("level", ISOLATED)
def test_what_a_task_registered_for_the_exit_of_its_process_is_run(level, tmp_path):
    code = f"""
def register(number):
    import atexit, pathlib
    atexit.register(pathlib.Path({str(tmp_path / "ran")!r}).touch)
    return number
assert executor.submit(register, 1).result() == 1
executor.shutdown()
"""
    ran = run(HEAD.format(settings=settings_at(level)) + code)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (tmp_path / "ran").exists()


NESTED = """
import os
def nested(number):
    import numpy, joblib
    array = numpy.ones(300_000)  # 2.4 MB: joblib puts it into a file in /dev/shm
    total = sum(joblib.Parallel(n_jobs=2)(joblib.delayed(numpy.sum)(array) for _ in range(2)))
    return total, os.getpid()
total, worker = executor.submit(nested, 1).result()
def made():
    own = f"joblib_memmapping_folder_{worker}_"  # not those of other programs
    return [name for name in os.listdir("/dev/shm") if name.startswith(own)]
assert total == 600_000
assert made()
executor.shutdown()
end = time.monotonic() + 60
while made() and time.monotonic() < end:
    time.sleep(0.01)
print("left", len(made()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="joblib uses /dev/shm on Linux")
@pytest.mark.parametrize("level", ISOLATED)
def test_a_task_that_uses_joblib_leaves_no_file_behind(level):
    ran = run(HEAD.format(settings=settings_at(level)) + NESTED)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "left 0\n"
