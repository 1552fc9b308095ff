"""Run a batch in which some tasks outgrow any limit; say as JSON what became of each.

Arguments: way (outcomes, submit, map), number of tasks, and those that outgrow, as JSON.
"""

import json
import logging
import os
import sys
import time
from pathlib import Path

from adaptive_exec import adaptive_executor


class Hungry:
    def __init__(self, log, greedy):
        self.log = log
        self.greedy = greedy

    def __call__(self, number):
        with Path(self.log).open("a") as file:
            file.write(f"{number} {os.getpid()}\n")
        held = []
        while number in self.greedy:
            held.append(bytearray(os.urandom(4096)) * 2048)
        time.sleep(0.01)
        return number


def main():
    log, way, count, greedy = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    task = Hungry(log, greedy)
    found = {}
    with adaptive_executor(levels=("process",), max_workers=2) as executor:
        if way == "submit":
            futures = [executor.submit(task, number) for number in range(count)]
            found = {n: future.exception() or future.result() for n, future in enumerate(futures)}
        else:
            outcomes = executor.outcomes(task, range(count))
            found = {outcome.index: outcome.error or outcome.value for outcome in outcomes}
    errors = {n: item for n, item in found.items() if isinstance(item, BaseException)}
    said = {
        "right": sorted(item for item in found.values() if not isinstance(item, BaseException)),
        "errors": {
            n: [type(e).__name__, e.cause, e.attempts, e.peak_bytes, e.limit_bytes]
            for n, e in errors.items()
        },
        "pid": os.getpid(),
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
