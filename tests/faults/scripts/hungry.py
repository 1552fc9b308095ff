"""Run a batch in which some tasks end their worker; say as JSON what became of each.

Arguments: a file to note executions in, way (map, map_unordered, outcomes, submit), how workers
start, number of tasks, and as JSON how which tasks end their worker: memory, exit, segfault.
"""

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from adaptive_exec import adaptive_executor


class Doomed:
    def __init__(self, log, fates):
        self.log = log
        self.fates = fates

    def __call__(self, number):
        with Path(self.log).open("a") as file:
            file.write(f"{number} {os.getpid()}\n")
        match self.fates.get(str(number)):
            case "memory":
                held = []
                while True:
                    held.append(bytearray(os.urandom(4096)) * 2048)
            case "exit":
                os._exit(3)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(0.01)
        return number


def collected(results, *, ordered):
    """Walk an iterator past every exception; return value or exception by task."""
    found = {}
    while True:
        try:
            value = next(results)
        except StopIteration:
            return found
        except Exception as error:
            index = len(found) if ordered else error.index
            value = error
        else:
            index = len(found) if ordered else value
        found[index] = value


def run(executor, way, task, count):
    if way == "submit":
        futures = [executor.submit(task, number) for number in range(count)]
        return {n: future.exception() or future.result() for n, future in enumerate(futures)}
    if way == "outcomes":
        outcomes = executor.outcomes(task, range(count))
        return {outcome.index: outcome.error or outcome.value for outcome in outcomes}
    return collected(getattr(executor, way)(task, range(count)), ordered=way == "map")


def main():
    log, way, start, count, fates = *sys.argv[1:4], int(sys.argv[4]), json.loads(sys.argv[5])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    with adaptive_executor(levels=("process",), max_workers=2, start=start) as executor:
        found = run(executor, way, Doomed(log, fates), count)
    errors = {n: item for n, item in found.items() if isinstance(item, BaseException)}
    said = {
        "right": sorted(item for item in found.values() if not isinstance(item, BaseException)),
        "errors": {
            n: [type(e).__name__, e.index, e.cause, e.attempts, e.peak_bytes, e.limit_bytes]
            for n, e in errors.items()
        },
        "pid": os.getpid(),
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
