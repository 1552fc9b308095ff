"""Workers that are forked from the caller are its program, and touch nothing that is its own.

Each program runs by itself: in this process other threads run, beside which nothing is forked.
"""

import os
import subprocess
import sys
import textwrap

import pytest

HEAD = """
import os, sys, threading, time
from adaptive_exec import adaptive_executor

def executor(start=None, **settings):
    return adaptive_executor(start=start, **{"max_workers": 2, "share_host": False, **settings})

THREADS = set()  # native threads that were one of Python's

def settle(threads=1):
    end = time.monotonic() + 60
    while (threading.active_count() > threads or linger()) and time.monotonic() < end:
        time.sleep(0.01)  # of the last executor some end a moment after it

def linger():
    known = {one.native_id for one in threading.enumerate()}
    return [one for one in THREADS - known if os.path.exists(f"/proc/self/task/{one}")]

def ways(pool):
    THREADS.update(one.native_id for one in threading.enumerate())
    found = [one for one in pool.report.decisions if one.reason.code == "starter_chosen"]
    return [(one.new, one.reason.fact("why") or "") for one in found]
"""

PLAIN = """
def square(number):
    return number * number, os.getppid()

with executor() as pool:
    found = [*pool.map(square, range(8))]
assert [value for value, _ in found] == [n * n for n in range(8)]
assert os.getpid() not in {parent for _, parent in found}
assert ways(pool) == [("snapshot", "")], ways(pool)
"""

THE_SAME_STATE = """
import decimal, functools
import mine

FACTOR, TABLE, LOADED, SEEN = 1, {"a": 1}, 0, {}

def begin(table):
    global FACTOR
    FACTOR = 10
    TABLE.update(table)

def times(number):
    return FACTOR * number

def look_up(name):
    return TABLE.get(name)

def load(number):
    global LOADED
    if not LOADED:
        LOADED = os.getpid()
    SEEN[number] = SEEN.get(number, 0) + 1
    return LOADED == os.getpid(), SEEN[number]

def precision(_):
    return decimal.getcontext().prec, os.environ.get("WORD"), mine.LEVEL, mine.fresh()

def run(pool, function, items):
    return [[*pool.map(function, items)], [pool.submit(function, one).result() for one in items]]

def hashed(word):
    return hash(word)

with executor(initializer=begin, initargs=({"b": 2},)) as pool:
    assert run(pool, hashed, ["alpha", "beta"] * 3) == [[*map(hash, ["alpha", "beta"] * 3)]] * 2
    for _ in range(2):
        assert run(pool, times, range(5)) == [[0, 10, 20, 30, 40]] * 2
        assert run(pool, look_up, "abc" * 2) == [[1, 2, None] * 2] * 2
        assert [*pool.map(lambda n: FACTOR + n, range(5))] == [10, 11, 12, 13, 14]
    counts = [one for some in run(pool, load, [7] * 20) for one in some]
    assert all(is_own for is_own, _ in counts)
    FACTOR = 3
    TABLE["c"] = 9
    assert run(pool, times, range(5)) == [[0, 3, 6, 9, 12]] * 2
    assert run(pool, look_up, "abc" * 2) == [[1, None, 9] * 2] * 2
    def times(number):
        return -FACTOR * number
    assert run(pool, times, range(5)) == [[0, -3, -6, -9, -12]] * 2
    assert run(pool, precision, range(4)) == [[(28, None, 1, 5)] * 4] * 2
    decimal.getcontext().prec, mine.LEVEL, os.environ["WORD"] = 9, 2, "said"
    import late
    assert run(pool, precision, range(4)) == [[(9, "said", 2, 5)] * 4] * 2
    assert run(pool, late.value, range(4)) == [[4, 5, 6, 7]] * 2
    assert ways(pool) == [("snapshot", "")], ways(pool)
"""

NOTHING_OF_THE_CALLERS = """
import atexit, logging, logging.handlers, random, signal, tempfile, weakref

class Ends:
    def __del__(self):
        print("ended", flush=True)

class Circle:
    def __init__(self):
        self.me = self
    __del__ = Ends.__del__

def on_signal(number, frame):
    print("signalled", flush=True)

KEPT, CIRCLE, FOLDER = Ends(), [Circle()], tempfile.TemporaryDirectory()
atexit.register(print, "at exit", flush=True)
weakref.finalize(KEPT, print, "finalized")
signal.signal(signal.SIGUSR1, on_signal)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
memory = logging.handlers.MemoryHandler(100, target=logging.StreamHandler(sys.stdout))
logging.getLogger("mine").addHandler(memory)
logging.getLogger("mine").setLevel(logging.INFO)
logging.getLogger("mine").info("logged once")
FILE = open(os.environ["TARGET"], "w")
FILE.write("written once\\n")
sys.stdout.write("printed once\\n")
CIRCLE.clear()  # to be collected, here and nowhere else

def look(number):
    import gc
    globals()["KEPT"] = number  # what was there is the caller's to finalize
    gc.collect()
    own = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGHUP)
    return FOLDER_NAME and os.path.isdir(FOLDER_NAME), own, random.random(), os.getpid()

FOLDER_NAME, DESCRIPTOR = FOLDER.name, FILE.fileno()

def use(descriptor):
    made = os.open(os.devnull, os.O_WRONLY)
    try:
        os.write(descriptor, b"foreign")
    except OSError as error:
        return made != descriptor, type(error).__name__
    return "written"

logging.getLogger("adaptive_exec").setLevel(logging.CRITICAL)

def kill(number):
    os.kill(os.getpid(), signal.SIGUSR1)

with executor(retries=0, max_tasks_per_worker=3) as pool:
    found = [*pool.map(look, range(12), chunksize=1)]
    assert all(one[0] for one in found)
    assert {one[1] for one in found} == {(signal.SIG_DFL, signal.SIG_IGN)}, found
    assert len({one[2] for one in found}) == 12
    assert {*pool.map(use, [DESCRIPTOR] * 6)} == {(True, "OSError")}
    assert pool.submit(kill, 1).exception() is not None
    assert ways(pool) == [("snapshot", "")], ways(pool)
FILE.close()
del KEPT
sys.stdout.flush()
with open(os.environ["TARGET"]) as file:
    assert file.read() == "written once\\n"
FOLDER.cleanup()
"""

OF_MULTIPROCESSING = """
import multiprocessing, threading

LOCK, QUEUE = None, None

def begin(lock, queue, value):
    global LOCK, QUEUE, VALUE
    LOCK, QUEUE, VALUE = lock, queue, value

def count(number):
    with LOCK:
        before = VALUE.value
        time.sleep(0.001)
        VALUE.value = before + 1
    QUEUE.put(number)
    process = multiprocessing.current_process()
    return process.name, process.pid == os.getpid(), multiprocessing.parent_process().is_alive()

def waits(thread):
    frame = sys._current_frames().get(thread.ident)
    return frame is not None and frame.f_code.co_name == "_recv"

lock, queue, value = multiprocessing.Lock(), multiprocessing.Queue(), multiprocessing.Value("i", 0)
for threads in (0, 1):
    took = []
    settle(2)  # one is the queue's
    if threads:
        listener = threading.Thread(target=lambda: took.extend(queue.get() for _ in range(20)))
        listener.start()
        while not waits(listener):
            time.sleep(0.01)
    with executor(initializer=begin, initargs=(lock, queue, value)) as pool:
        found = [*pool.map(count, range(20))]
        (way, why), = ways(pool)
    assert way == "snapshot", why
    if threads:
        listener.join(60)
    else:
        took = [queue.get(timeout=60) for _ in range(20)]
    assert sorted(took) == [*range(20)]
    assert {one[1:] for one in found} == {(True, True)}, found
    assert all(name.startswith("AdaptiveProcess-") for name, *_ in found)
assert value.value == 40
"""

ARRAYS = """
import numpy as np

A = np.random.default_rng(1).random((300, 300))
B = A @ A
RNG = np.random.default_rng(5)

def same(_):
    return bool(np.allclose(A @ A, B))

def draw(_):
    return float(RNG.random()), float(np.random.random())

for _ in range(5):
    settle()
    with executor() as pool:
        assert all(pool.map(same, range(4)))
        drawn = [*pool.map(draw, range(20), chunksize=1)]
        assert len({*drawn}) == 20 and RNG.bit_generator.state["state"] is not None
        assert ways(pool) == [("snapshot", "")], ways(pool)
    assert np.allclose(A @ A, B)
    A[0, 0] += 1
    B = A @ A
"""

SET_ASIDE = """
import gc
gc.freeze()
for _ in range(2):"""

MANY_OBJECTS = """
OBJECTS = [[number] for number in range(400_000)]  # in 10,000 pages

def read_faults(_):
    with open(f"/proc/{os.getppid()}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[7])  # each has copied a page, or more

with executor() as pool:
    faults = max(pool.map(read_faults, range(8)))
    assert ways(pool) == [("snapshot", "")], ways(pool)
assert faults < 5_000, faults
"""

REFUSED = {
    "a thread": """
import threading
gate = threading.Event()
threading.Thread(target=gate.wait, name="mine", daemon=True).start()
""",
    "a connection of a module": """
import mine, socket
mine.LINKS = [socket.socketpair()]
""",
    "a profiler": """
sys.setprofile(lambda *_: None)
""",
    "CUDA": """
import mmap
with open(os.environ["TARGET"] + "-libcuda.so.1", "wb+") as file:
    file.write(bytes(4096))
    file.flush()
    MAPPED = mmap.mmap(file.fileno(), 4096)
""",
    "MiB": """
class Host:
    pass
from adaptive_exec.levels import snapshots
snapshots.read_own_bytes = lambda: 1 << 50
""",
    "gevent": """
import types
sys.modules["gevent.monkey"] = types.ModuleType("gevent.monkey")
sys.modules["gevent.monkey"].saved = {"socket": {}}
import select
sys.modules["gevent.monkey"].get_original = lambda module, name: getattr(sys.modules[module], name)
""",
}
WHY = {"a thread": "mine", "a connection of a module": "socket:", "a profiler": "profiler"}


@pytest.fixture
def run(tmp_path):
    """Run a program of these parts; return what it printed."""
    (tmp_path / "mine.py").write_text("LEVEL, LINKS = 1, None\n\ndef fresh():\n    return 5\n")
    (tmp_path / "late.py").write_text("def value(number):\n    return number + 4\n")
    target = str(tmp_path / "target")

    def run_program(*parts, words=()):
        script = tmp_path / "program.py"
        script.write_text("".join(textwrap.dedent(part) for part in parts))
        done = subprocess.run(
            [sys.executable, "-W", "error", *words, str(script)],
            env={**os.environ, "TARGET": target},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        assert not done.stderr, done.stderr
        return done.stdout

    return run_program


def test_a_plain_program_is_forked_for_its_workers(run):
    run(HEAD, PLAIN)


def test_what_the_caller_sets_after_the_fork_shows_as_in_a_loop(run):
    run(HEAD, THE_SAME_STATE)


def test_nothing_that_is_the_callers_own_is_used_or_ended_in_workers(run):
    said = run(HEAD, NOTHING_OF_THE_CALLERS).splitlines()
    assert sorted(said) == sorted([
        "printed once", "logged once", "ended", "ended", "finalized", "at exit",
    ])  # fmt: skip


def test_locks_and_queues_of_multiprocessing_go_to_initializers(run):
    run(HEAD, OF_MULTIPROCESSING)


def test_arrays_are_computed_with_before_and_after_a_fork_and_generators_differ(run):
    pytest.importorskip("numpy")
    run(HEAD, ARRAYS)


def test_generators_that_were_set_aside_for_the_garbage_collector_differ_as_well(run):
    pytest.importorskip("numpy")
    run(HEAD, SET_ASIDE.join(ARRAYS.partition("\nfor _ in range(5):")[::2]))


def test_a_fork_copies_nothing_that_nobody_uses(run):
    run(HEAD, "import random", MANY_OBJECTS)


@pytest.mark.parametrize("why", REFUSED)
def test_where_a_fork_is_not_safe_workers_come_of_a_fresh_interpreter(why, run):
    told = run(
        HEAD,
        REFUSED[why],
        """
        with executor() as pool:
            assert [*pool.map(abs, range(8))] == [*range(8)]
        print(*ways(pool))
        """,
    )
    assert "'zygote'" in told, told
    assert WHY.get(why, why) in told, told


def test_a_second_executor_beside_a_first_is_not_forked_beside_its_threads(run):
    run(
        HEAD,
        """
        with executor() as first:
            assert [*first.map(abs, range(8))] == [*range(8)]
            with executor() as second:
                assert [*second.map(abs, range(8))] == [*range(8)]
                ways(second)
        settle()
        with executor() as third:
            assert [*third.map(abs, range(8))] == [*range(8)]
        assert [pool[0][0] for pool in map(ways, (first, second, third))] == [
            "snapshot", "zygote", "snapshot"
        ], [*map(ways, (first, second, third))]
        """,
    )


TWO_HASHES = """
def hashed(word):
    return hash(word)

def rehashed(pool):
    return [
        (one.old, one.new, one.severity) for one in pool.report.decisions
        if one.reason.code == "hashes_differ"
    ]

def lose_snapshot():
    import signal
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        for child in map(int, file.read().split()):
            os.kill(child, signal.SIGKILL)

import logging
logging.getLogger("adaptive_exec").addHandler(logging.NullHandler())
WORDS = ["alpha", "beta"] * 4
"""


@pytest.mark.parametrize("seed", ["random", "7"])
def test_where_a_snapshot_is_lost_it_is_said_that_texts_have_another_hash(seed, run, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", seed)
    told = run(
        HEAD,
        TWO_HASHES,
        """
        with executor() as pool:
            assert [*pool.map(hashed, WORDS)] == [*map(hash, WORDS)]
            assert rehashed(pool) == []
            lose_snapshot()
            for _ in range(100):  # its worker may live on for a moment
                after = [*pool.map(hashed, WORDS)]
                if any(one.reason.code == "starter_lost" for one in pool.report.decisions):
                    after = [*pool.map(hashed, WORDS)]
                    break
                time.sleep(0.05)
        print(after == [*map(hash, WORDS)], *rehashed(pool))
        """,
    ).strip()
    differs = "False ('snapshot', 'zygote', 'warning')"
    assert told == (differs if seed == "random" else "True")


def test_executors_beside_each_other_say_that_texts_have_two_hashes(run, monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    run(
        HEAD,
        TWO_HASHES,
        """
        with executor() as first, executor("fresh") as second:
            assert [*first.map(hashed, WORDS)] == [*map(hash, WORDS)]
            assert [*second.map(hashed, WORDS)] != [*map(hash, WORDS)]
        assert rehashed(first) == []
        assert rehashed(second) == [("snapshot", "zygote", "info")]
        """,
    )


def test_a_snapshot_that_is_asked_for_is_made_beside_threads(run):
    told = run(
        HEAD,
        REFUSED["a thread"],
        """
        with executor("snapshot") as pool:
            assert [*pool.map(abs, range(8))] == [*range(8)]
        print(*ways(pool))
        """,
    )
    assert "'snapshot'" in told
    assert "mine" in told
