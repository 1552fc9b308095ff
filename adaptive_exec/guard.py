"""The memory verdicts for a loop of one's own: say when memory gets tight, stop before it is gone.

`MemoryGuard` reads the host as the executor does and asks the same pure policy. It acts on nothing
but its caller: a line in the log, an exception, a wait.
"""

import gc
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from numbers import Real
from typing import Final

from adaptive_exec.config import GIB, Config, Size, parse_size
from adaptive_exec.core.memory.governor import CALM, Verdict, judge_memory
from adaptive_exec.core.reason import Decision, Reason, because
from adaptive_exec.core.report import describe
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.errors import MemoryPressureError
from adaptive_exec.host.reading import OpenFiles
from adaptive_exec.host.survey import take_snapshot
from adaptive_exec.log import LOGGER, as_event

GUARD_LINE_SECONDS: Final = 30.0
"""Seconds between two warnings of a `MemoryGuard`. Source: the trials system's monitor."""


class MemoryGuard:
    """Watches memory for a loop of your own.

    The marks are sizes of what is still *available*, to the container where there is one, not of
    what is in use as in the executor's settings. One guard may serve several threads.

    Args:
        warn: Size of available memory under which `check` logs a warning, at most once in 30 s. A
            number up to 1 is a fraction of the limit, above 1 to 100 a percentage, else bytes;
            text like `"4GiB"`, `"20%"`. None means the smaller of 4 GiB and 20 % of the limit.
        critical: Size of available memory under which `check` raises, in the same forms. None means
            the smaller of 2 GiB and 8 % of the limit.
        look: Reads the host; the default is what the executor uses.

    Raises:
        ValueError: A mark is no size, or `warn` is not above `critical`.
        TypeError: A mark is neither number nor text.

    >>> guard = MemoryGuard(warn="2MiB", critical="1MiB")
    >>> for split in range(5):
    ...     guard.check(f"split {split + 1}/5")
    """

    def __init__(
        self,
        warn: Size | None = None,
        critical: Size | None = None,
        *,
        look: Callable[[], HostSnapshot] = take_snapshot,
    ) -> None:
        _check_marks(warn, critical)
        self._warn = warn
        self._critical = critical
        self._look = look
        self._turn = threading.RLock()  # a finalizer in a collection may check too
        self._verdict: Verdict = CALM
        self._config = Config()
        self._config_limit_bytes: int | None = None
        self._said_at = float("-inf")
        self._held_back = 0
        self._files = OpenFiles()
        self._pid = os.getpid()
        weakref.finalize(self, self._files.close).atexit = False

    def check(self, where: str = "") -> None:
        """Look at memory: log a warning when it gets tight, raise before it is gone.

        Args:
            where: What the caller is doing, for the log and the error, e.g. `"split 3/5"`.

        Raises:
            MemoryPressureError: Less than the critical mark is available, also in a second look
                after a collection of garbage.
        """
        with self._turn:
            host = self._read()
            verdict = self._judge(host, 0)
            if verdict.pressure == "critical":
                # An exception's traceback keeps the locals of the loop it ended in a circle (seen
                # with pruned Optuna trials); so collect, and look again before raising.
                gc.collect()
                host = self._read()
                verdict = self._judge(host, 0)
            old, self._verdict = self._verdict, verdict
            if verdict.pressure == "warn":
                self._say_tight(where, old.pressure, verdict, host.taken_at)
        if verdict.pressure == "critical":
            raise _brake(where, verdict.reason, host)

    def wait_for_room(self, task_memory: Size, patience: float = 60.0, *, where: str = "") -> float:
        """Pause until a task of a known size fits without getting below the critical mark.

        Args:
            task_memory: Size the task will take, in the same forms as the marks.
            patience: Seconds to wait at most, 0 or more.
            where: What the caller is doing, for the log and the error.

        Returns:
            Seconds waited, 0.0 if there was room at once.

        Raises:
            MemoryPressureError: There was no room in all that time, or the task is larger than
                the limit leaves even when nothing else runs.
            ValueError: `task_memory` is no size, or `patience` is negative.
        """
        _check_patience(patience)
        began = time.monotonic()
        is_first = True
        while True:
            with self._turn:
                host = self._read()
                needed = parse_size("task_memory", task_memory, limit_bytes=host.limit_bytes)
                verdict = self._judge(host, needed)
            waited = time.monotonic() - began
            if verdict.pressure != "critical":
                return 0.0 if is_first else waited
            reason = because(
                verdict.reason.code,
                needed=needed,
                available=host.available_bytes,
                critical=_critical(verdict.reason),
                limit=host.limit_bytes,
            )
            if waited >= patience or host.limit_bytes - needed < _critical(reason):
                raise _give_up(where, reason, host)
            if is_first:
                self._say_waiting(where, reason, host.taken_at)
                gc.collect()
                is_first = False
            time.sleep(min(verdict.look_again_seconds, max(0.0, patience - waited)))

    def _read(self) -> HostSnapshot:
        """Look at the host; while memory is short nothing is opened, which may call the killer."""
        if self._pid != os.getpid():  # in a forked child they tell of its parent
            self._files.close()
            self._pid = os.getpid()
        with self._files:
            return self._look()

    def _judge(self, host: HostSnapshot, needed_bytes: int) -> Verdict:
        """Ask the governor what it would say with so many bytes less."""
        if host.limit_bytes != self._config_limit_bytes:
            self._config = Config(warn_memory=self._warn, critical_memory=self._critical)
            self._config_limit_bytes = host.limit_bytes
        left = host._replace(available_bytes=max(0, host.available_bytes - needed_bytes))
        return judge_memory(self._verdict, left, self._config)

    def _say_tight(self, where: str, old: str, verdict: Verdict, at: float) -> None:
        if at - self._said_at < GUARD_LINE_SECONDS:
            self._held_back += 1
            return
        self._said_at, held, self._held_back = at, self._held_back, 0
        decision = Decision(
            at, "pressure", "warning", where or "guard", verdict.reason, old=old, new="warn"
        )
        _write(
            logging.WARNING, describe(decision) + (f" held_back={held}" if held else ""), decision
        )

    def _say_waiting(self, where: str, reason: Reason, at: float) -> None:
        decision = Decision(at, "waiting for room", "warning", where or "guard", reason)
        _write(logging.WARNING, describe(decision), decision)


def _brake(where: str, reason: Reason, host: HostSnapshot) -> MemoryPressureError:
    decision = Decision(host.taken_at, "braked", "error", where or "guard", reason)
    facts = describe(decision).partition(" reason=")[2]
    _write(logging.ERROR, f"EMERGENCY BRAKE ACTIVATED [{where}] reason={facts}", decision)
    return _error(where, reason, host)


def _give_up(where: str, reason: Reason, host: HostSnapshot) -> MemoryPressureError:
    decision = Decision(host.taken_at, "gave up waiting", "error", where or "guard", reason)
    _write(logging.ERROR, describe(decision), decision)
    return _error(where, reason, host)


def _error(where: str, reason: Reason, host: HostSnapshot) -> MemoryPressureError:
    needed = reason.fact("needed")
    return MemoryPressureError(
        where,
        available_bytes=host.available_bytes,
        critical_bytes=_critical(reason),
        limit_bytes=host.limit_bytes,
        source=host.available_source,
        needed_bytes=needed if isinstance(needed, int) else None,
    )


def _critical(reason: Reason) -> int:
    critical = reason.fact("critical")
    assert isinstance(critical, int)
    return critical


def _check_marks(warn: Size | None, critical: Size | None) -> None:
    # Against two limits far apart, since only sizes of one kind can be compared without the host.
    sizes = [
        [
            None if mark is None else parse_size(name, mark, limit_bytes=limit_bytes)
            for name, mark in (("warn", warn), ("critical", critical))
        ]
        for limit_bytes in (GIB, 1024 * GIB)
    ]
    if all(high is not None and low is not None and high <= low for high, low in sizes):
        message = (
            f"warn must be above critical, got {warn!r} and {critical!r}; "
            f"both are sizes of memory that is still available"
        )
        raise ValueError(message)


def _check_patience(patience: object) -> None:
    if isinstance(patience, bool) or not isinstance(patience, Real):
        message = f"patience must be a number of seconds, got {patience!r}; give 0 or more"
        raise TypeError(message)
    if not 0 <= float(patience) < float("inf"):
        message = f"patience must be 0 or more seconds, got {patience!r}; give an end to the wait"
        raise ValueError(message)


def _write(severity: int, line: str, decision: Decision) -> None:
    LOGGER.log(severity, "%s", line, extra={"adaptive_exec": as_event(decision)})
