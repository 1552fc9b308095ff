"""Run tasks with a journal until killed: `journaled.py FOLDER NAME SEED TASKS`.

Each task notes in `ran` that it was run to its end; each outcome that the caller has is noted in
`seen-NAME`. Both by one write to a file opened for appending, so that no line is lost or torn.
"""

import os
import random
import sys
import time
from pathlib import Path

from adaptive_exec import adaptive_executor


def append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def work(item: tuple[str, int]) -> int:
    folder, number = item
    time.sleep(0.001 * (number % 7))
    append(Path(folder) / "ran", str(number))
    return number * number


def main() -> None:
    from tests.faults.scripts.journaled import work  # known by the name that the test knows, too

    folder, name, seed, tasks = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    numbers = list(range(tasks))
    random.Random(seed).shuffle(numbers)  # the order of the input may change
    items = [(folder, number) for number in numbers]
    path = Path(folder) / "run.journal"
    with adaptive_executor(journal=path, levels="process", max_workers=2) as executor:
        print("begun", flush=True)
        for outcome in executor.outcomes(work, items):
            assert outcome.value == numbers[outcome.index] ** 2
            append(Path(folder) / f"seen-{name}", str(numbers[outcome.index]))
        print(executor.report.tasks, executor.report.recalled_tasks, flush=True)


if __name__ == "__main__":
    main()
