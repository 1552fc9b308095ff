"""Carries out what `core/supervision` orders: starts copies, signals their groups, waits, reaps.

One loop in the main thread; a signal, the end of a copy or the time wakes it. Decides nothing.
"""

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, assert_never

from adaptive_exec.core.reason import Decision
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.core.supervision import (
    CopiesMeasured,
    CopyEnded,
    CopyMeasure,
    CopyRefused,
    CopyStarted,
    CopyTerms,
    EndSupervision,
    Happening,
    HostSeen,
    Kill,
    LookAtHost,
    Order,
    Say,
    Start,
    StopAsked,
    Supervision,
    Terminate,
    Tick,
)
from adaptive_exec.host.process_groups import read_groups
from adaptive_exec.host.survey import take_snapshot
from adaptive_exec.log import LOGGER, as_event
from adaptive_exec.supervise import sentinel
from adaptive_exec.supervise.lines import line_of
from adaptive_exec.supervise.passed_on import Outputs
from adaptive_exec.supervise.pid_file import PidFile
from adaptive_exec.system.processes import REAP_SECONDS

IDLE_WAIT_SECONDS: Final = 1.0
"""Seconds; the longest it sleeps with nothing to do. Every wait has a bound."""
ORPHAN_SECONDS: Final = 0.5
"""Seconds from SIGTERM to SIGKILL for the copies of a supervisor that was itself killed."""

NUMBER_VARIABLE: Final = "ADAPTIVE_EXEC_WORKER"
"""Environment variable by which a copy learns its number, from 1."""
STOP_CODES: Final = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
"""Exit codes, as shells report these signals."""
SECOND_SIGNAL_SECONDS: Final = 1.0
"""Seconds after a first signal before another one means: at once."""
SEVERITIES: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def supervise(
    command: Sequence[str],
    terms: CopyTerms,
    book: PidFile,
    *,
    look: Callable[[], HostSnapshot] = take_snapshot,
) -> int:
    """Run copies of a command until all have ended; in the main thread, on POSIX.

    Args:
        command: Program and arguments.
        terms: How many, and when one is replaced.
        book: The pid file; closed at the end.
        look: Reads the host.

    Returns:
        The exit code: 0 all copies finished, 1 some failed, 3 some were given up, 128 + number
        after a signal.
    """
    try:
        left = {entry.pid for entry in book.left_behind}
        if left:
            LOGGER.warning("left behind by a killed supervisor, ending: pids=%s", sorted(left))
            sentinel.end_groups(left, terms.grace_seconds)
        with _Doer(command, terms, book, look) as doer:
            return doer.run()
    finally:
        book.close()


class _Doer:
    """The processes, and the loop."""

    def __init__(
        self,
        command: Sequence[str],
        terms: CopyTerms,
        book: PidFile,
        look: Callable[[], HostSnapshot],
    ) -> None:
        self._command = list(command)
        self._book = book
        self._look = look
        self._mind = Supervision(terms, time.monotonic())
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._sentinel = _Sentinel()
        self._outputs = Outputs()
        self._signals: list[int] = []
        self._stopped_at: float | None = None
        self._code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            sentinel.send(process.pid, signal.SIGKILL)
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(REAP_SECONDS)
        self._outputs.close()
        self._sentinel.close()

    def run(self) -> int:
        """Loop until everything has ended; return the exit code."""
        with _woken_by_signals(self._signals) as descriptor:
            self._handle(Tick(time.monotonic()))
            while self._code is None:
                wait = min(IDLE_WAIT_SECONDS, self._mind.wake_at - time.monotonic())
                if select.select([descriptor], [], [], max(0.0, wait))[0]:
                    _drain(descriptor)
                self._take_signals()
                self._reap()
                self._sentinel.look_after(self._pids())
                self._handle(Tick(time.monotonic()))
        return self._code

    def _handle(self, event: Happening) -> None:
        orders = deque(self._mind.handle(event))
        while orders:
            answer = self._obey(orders.popleft())
            if answer is not None:
                orders.extend(self._mind.handle(answer))

    def _obey(self, order: Order) -> Happening | None:
        match order:
            case Start():
                return self._start(order.number)
            case Terminate() | Kill():
                self._signal(order)
            case CopyMeasure():
                return self._measure(is_check=order.is_check)
            case LookAtHost():
                host = self._look()
                return HostSeen(time.monotonic(), host)
            case Say():
                _say(order.decision)
            case EndSupervision():
                self._code = order.code
            case _:
                assert_never(order)
        return None

    def _start(self, number: int) -> Happening:
        try:
            with self._outputs.of_copy(number) as (output, error):
                process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=error,
                    process_group=0,
                    env={**os.environ, NUMBER_VARIABLE: str(number)},
                )
        except OSError as refused:
            return CopyRefused(time.monotonic(), number, f"{type(refused).__name__}: {refused}")
        self._processes[number] = process
        self._sentinel.add(process.pid)
        self._book.write(self._pids())
        return CopyStarted(time.monotonic(), number, process.pid)

    def _signal(self, order: Terminate | Kill) -> None:
        process = self._processes[order.number]
        if isinstance(order, Kill):
            sentinel.send(process.pid, signal.SIGKILL)
            return
        sentinel.send(process.pid, signal.SIGTERM)
        sentinel.send(process.pid, signal.SIGCONT)  # a stopped process takes no SIGTERM

    def _measure(self, *, is_check: bool) -> CopiesMeasured:
        pids = self._pids()
        memory = read_groups(list(pids.values()))
        found = {number: memory[pid] for number, pid in pids.items()}
        return CopiesMeasured(time.monotonic(), found, is_check)

    def _take_signals(self) -> None:
        while self._signals:
            code, now = STOP_CODES[signal.Signals(self._signals.pop(0))], time.monotonic()
            if self._stopped_at is None or now - self._stopped_at > SECOND_SIGNAL_SECONDS:
                self._stopped_at = self._stopped_at or now
                self._handle(StopAsked(now, code))

    def _reap(self) -> None:
        for number, process in list(self._processes.items()):
            if not _has_ended(process):
                continue
            # Its group cannot be another's while its leader is not reaped.
            sentinel.send(process.pid, signal.SIGKILL)
            self._sentinel.remove(process.pid)
            try:
                status = process.wait(REAP_SECONDS)
            except subprocess.TimeoutExpired:  # told as ended, and not to be had: at the next wake
                continue
            del self._processes[number]
            self._book.write(self._pids())
            self._handle(CopyEnded(time.monotonic(), number, status))

    def _pids(self) -> Mapping[int, int]:
        return {number: process.pid for number, process in self._processes.items()}


class _Sentinel:
    """The process that ends the copies should this one be killed; started anew when it is lost."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    def add(self, group: int) -> None:
        self._tell(b"+%d\n" % group)

    def remove(self, group: int) -> None:
        self._tell(b"-%d\n" % group)

    def look_after(self, pids: Mapping[int, int]) -> None:
        """Start it again if it was lost, and tell it who lives."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        if self._start():
            for group in pids.values():
                self.add(group)

    def close(self) -> None:
        """Let it go; it knows of no group that lives."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ORPHAN_SECONDS + REAP_SECONDS)
        self._process = None

    def _start(self) -> bool:
        path = Path(sentinel.__file__)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(path), str(ORPHAN_SECONDS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                bufsize=0,
            )
        except OSError:  # tried again at the next wake
            self._process = None
        return self._process is not None

    def _tell(self, line: bytes) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone; `look_after` will see
            self._process.stdin.write(line)


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll() is not None
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, flags) is not None


@contextlib.contextmanager
def _woken_by_signals(seen: list[int]) -> Iterator[int]:
    """Gather stop signals in a list; yield a descriptor that is readable after any signal."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, "pipe2") else _pipe()
    before: dict[int, Any] = {}
    woken_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        number: int
        for number in STOP_CODES:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup
            before[number] = signal.signal(number, lambda number, _frame: seen.append(number))
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        yield reading
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken_before)
        os.close(reading)
        os.close(writing)


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass


def _say(decision: Decision) -> None:
    severity = SEVERITIES[decision.severity]
    LOGGER.log(severity, "%s", line_of(decision), extra={"adaptive_exec": as_event(decision)})
