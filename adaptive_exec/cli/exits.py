"""How a run ends: exit codes, signals and the deadline, and lines that outlive a closed pipe."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, NoReturn

from adaptive_exec.display import note

ALL_HAVE_VALUES: Final = 0
"""Exit code. Source: as every command."""
SOME_FAILED: Final = 1
"""Exit code."""
USAGE: Final = 2
"""Exit code. Source: as argparse and most commands."""
NO_OUTCOME: Final = 3
"""Exit code."""
DEADLINE: Final = 124
"""Exit code. Source: timeout(1)."""
INTERRUPT: Final = 130
"""Exit code. Source: as shells report SIGINT, 128 and its number."""
TERMINATED: Final = 143
"""Exit code. Source: as shells report SIGTERM, 128 and its number."""

LOST: Final[list[str]] = []
"""Why lines for standard output were lost, at most once: a command that lost some does not end with
0."""
SECOND_SIGNAL_SECONDS: Final = 1.0
"""Seconds after a first stop before a second one ends the process at once; a terminal may send both
at a time."""

TIMER_SECONDS_MIN: Final = 0.001
"""Seconds; a timer of none would never end."""
_ALARM: Final = getattr(signal, "SIGALRM", None)
_CODES: Final[dict[int, int]] = {
    getattr(signal, name): code
    for name, code in (
        ("SIGINT", INTERRUPT),
        ("SIGTERM", TERMINATED),
        ("SIGUSR1", DEADLINE),
        ("SIGALRM", DEADLINE),
    )
    if hasattr(signal, name)
}


class Stopped(KeyboardInterrupt):
    """A run shall stop: by Ctrl-C, by termination or by its deadline.

    Attributes:
        code: The exit code that follows.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


class Deadline:
    """The end of a command's time, and what is to be done at it.

    Attributes:
        let_finish: Called when the time is over, to take nothing more on; None where nothing runs
            that could be let finish.
        is_over: True once the time is over.
        code: The exit code that follows where it leaves tasks without a begin.
    """

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self.let_finish: Callable[[], None] | None = None
        self.is_over = False
        self.code = DEADLINE

    def reach(self, code: int) -> bool:
        """Note that the time is over; say whether what runs is let finish.

        Args:
            code: The exit code that follows.

        Returns:
            False where nothing runs, or there is no time for what does.
        """
        if self.is_over or self.let_finish is None or not self._grace_seconds:
            return False
        self.is_over = True
        self.code = code
        signal.setitimer(signal.ITIMER_REAL, self._grace_seconds)
        _say_at_once(f"no more tasks are begun; what runs has {self._grace_seconds:g} s")
        self.let_finish()
        return True


@contextlib.contextmanager
def stops(deadline_seconds: float | None, grace_seconds: float = 0.0) -> Iterator[Deadline]:
    """Turn signals and the deadline into `Stopped`, in the main thread, once.

    SIGINT is taken even where a shell started this process with SIGINT ignored (as it does with `&`
    in a script): whoever sends it wants the run to stop.

    SIGTERM, SIGUSR1 (with which Slurm warns) and the deadline let what runs finish in the grace,
    and what comes after the first of them stops it, as SIGINT always does.

    Args:
        deadline_seconds: Seconds until the run takes nothing more on; None is never.
        grace_seconds: Seconds from then until what still runs is stopped.

    Yields:
        The deadline, to be told what to do when it comes.
    """
    first: list[float] = []
    deadline = Deadline(grace_seconds)

    def stop(number: int, _frame: FrameType | None) -> None:
        code = _CODES[number]
        if number == _ALARM and deadline.is_over:
            code = deadline.code
        if not first and number != signal.SIGINT and deadline.reach(code):
            asked.append(time.monotonic())
            return
        if number != _ALARM and asked and time.monotonic() - asked[-1] < SECOND_SIGNAL_SECONDS:
            return
        if not first:
            first.append(time.monotonic())
            raise Stopped(code)
        if number != _ALARM and time.monotonic() - first[0] > SECOND_SIGNAL_SECONDS:
            os._exit(code)  # the workers end with this process

    asked: list[float] = []
    before = {number: signal.signal(number, stop) for number in _CODES}
    if deadline_seconds is not None:
        signal.setitimer(signal.ITIMER_REAL, max(deadline_seconds, TIMER_SECONDS_MIN))
    try:
        yield deadline
    finally:
        _restore(before)


def _say_at_once(line: str) -> None:
    """Write a line from a signal's handler, which may have come amid another line's writing."""
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"{line}\n".encode())


def _restore(before: dict[int, Any]) -> None:
    if _ALARM in before:
        signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """End the process now: a thread that runs a task can not be stopped, and would be waited for.

    Args:
        code: The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def say(line: str) -> None:
    """Write a line to standard output; where that cannot be written, the run goes on without."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError as error:
        lose_output()
        if not isinstance(error, BrokenPipeError):  # a reader that has gone away wants no more
            LOST.append(str(error))
            note(f"adaptive-exec: standard output cannot be written ({error}); going on without it")


def lose_output() -> None:
    """Do without standard output from here on, since it cannot be written."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
