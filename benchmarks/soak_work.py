"""The tasks and rounds of `soak.py`: what runs, on which executor, and that each outcome is right.

A round is always the same mix of some 5,000 tasks, so that rounds compare; every result in it is
checked. Tasks are closures made anew in each round, as a notebook's are: what a worker keeps of
them would show.
"""

import contextlib
import itertools
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from soak_readings import children_of

from adaptive_exec import AdaptiveExecutor, PoisonTaskError, adaptive_executor
from adaptive_exec.core.trace import TRACE_LENGTH

HERE = Path(__file__).resolve().parent
KEPT_BYTES = 200_000
"""What each ordinary closure carries."""
BIG_BYTES = 30_000_000
"""What a big closure carries, in every fifth round."""
BIG_RESULT_BYTES = 8_000_000
"""What a big result holds, in every fifth round."""
NEIGHBOUR_ROUNDS = (1, 3)
"""Rounds of every four at which a neighbour comes, and goes."""


class WrongOutcomeError(AssertionError):
    """A task had no outcome, a wrong one, or two."""


def closure(token: int, size: int = KEPT_BYTES) -> Callable[[int], int]:
    """Make a task that computes for some 50 us, and depends on data that came with it."""
    data = token.to_bytes(4, "big") * (size // 4)

    def work(number: int) -> int:
        place = 4 * (number % (len(data) // 4))
        return int.from_bytes(data[place : place + 4], "big") + sum(range(2_000)) + number

    return work


def expected(token: int) -> Callable[[int], int]:
    """Return what says of an input what such a task makes of it."""
    base = token + sum(range(2_000))
    return lambda number: base + number


def square(number: int) -> int:
    return number * number


def exit_at_zero(number: int) -> int:
    if not number:
        os._exit(1)
    return number


def nap(number: int) -> int:
    time.sleep(0.001)
    return -number


def grow(number: int) -> bytes:
    return bytes([number % 251]) * BIG_RESULT_BYTES


class EveryHundredthFails:
    """A task that raises for some inputs."""

    def __call__(self, number: int) -> int:
        if number % 100 == 7:
            message = f"asked for by {number}"
            raise ValueError(message)
        return number + 1


class Exits:
    """A task that ends its worker: one input once, another one always."""

    def __init__(self, folder: Path, once: int, always: int) -> None:
        self._mark = folder / f"exited-{time.monotonic_ns()}"
        self._once = once
        self._always = always

    def __call__(self, number: int) -> int:
        if number == self._always:
            os._exit(3)
        if number == self._once and not self._mark.exists():
            self._mark.touch()
            os._exit(4)
        return 2 * number


def check(what: str, found: object, right: object) -> None:
    if found != right:
        message = f"{what}: wrong outcome, got {str(found)[:300]} for {str(right)[:300]}"
        raise WrongOutcomeError(message)


def map_it(what: str, executor: AdaptiveExecutor, function, count: int, right) -> int:
    check(what, list(executor.map(function, range(count))), [right(one) for one in range(count)])
    return count


def submit_it(what: str, executor: AdaptiveExecutor, function, count: int, right) -> int:
    futures = [executor.submit(function, number) for number in range(count)]
    for number, future in enumerate(futures):
        check(what, future.result(120), right(number))
    return count


def outcomes_it(what: str, executor: AdaptiveExecutor, function, count: int, right) -> int:
    """Run a batch by `outcomes`; a type as right outcome stands for an error of it."""
    seen: set[int] = set()
    for out in executor.outcomes(function, range(count)):
        check(f"{what}: seen twice", out.index in seen, right=False)
        seen.add(out.index)
        check(what, type(out.error) if out.error else out.value, right(out.index))
    check(f"{what}: how many", len(seen), count)
    return count


class Soak:
    """The program: two executors kept for all of it, short ones, and a neighbour.

    Workers of `steady` are left alone, so that they live long and what they keep shows; those of
    `harmed` are recycled, killed by an outsider, and ended by their own tasks.
    """

    def __init__(self, folder: Path) -> None:
        self.tasks = 0
        self.counts = dict.fromkeys(("rounds", "executors", "kills", "exits", "neighbours"), 0)
        self.neighbour_cpu_seconds = 0.0
        self._folder = folder
        self._chooser = random.Random(7)
        self._tokens = itertools.count(1)
        self._neighbour: subprocess.Popen[bytes] | None = None
        self._steady = adaptive_executor(max_workers=2, share_host=False)  # else they come and go
        self._harmed = adaptive_executor(max_workers=2, isolate=True, max_tasks_per_worker=400)
        before = children_of(os.getpid())
        self.tasks += map_it("first", self._harmed, nap, 8, lambda number: -number)
        self._harmed_zygotes = set(children_of(os.getpid())) - set(before)

    @property
    def neighbours(self) -> list[int]:
        return [self._neighbour.pid] if self._neighbour else []

    def fill_traces(self) -> None:
        """Decide so often that the reports of the kept executors hold as much as they ever will.

        A report keeps the newest TRACE_LENGTH decisions, half a MiB, of which rounds make some
        dozens; those about lost workers are the largest.
        """
        while len(self._steady.report.decisions) < TRACE_LENGTH:
            for _ in range(TRACE_LENGTH // 20):
                self.tasks += map_it("fill", self._steady, square, 4, square)
        while len(self._harmed.report.decisions) < TRACE_LENGTH:
            for _ in range(TRACE_LENGTH // 200):
                self.tasks += outcomes_it("fill", self._harmed, exit_at_zero, 4, _poison_or_number)

    def close(self) -> None:
        self._steady.shutdown()
        self._harmed.shutdown()
        if self._neighbour:
            self._end_neighbour()

    def run_round(self) -> None:
        """Run one round: the same mix in each, but for the big ones."""
        turn = self.counts["rounds"]
        self._change_neighbour(turn % 4)
        self._use_steady(turn)
        self._use_harmed()
        self._use_short(turn)
        self.counts["rounds"] += 1

    def _use_steady(self, turn: int) -> None:
        token, executor = next(self._tokens), self._steady
        right = expected(token)
        self.tasks += map_it("tiny map", executor, square, 1_000, square)
        self.tasks += map_it("map", executor, closure(token), 1_000, right)
        self.tasks += submit_it("submit", executor, closure(token), 200, right)
        failing = EveryHundredthFails()
        self.tasks += outcomes_it("outcomes", executor, failing, 600, _right_or_error)
        if turn % 5 == 1:
            big = closure(token, BIG_BYTES)
            self.tasks += map_it("big closure", executor, big, 8, right)
        if turn % 5 == 3:
            self.tasks += map_it("big results", executor, grow, 6, grow)

    def _use_harmed(self) -> None:
        executor, token = self._harmed, next(self._tokens)
        with self._killing():
            self.tasks += map_it("killed", executor, nap, 400, lambda number: -number)
        right = expected(token)
        self.tasks += submit_it("submit, recycled", executor, closure(token), 300, right)
        exits = Exits(self._folder, once=40, always=90)
        poison = {90: PoisonTaskError}
        self.tasks += outcomes_it("exits", executor, exits, 200, lambda n: poison.get(n, 2 * n))
        exits._mark.unlink()  # noqa: SLF001  # made by the task
        self.counts["exits"] += 1

    def _use_short(self, turn: int) -> None:
        for level in ("process", "thread", "sequential"):
            token = next(self._tokens)
            with adaptive_executor(levels=level, max_workers=2) as executor:
                self.tasks += map_it(level, executor, closure(token), 300, expected(token))
            self.counts["executors"] += 1
        self._use_journal("process" if turn % 2 else "auto")

    def _use_journal(self, levels: str) -> None:
        folder = self._folder / f"journal-{next(self._tokens)}"
        folder.mkdir()
        for is_again in (False, True):
            path = folder / "soak.journal"
            with adaptive_executor(levels=levels, max_workers=2, journal=path) as executor:
                self.tasks += map_it("journal", executor, square, 300, square)
                recalled = executor.report.recalled_tasks
            check("recalled", recalled, 300 if is_again else 0)
            self.counts["executors"] += 1
        shutil.rmtree(folder)

    @contextlib.contextmanager
    def _killing(self) -> Iterator[None]:
        """Kill a random worker of the harmed executor while the body runs."""
        timer = threading.Timer(self._chooser.uniform(0.02, 0.2), self._kill_one)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _kill_one(self) -> None:
        workers = [pid for zygote in self._harmed_zygotes for pid in children_of(zygote)]
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._chooser.choice(workers), signal.SIGKILL)
                self.counts["kills"] += 1

    def _change_neighbour(self, turn: int) -> None:
        come, go = NEIGHBOUR_ROUNDS
        if turn == come and self._neighbour is None:
            self._neighbour = subprocess.Popen([sys.executable, __file__], cwd=HERE)
            self.counts["neighbours"] += 1
        elif turn == go and self._neighbour:
            self._end_neighbour()

    def _end_neighbour(self) -> None:
        """End it, by turns with a signal that it hears and with one that it does not."""
        neighbour, self._neighbour = self._neighbour, None
        os.kill(neighbour.pid, (signal.SIGINT, signal.SIGKILL)[self.counts["neighbours"] % 2])
        _, _, used = os.wait4(neighbour.pid, 0)
        neighbour.returncode = 0
        self.neighbour_cpu_seconds += used.ru_utime + used.ru_stime


def _poison_or_number(number: int) -> object:
    return number or PoisonTaskError


def _right_or_error(number: int) -> object:
    return ValueError if number % 100 == 7 else number + 1


def be_neighbour() -> None:
    """Work on an executor of one's own until a signal comes, half of the time at rest."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    with contextlib.suppress(KeyboardInterrupt), adaptive_executor(max_workers=2) as executor:
        while True:
            token = time.monotonic_ns() % 1_000_000
            map_it("neighbour", executor, closure(token), 500, expected(token))
            time.sleep(0.3)


if __name__ == "__main__":
    logging.getLogger("adaptive_exec").addHandler(logging.NullHandler())
    be_neighbour()
