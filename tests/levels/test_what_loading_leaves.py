"""What a module opens or starts as it is loaded is each worker's own, never shared by a fork.

Each program runs by itself; its module is a user's, and says what a loop over it would give.
"""

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from adaptive_exec.levels.left_open import find_left_open, list_open

PROGRAM = """
import json, logging, os, resource, sys, time
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import mine
from adaptive_exec import adaptive_executor

if __name__ == "__main__":
    settings = {"max_workers": 2, "share_host": False, "start": eval(sys.argv[1])}
    with adaptive_executor(**settings) as pool:
        got = [*pool.map(mine.task, range(40), chunksize=1)]
        got += [pool.submit(mine.task, number).result(60) for number in range(3)]
        report = pool.report
    wanted = [mine.expected(number) for number in [*range(40), *range(3)]]
    changes = [one for one in report.decisions if one.reason.code == "starter_unfit"]
    print(json.dumps([got == wanted, report.levels, [one.new for one in changes]]))
"""

READS_A_FILE = """
import time
FILE = open("lines", "rb", buffering=0)

def task(number):
    FILE.seek(8 * number)
    time.sleep(0.002)  # the other worker seeks meanwhile
    return int(FILE.read(8))

def expected(number):
    return number
"""

WRITES_SCRATCH = """
import tempfile, time
SCRATCH = tempfile.TemporaryFile()

def task(number):
    SCRATCH.seek(0)
    SCRATCH.truncate()
    SCRATCH.write(b"%d" % number)
    SCRATCH.flush()
    time.sleep(0.002)
    SCRATCH.seek(0)
    return int(SCRATCH.read())

def expected(number):
    return number
"""

ASKS_A_PROGRAM = """
import subprocess
ECHO = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

def task(number):
    ECHO.stdin.write(b"%d\\n" % number)
    return int(ECHO.stdout.readline())

def expected(number):
    return number
"""

ASKS_A_SERVER = """
import os, socket, subprocess, sys, time
SERVER = '''
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
'''
if "PORT" not in os.environ:
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    os.environ["PORT"] = process.stdout.readline().decode()
    import atexit
    atexit.register(process.wait)
    atexit.register(process.kill)
CONNECTION = socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), timeout=20)
STREAM = CONNECTION.makefile("rwb", buffering=0)

def task(number):
    STREAM.write(b"%d\\n" % number)
    time.sleep(0.001)
    return int(STREAM.readline())

def expected(number):
    return number
"""

ASKS_A_DATABASE = """
import sqlite3
BASE = sqlite3.connect("base")
BASE.execute("select count(*) from squares").fetchone()

def task(number):
    return BASE.execute("select square from squares where number = ?", (number,)).fetchone()[0]

def expected(number):
    return number * number
"""

STARTS_THREADS = """
from concurrent.futures import ThreadPoolExecutor
POOL = ThreadPoolExecutor(2)
POOL.submit(int).result()

def task(number):
    return POOL.submit(pow, number, 2).result(timeout=20)

def expected(number):
    return number * number
"""

READS_BY_ARROW = """
import pyarrow.csv, pyarrow.compute
TABLE = pyarrow.csv.read_csv("lines")

def task(number):
    again = pyarrow.csv.read_csv("lines")
    return pyarrow.compute.sum(again.column(0)).as_py() + number

def expected(number):
    return sum(range(1, 100)) + number
"""

HAS_A_LOOP = """
import asyncio
LOOP = asyncio.new_event_loop()

async def wait(number):
    await asyncio.sleep(0.001)
    return number

def task(number):
    return LOOP.run_until_complete(wait(number))

def expected(number):
    return number
"""

BARE = ["bare zygote"]
MODULES = {
    "file": READS_A_FILE,
    "scratch": WRITES_SCRATCH,
    "program": ASKS_A_PROGRAM,
    "server": ASKS_A_SERVER,
    "database": ASKS_A_DATABASE,
    "threads": STARTS_THREADS,
    "loop": HAS_A_LOOP,
}
ROWS = [
    pytest.param(text, id=name, marks=() if name == "file" else pytest.mark.slow)
    for name, text in MODULES.items()
]


def run(folder: Path, module: str, start: str = "None", **environment: str):
    """Run a program over a module; return whether it was right, its levels, and its starters."""
    (folder / "mine.py").write_text(module)
    (folder / "program.py").write_text(PROGRAM)
    (folder / "lines").write_text("".join(f"{number:7d}\n" for number in range(100)))
    with contextlib.closing(sqlite3.connect(folder / "base")) as base:
        base.execute("create table squares (number, square)")
        base.executemany("insert into squares values (?, ?)", [(n, n * n) for n in range(100)])
        base.commit()
    done = subprocess.run(
        [sys.executable, "program.py", start],
        capture_output=True, text=True, timeout=100, check=False, cwd=folder,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def with_path(folder: Path) -> str:
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


@pytest.mark.parametrize("module", ROWS)
def test_what_a_module_opens_as_it_is_loaded_is_each_workers_own(module, tmp_path):
    found, words = run(tmp_path, module)
    assert found == [True, ["process"], BARE], words


@pytest.mark.slow
def test_what_a_c_library_starts_as_a_module_is_loaded_is_each_workers_own(tmp_path):
    if find_spec("pyarrow") is None:
        pytest.skip("pyarrow is not installed")
    (is_right, levels, _), words = run(tmp_path, READS_BY_ARROW)
    assert (is_right, levels) == (True, ["process"]), words


WRITES_A_LOG = """
FILE = open("log", "a", buffering=1)

def task(number):
    FILE.write(f"{number}\\n")
    return number

def expected(number):
    return number
"""


@pytest.mark.slow
def test_a_file_that_is_only_written_is_no_reason_to_load_a_module_again(tmp_path):
    found, words = run(tmp_path, WRITES_A_LOG)
    assert found == [True, ["process"], []], words
    written = (tmp_path / "log").read_text().split()
    assert sorted(map(int, written)) == sorted([*range(40), *range(3)])


LIVES_IN_ONE_PROCESS = """
import builtins, os

class Library:
    process = os.getpid()

    def use(self):
        if os.getpid() != self.process:
            os.abort()

builtins.LIBRARY = Library()
"""
USES_IT = """
def task(number):
    LIBRARY.use()
    return number

def expected(number):
    return number
"""


@pytest.mark.slow
@pytest.mark.parametrize("start", ["None", "'fresh'"])
def test_where_forked_workers_die_bare_too_lokys_run_the_tasks(start, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(LIVES_IN_ONE_PROCESS)
    found, words = run(tmp_path, USES_IT, start, PYTHONPATH=with_path(tmp_path))
    assert found[:2] == [True, ["process"]], words
    assert found[2][-1] == "loky", words


ALONE = """
import sys
from adaptive_exec import adaptive_executor

def task(number):
    LIBRARY.use()
    return number * number

if __name__ == "__main__":
    with adaptive_executor(max_workers=2, share_host=False) as pool:
        print(pool.submit(task, 3).result(60))
"""


@pytest.mark.slow
def test_a_task_by_itself_lives_until_the_last_way_was_tried(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(LIVES_IN_ONE_PROCESS)
    (tmp_path / "alone.py").write_text(ALONE)
    done = subprocess.run(
        ["sh", "-c", f"ulimit -c 0; exec {sys.executable} alone.py"],
        capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": with_path(tmp_path)},
    )  # fmt: skip
    assert done.stdout == "9\n", done.stderr


# what counts, descriptor by descriptor


def _scratch(folder):
    return tempfile.TemporaryFile(dir=folder)


def _of(mode):
    return lambda folder: (folder / "file").open(mode)


def _device(name):
    return lambda _: Path(f"/dev/{name}").open("rb", buffering=0)


@pytest.mark.parametrize(
    ("make", "counts"),
    [
        pytest.param(_of("r"), True, id="read"),
        pytest.param(_of("r+"), True, id="read and written"),
        pytest.param(_of("w"), False, id="written"),
        pytest.param(_of("a"), False, id="appended to"),
        pytest.param(_scratch, True, id="without a name"),
        pytest.param(lambda _: socket.socket(), True, id="socket"),
        pytest.param(_device("null"), False, id="nothing"),
        pytest.param(_device("urandom"), False, id="random numbers"),
    ],
)
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs a /proc")
def test_what_has_a_place_of_its_own_counts_as_left_open(make, counts, tmp_path):
    (tmp_path / "file").write_text("text")
    before = list_open()
    with make(tmp_path):
        assert bool(find_left_open(before)) is counts
        assert not find_left_open(list_open())
    assert not find_left_open(before)


OF_MULTIPROCESSING = """
import os
from multiprocessing import Pipe, Queue, Value, shared_memory
from adaptive_exec.levels.left_open import find_left_open, list_open

before = list_open()
piece = shared_memory.SharedMemory(create=True, size=10)
pipe, queue, value, folder = Pipe(), Queue(), Value("i", 0), os.open("/", os.O_RDONLY)
assert find_left_open(before) == [], find_left_open(before)
piece.close()
piece.unlink()
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs a /proc")
def test_folders_and_what_is_there_to_be_shared_are_not_left_open():
    subprocess.run([sys.executable, "-c", OF_MULTIPROCESSING], check=True, timeout=60)
