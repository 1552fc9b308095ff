"""A batch in which some tasks fail: `outcomes` tells of each task and never raises for one.

Run it with `python examples/failures.py`.
"""

import os
import signal

from adaptive_exec import PoisonTaskError, adaptive_executor


def work(number: int) -> int:
    if number == 3:
        message = f"cannot handle {number}"
        raise ValueError(message)
    if number == 5:
        os.kill(os.getpid(), signal.SIGSEGV)  # as a faulty C extension would
    return number * number


with adaptive_executor(tasks=8, isolate=True, retries=1) as executor:
    for outcome in sorted(executor.outcomes(work, range(8)), key=lambda outcome: outcome.index):
        if outcome.error is None:
            print(f"task {outcome.index}: {outcome.value}")
        elif isinstance(outcome.error, PoisonTaskError):
            print(f"task {outcome.index}: killed its worker {outcome.attempts} times")
        else:
            print(f"task {outcome.index}: {outcome.error!r}")
