"""Prints how many of our functions and files one call passes in the caller's process, some times.

A program of its own: what else is loaded is looked at by each call, too.
"""

import json
import sys
import threading
import time

from adaptive_exec import adaptive_executor
from tests.architecture.house import PACKAGE, ROOT

HOME = f"{ROOT / PACKAGE}/"
TRIES = 60
"""The least of so many counts: in some the host is looked at, too."""


class Walk:
    def __init__(self):
        self.is_on = False
        self.passed = []

    def see(self, frame, event, _argument):
        if self.is_on and event == "call" and frame.f_code.co_filename.startswith(HOME):
            self.passed.append((frame.f_code.co_filename, frame.f_code.co_name))

    def take(self, step):
        self.passed.clear()
        self.is_on = True
        sys.setprofile(self.see)
        try:
            step()
        finally:
            sys.setprofile(None)
        time.sleep(0.005)  # the rest, in the thread that drives
        self.is_on = False
        functions = set(self.passed)
        return len(functions), len({file for file, _ in functions}), len(self.passed)


def main() -> None:
    walk = Walk()
    threading.setprofile(walk.see)
    with adaptive_executor(max_workers=2, isolate=True, share_host=False) as executor:
        for _ in range(20):
            list(executor.map(abs, [1]))
        walks = [walk.take(lambda: list(executor.map(abs, [1]))) for _ in range(TRIES)]
    print(json.dumps(walks))


if __name__ == "__main__":
    main()
