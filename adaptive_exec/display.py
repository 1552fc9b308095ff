"""What people see while work runs: a bar on a terminal, else a plain line every few seconds.

Everything goes to standard error; standard output belongs to results. A thread looks at the
progress a few times a second; where no thread can be started, the display moves on with each
outcome instead.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

LOOK_SECONDS: Final = 0.25
"""Seconds between two looks at the progress: a bar that moves four times a second looks alive."""
LINE_SECONDS: Final = 5.0
"""Seconds between two lines where there is no terminal, so that a log stays short."""
MINUTE: Final = 60
"""Seconds."""
HOUR: Final = 60 * MINUTE
"""Seconds."""
UNIT: Final = 1024
"""Bytes in a KiB, KiB in a MiB, and so on."""


class Gauge(Protocol):
    """What the executor says of a batch on its way."""

    @property
    def done(self) -> int:
        """Tasks that ended."""

    @property
    def failed(self) -> int:
        """Tasks that ended in an error."""

    @property
    def level(self) -> str:
        """The present level."""

    @property
    def workers(self) -> int:
        """Workers at present."""

    @property
    def memory_used_bytes(self) -> int:
        """Memory in use."""

    @property
    def memory_limit_bytes(self) -> int:
        """Memory that there is."""


class Face(Protocol):
    """A way to show progress."""

    def show(self, done: int, text: str, *, is_last: bool) -> None:
        """Show where the batch is."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Display:
    """Shows progress from start to end.

    Args:
        name: What is running.
        total: How many tasks there are; None where it is not known.
        look: Returns the progress now.
        is_over: Says that there is nothing more to show; the display then ends by itself.
    """

    def __init__(
        self,
        name: str,
        total: int | None,
        look: Callable[[], Gauge],
        is_over: Callable[[], bool] = bool,
    ) -> None:
        self._is_over = is_over
        self._name = name
        self._total = total
        self._look = look
        self._began = time.monotonic()
        self._has_said_start = False
        self._face: Face = _make_face(name, total)
        self._turn = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = threading.Thread(
            target=self._keep_looking, name="adaptive-exec-display", daemon=True
        )

    def __enter__(self) -> Self:
        try:
            assert self._thread is not None
            self._thread.start()
        except (RuntimeError, MemoryError):  # no thread to be had; outcomes move the display
            self._thread = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=LOOK_SECONDS * 4)
        if kind is None:
            self._refresh(is_last=True)
        self._face.close()

    def outcome(self) -> None:
        """Take note that a task has ended."""
        if self._thread is None or not self._has_said_start:
            self._refresh(is_last=False)

    def _keep_looking(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            self._refresh(is_last=False)
            if self._is_over():
                self._face.close()
                return

    def _refresh(self, *, is_last: bool) -> None:
        if not self._turn.acquire(timeout=0 if not is_last else LOOK_SECONDS):
            return
        try:
            progress = self._look()
            if not self._has_said_start and progress.level and progress.workers:
                self._has_said_start = True
                note(start_text(self._name, self._total, progress))
            elapsed = time.monotonic() - self._began
            text = progress_text(progress, self._total, elapsed)
            self._face.show(progress.done, text, is_last=is_last)
        finally:
            self._turn.release()


def note(line: str) -> None:
    """Write a line to standard error, for people, not for programs."""
    with contextlib.suppress(OSError):  # nobody reads it, or its disk is full
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def start_text(name: str, total: int | None, progress: Gauge) -> str:
    """Say where a batch begins to run."""
    many = "tasks" if total is None else f"{total} tasks"
    limit = size_text(progress.memory_limit_bytes)
    place = f"level {progress.level}, workers={progress.workers}"
    return f"{name}: running {many} at {place}, memory limit {limit}"


def progress_text(progress: Gauge, total: int | None, elapsed_seconds: float) -> str:
    """Say how fast a batch is, when it will end, where it runs and what it takes."""
    rate = progress.done / elapsed_seconds if elapsed_seconds > 0 else 0.0
    parts = [f"{rate:.1f}/s"]
    if total is not None and rate > 0:
        parts.append(f"ETA {time_text((total - progress.done) / rate)}")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    parts.append(f"{progress.level} x{progress.workers}")
    used, limit = size_text(progress.memory_used_bytes), size_text(progress.memory_limit_bytes)
    return "  ".join([*parts, f"mem {used} of {limit}"])


def time_text(seconds: float) -> str:
    """Write seconds as 7s, 3m20s or 2h05m."""
    whole = round(max(0.0, seconds))
    if whole < MINUTE:
        return f"{whole}s"
    if whole < HOUR:
        return f"{whole // MINUTE}m{whole % MINUTE:02d}s"
    return f"{whole // HOUR}h{whole % HOUR // MINUTE:02d}m"


def size_text(size_bytes: float) -> str:
    """Write bytes with a unit, e.g. 1.5 GiB."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < UNIT:
            return f"{size:.0f} {unit}" if unit in {"B", "KiB"} else f"{size:.1f} {unit}"
        size /= UNIT
    return f"{size:.1f} TiB"


class _Lines:
    """A line every few seconds."""

    def __init__(self, name: str, total: int | None) -> None:
        self._name = name
        self._of = "" if total is None else f" of {total}"
        self._shown = time.monotonic()

    def show(self, done: int, text: str, *, is_last: bool) -> None:
        now = time.monotonic()
        if is_last or now - self._shown < LINE_SECONDS:
            return
        self._shown = now
        note(f"{self._name}: {done}{self._of} done  {text}")

    def close(self) -> None:
        pass


class _Bar:
    """A bar that rich draws."""

    def __init__(self, name: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=Console(stderr=True),
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._bar.add_task(name, total=total, text="")
        self._bar.start()

    def show(self, done: int, text: str, *, is_last: bool) -> None:
        del is_last  # a bar looks the same at the end
        self._bar.update(self._task, completed=done, text=text, refresh=True)

    def close(self) -> None:
        self._bar.stop()


def _make_face(name: str, total: int | None) -> Face:
    # On a terminal that cannot move its cursor rich draws nothing.
    moves = os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}
    return _Bar(name, total) if sys.stderr.isatty() and moves else _Lines(name, total)
