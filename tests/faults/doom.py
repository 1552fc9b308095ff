"""Tasks that end their worker, and ways to run a batch with them in it."""

import faulthandler
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

from tests.levels import work

CAUSES: Final = {"exit": "exit 3", "segfault": "signal 11", "abort": "signal 6", "kill": "signal 9"}
"""Ways in which a task ends its worker, and the cause that is to be named."""
WAYS: Final = ("map", "map_unordered", "outcomes", "submit")


def end_worker(how):
    """End this process at once, one of several ways."""
    match how:
        case "exit":
            os._exit(3)
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "real segfault":
            faulthandler._sigsegv()
        case "abort":
            os.abort()
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "system exit in a thread":
            threading.Thread(target=os._exit, args=(3,)).start()
            work.wait_for("/nonexistent")
    sys.exit(f"{how} did not end the worker")


class Doom:
    """A task that notes each execution and ends its worker on some inputs.

    Args:
        log: Where executions are noted.
        fates: How to end on which input.
        once: True to end on the first execution only.
    """

    def __init__(self, log, fates, *, once=False):
        self.log = str(log)
        self.fates = fates
        self.once = once

    def __call__(self, number):
        before = work.executions(self.log, number) if number in self.fates else 0
        work.note(self.log, number)
        if number in self.fates and not (self.once and before):
            end_worker(self.fates[number])
        return number


class Gated:
    """A task that notes its process and waits for a gate."""

    def __init__(self, log, gate, held):
        self.log = str(log)
        self.gate = str(gate)
        self.held = frozenset(held)

    def __call__(self, number):
        work.note(self.log, number)
        if number in self.held:
            work.wait_for(self.gate)
        else:
            time.sleep(0.001)  # longer than finished results may be held back
        return number


def worker_of(log, number):
    """Return the process that last began a task, None while none has."""
    lines = Path(log).read_text().splitlines() if Path(log).exists() else []
    pids = [int(line.split()[1]) for line in lines if line.split()[0] == str(number)]
    return pids[-1] if pids else None


def outcomes_of(executor, way, function, items):
    """Run a batch one of four ways; return value or exception by input, which is a number."""
    items = list(items)
    if way == "outcomes":
        found = {items[out.index]: out for out in executor.outcomes(function, items)}
        return {item: out.error or out.value for item, out in found.items()}
    if way == "submit":
        futures = {item: executor.submit(function, item) for item in items}
        return {item: future.exception(150) or future.result() for item, future in futures.items()}
    return _collected(getattr(executor, way)(function, items), items, ordered=way == "map")


def _collected(results, items, *, ordered):
    found = {}
    while True:
        try:
            value = next(results)
        except StopIteration:
            return found
        except Exception as error:
            value = error
        if ordered:
            found[items[len(found)]] = value
        else:
            found[items[value.index] if isinstance(value, Exception) else value] = value
