"""Whatever ends the parent, a second later nothing that it started runs any more."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.levels.ladder import LEVELS, settings_at
from tests.levels.leaks import eventually, is_alive

SCRIPTS: Final = Path(__file__).with_name("scripts")
GONE_SECONDS: Final = 10.0
EXIT_SECONDS: Final = 10.0
"""Seconds. One is asked of both; this host may be busy, and `benchmarks/kills.py` measures."""

STATES = {
    "busy": "results = executor.map(beat, range(4)); say(); list(results)",
    "busy with submits": """
futures = [executor.submit(beat, number) for number in range(4)]
say()
futures[0].result()
""",
    "having forked a child before the executor was used": """
if os.fork() == 0:
    time.sleep(60)
    os._exit(0)
results = executor.map(beat, range(4))
say()
list(results)
""",
    "having forked a child since": """
list(executor.map(abs, range(4)))
results = executor.map(beat, range(4))
if os.fork() == 0:
    time.sleep(60)
    os._exit(0)
say()
list(results)
""",
    "after the thread that began the batch has ended": """
box = []
thread = threading.Thread(target=lambda: box.append(executor.map(beat, range(4))))
thread.start()
thread.join()
say()
list(box[0])
""",
    "after the thread that made the executor has ended": """
box = []
def begin():
    mine = adaptive_executor(levels=("process",), max_workers=2, start=START)
    list(mine.map(abs, range(4)))
    box.append(mine)
thread = threading.Thread(target=begin)
thread.start()
thread.join()
results = box[0].map(beat, range(4))
say()
list(results)
""",
    "with a nested executor": """
results = executor.map(nest, range(2))
say()
list(results)
""",
}


def start(folder, state, way="fresh"):
    """Start a parent whose workers come one of two ways."""
    command = [sys.executable, "-B", str(SCRIPTS / "beating_parent.py"), str(folder), way, state]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def family_of(folder):
    """Return the processes that tasks and what they started wrote of."""
    lines = [path.read_text() for path in folder.glob("pids-*")]
    return {int(word) for line in lines for word in line.split()}


def beats_of(folder):
    return sum(path.stat().st_size for path in folder.glob("beats-*"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("way", ["fresh", "snapshot", pytest.param("loky", marks=pytest.mark.slow)])
@pytest.mark.parametrize("state", STATES)
def test_a_killed_parent_leaves_nothing_running(state, way, number, tmp_path):
    with start(tmp_path, STATES[state], way) as parent:
        assert parent.stdout.readline() == "ready\n"
        assert eventually(lambda: len(list(tmp_path.glob("pids-*"))) == 2)
        family = family_of(tmp_path)
        os.kill(parent.pid, number)
        ended = time.monotonic()
        parent.wait(60)
        assert eventually(lambda: not any(map(is_alive, family)), seconds=GONE_SECONDS)
        assert time.monotonic() - ended < GONE_SECONDS
        beats = beats_of(tmp_path)
        assert not eventually(lambda: beats_of(tmp_path) != beats, seconds=0.2)
        _end_children_of(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_parent_killed_while_the_zygote_loads_leaves_nothing_running(number, tmp_path):
    state = "say(); list(executor.map(LoadsForEver(), range(4)))"
    with start(tmp_path, state) as parent:
        assert parent.stdout.readline() == "ready\n"
        assert eventually(lambda: family_of(tmp_path))
        family = family_of(tmp_path)
        assert len(family) == 2  # the zygote, and what the loading had started
        assert family <= {one.pid for one in psutil.Process(parent.pid).children(recursive=True)}
        os.kill(parent.pid, number)
        parent.wait(60)
        assert eventually(lambda: not any(map(is_alive, family)), seconds=GONE_SECONDS)


@pytest.mark.parametrize("way", ["os._exit(4)", "os.abort()", "faulthandler._sigsegv()"])
def test_a_parent_that_ends_itself_leaves_nothing_running(way, tmp_path):
    state = f"results = executor.map(beat, range(4)); wait_for_beats(); say(); {way}"
    with start(tmp_path, state) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.wait(60)
        family = family_of(tmp_path)
        assert len(family) == 4
        assert eventually(lambda: not any(map(is_alive, family)), seconds=GONE_SECONDS)


INTERRUPTED = {
    "map": "for _ in executor.map(nap, range(1000)): pass",
    "map of long tasks": "list(executor.map(time.sleep, [1000] * 4))",
    "map_unordered": "list(executor.map_unordered(nap, iter(range(1000))))",
    "outcomes": "list(executor.outcomes(nap, range(1000)))",
    "submit": "[future.result() for future in [executor.submit(nap, n) for n in range(1000)]]",
    "shutdown": "executor.map(nap, range(1000)); executor.shutdown()",
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("context", ["with executor:", "if True:"], ids=["with", "bare"])
@pytest.mark.parametrize("call", INTERRUPTED)
def test_an_interrupt_ends_the_program_within_a_second_and_leaves_nothing(
    level, context, call, tmp_path
):
    state = f"""
executor = adaptive_executor(max_workers=2, **{settings_at(level)!r})
{context}
    say_when_it_runs(executor)
    {INTERRUPTED[call]}
"""
    with start(tmp_path, state) as parent:
        assert parent.stdout.readline() == "ready\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        os.kill(parent.pid, signal.SIGINT)
        sent = time.monotonic()
        _, said = parent.communicate(timeout=60)
        took = time.monotonic() - sent
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert said.count("Traceback") == 1 or "During handling" in said
    assert parent.returncode == -signal.SIGINT
    assert took < EXIT_SECONDS
    assert eventually(
        lambda: not any(is_alive(process.pid) for process in family), seconds=GONE_SECONDS
    )


def _end_children_of(folder):
    """End the children that a script forked on purpose: they are not the library's to end."""
    for process in psutil.process_iter(["cmdline"]):
        if str(folder) in (process.info["cmdline"] or []):
            process.kill()
