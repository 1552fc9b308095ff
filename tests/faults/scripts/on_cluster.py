"""Runs a batch on a cluster and here, and says what became of it, as JSON.

Arguments: the address, the tasks, the milliseconds of each, the file that each run of a task adds
a line to, and settings as JSON. Writes "there" into `<file>.there` once tasks run on the cluster.
"""

import json
import os
import sys
import time
from pathlib import Path

from adaptive_exec import adaptive_executor

ADDRESS, TASKS, MILLISECONDS, BOOK, SETTINGS = sys.argv[1:]
BAD = -1


def work(number: int, book: str = BOOK, pause: float = int(MILLISECONDS) / 1000) -> int:
    line = os.open(book, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, f"{number} {os.getpid()}\n".encode())
    os.close(line)
    time.sleep(pause)
    if number == BAD:
        os.kill(os.getpid(), 9)
    return number * number


if __name__ == "__main__":
    given = {"max_workers": 2, "share_host": False, **json.loads(SETTINGS)}
    poison = given.pop("poison", None)
    numbers = [BAD if number == poison else number for number in range(int(TASKS))]
    begun = time.monotonic()
    outcomes = []
    with adaptive_executor(tasks=numbers, cluster=ADDRESS, **given) as executor:
        for outcome in executor.outcomes(work, numbers):
            outcomes.append(outcome)
            if outcome.level == "cluster" and outcome.attempts == 1:
                Path(BOOK + ".there").write_text(outcome.level)
        seconds = time.monotonic() - begun
        decisions = executor.report.decisions
    print(
        json.dumps({
            "seconds": seconds,
            "values": {one.index: one.value for one in outcomes if one.error is None},
            "errors": {one.index: type(one.error).__name__ for one in outcomes if one.error},
            "ended": sorted(one.index for one in outcomes),
            "there": sum(one.level == "cluster" for one in outcomes),
            "codes": [str(one.reason.code) for one in decisions],
            "events": [one.event for one in decisions],
            "pid": os.getpid(),
        })
    )
