"""A parent whose tasks beat: each writes its process ids once, then a byte every few milliseconds.

Arguments: a folder, how workers start, and the code to run; it may use what is defined here.
"""

import faulthandler  # noqa: F401  # the code that is given may use it
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from adaptive_exec import adaptive_executor

# A module with named tuples that another thread loads while an interrupt ends the program has
# CPython forget by what it is ended, and the exit code is 1.
from adaptive_exec.ledger import leases  # noqa: F401

FOLDER = Path(sys.argv[1])
START = sys.argv[2]
STARTED = FOLDER / "started"


def say():
    print("ready", flush=True)


def write_pids(folder, *pids):
    draft = folder / f"draft-{os.getpid()}"
    draft.write_text(" ".join(map(str, pids)))
    draft.rename(folder / f"pids-{os.getpid()}")


def beat(number, *, folder=FOLDER):
    sleeper = subprocess.Popen(["sleep", "1000"])
    write_pids(folder, os.getpid(), sleeper.pid)
    with (folder / f"beats-{os.getpid()}").open("ab", buffering=0) as file:
        while True:
            file.write(b".")
            time.sleep(0.005)


def nest(number, *, folder=FOLDER, start=START):
    with adaptive_executor(levels=("process",), max_workers=1, start=start) as executor:
        executor.submit(beat, number, folder=folder).result()


def nap(number):
    time.sleep(0.02)
    return number


class LoadsForEver:
    def __call__(self, item):
        return item

    def __reduce__(self):
        return load_for_ever, (FOLDER,)


def load_for_ever(folder):
    child = subprocess.Popen(["sleep", "1000"])
    write_pids(folder, os.getpid(), child.pid)
    time.sleep(1000)


def wait_for_beats():
    while len(list(FOLDER.glob("beats-*"))) < 2:
        time.sleep(0.005)


def say_when_it_runs(executor):
    """Say ready from another thread, once there is work for the main thread to wait for."""

    def watch():
        while not executor.progress_now().in_flight:
            time.sleep(0.005)
        say()

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    executor = adaptive_executor(levels=("process",), share_host=False, max_workers=2, start=START)
    exec(sys.argv[3])
