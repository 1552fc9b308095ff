"""Run a batch of tasks that take memory in known ways; say as JSON what became of it.

Arguments: way of taking it (hold, leak, creep, start), tasks as JSON ([MB, seconds] each, for creep
also a folder, and how many take nothing), settings as JSON; `hang` among them: seconds for which
code of the user's hangs wherever that can be; `chunksize` too.
"""

import contextlib
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

from adaptive_exec import adaptive_executor
from adaptive_exec.host.survey import take_snapshot

MB = 10**6
MEET_SECONDS = 60
kept = []


def hold(task):
    megabytes, seconds = task
    block = bytearray(b"x") * (megabytes * MB)
    time.sleep(seconds)
    return len(block)


def leak(task):
    megabytes, seconds = task
    kept.append(bytearray(b"x") * (megabytes * MB))
    time.sleep(seconds)
    return megabytes


def creep(task):
    """Take memory slowly, beside another one, and wait where nearly none is left.

    The first few take next to nothing, and all look alike, so that nobody knows it beforehand.
    Whoever looks now and then sees it coming; who is held up for longer than the rest would last
    finds all as it was, and not the kernel's killer first.
    """
    megabytes, seconds, folder, few = task
    if begin(Path(folder)) < few:
        return len(bytearray(b"x") * (2 * MB))
    wait_for(Path(folder) / str(few + 1))
    blocks = []
    for _ in range(megabytes // 2):
        while is_nearly_full():
            time.sleep(0.01)
        blocks.append(bytearray(b"x") * (2 * MB))
        time.sleep(seconds)
    return len(blocks)


def begin(folder):
    """Return how many have begun before."""
    for number in itertools.count():
        with contextlib.suppress(FileExistsError):
            (folder / str(number)).touch(exist_ok=False)
            return number
    raise AssertionError


def wait_for(path):
    end = time.monotonic() + MEET_SECONDS
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


def is_nearly_full():
    """Say whether less is left than at the critical mark, which is 8 %, by some steps of all."""
    host = take_snapshot()
    return host.available_bytes < 0.05 * host.limit_bytes


def start(task):
    """Have another program take memory."""
    megabytes, seconds = task
    code = f"import time; block = bytearray(b'x') * {megabytes * MB}; time.sleep({seconds})"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
    return megabytes


class Hanging:
    """A result that hangs when it is unpacked, in the parent alone."""

    parent, seconds = os.getpid(), 0.0

    def __init__(self, parent):
        self.parent = parent

    def __setstate__(self, state):
        if os.getpid() == state["parent"]:
            time.sleep(Hanging.seconds)


def hang_everywhere(executor, seconds):
    Hanging.seconds = seconds
    future, other = executor.submit(Hanging, os.getpid()), executor.submit(abs, -1)
    # Of a call that has ended by now it would hang here.
    add = partial(other.add_done_callback, lambda _: time.sleep(seconds))
    threading.Thread(target=add, daemon=True).start()
    return future


def main():
    way, tasks, settings = globals()[sys.argv[1]], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    print("ready", flush=True)
    seconds, chunksize = settings.pop("hang", 0), settings.pop("chunksize", None)
    if seconds:
        settings["on_event"] = lambda _: time.sleep(seconds)
    with adaptive_executor(**{"isolate": True, "share_host": False, **settings}) as executor:
        if seconds:
            hang_everywhere(executor, seconds)
        outcomes = list(executor.outcomes(way, map(tuple, tasks), chunksize=chunksize))
        report = executor.report
        if seconds:
            say(outcomes, report)
            os._exit(0)  # to leave would wait for what hangs, as it must
    say(outcomes, report)


def say(outcomes, report):
    said = {
        "right": sum(outcome.error is None for outcome in outcomes),
        "errors": [type(outcome.error).__name__ for outcome in outcomes if outcome.error],
        "codes": [str(decision.reason.code) for decision in report.decisions],
        "events": [decision.event for decision in report.decisions],
        "leaks": [decision.reason.fact("leak") for decision in report.decisions],
        "window": report.window,
        "peak": report.peak_task_bytes,
        "peaks": [outcome.peak_bytes for outcome in outcomes],
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
