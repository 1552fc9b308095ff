"""Run one batch and say, as one line of JSON, what came of it. The log goes to stderr.

Arguments: way (map, map_unordered, outcomes, submit), settings as JSON, tasks, megabytes of address
space to leave (0 for no such limit), and who cannot fork (nobody, parent, zygote).
"""

import json
import logging
import os
import resource
import sys
import threading
import time
from pathlib import Path

from plain_tasks import UnforkableAtLoading, import_unforkable, nap

from adaptive_exec import adaptive_executor


def function_for(unforkable):
    """Return the batch's function, and make this process unable to fork where it shall be."""
    if unforkable == "zygote":
        return UnforkableAtLoading()
    return import_unforkable() if unforkable == "parent" else nap


def run(executor, way, function, count):
    """Return the sorted values, and the names of the errors."""
    if way == "submit":
        futures = [executor.submit(function, number) for number in range(count)]
        return [future.result(140) for future in futures], []
    if way == "outcomes":
        found = list(executor.outcomes(function, range(count)))
        errors = [type(outcome.error).__name__ for outcome in found if outcome.error is not None]
        return sorted(outcome.value for outcome in found if outcome.error is None), errors
    return sorted(getattr(executor, way)(function, range(count))), []


def leave_address_space(megabytes):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main():
    way, settings, count, megabytes = sys.argv[1], json.loads(sys.argv[2]), *map(int, sys.argv[3:5])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if megabytes:
        leave_address_space(megabytes)
    function = function_for(sys.argv[5])
    before = time.monotonic()
    with adaptive_executor(**settings) as executor:
        results, errors = run(executor, way, function, count)
        report = executor.report
        levels = list(executor._driver.trace.levels)
    print(
        json.dumps({
            "right": results == list(range(count)),
            "errors": errors,
            "levels": levels,
            "workers": report.workers,
            "seconds": time.monotonic() - before,
            "threads": threading.active_count(),
            "report": str(report),
        }),
        flush=True,
    )


main()
