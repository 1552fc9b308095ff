"""Several instances of one command at once: started, listened to, stopped and waited for together.

Each is a process group of its own, so a signal reaches it by us alone; its lines come out whole,
with its number in front. At the end a table says what each did. The exit code is the worst.
"""

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adaptive_exec.cli import exits
from adaptive_exec.cli.exits import say
from adaptive_exec.cli.options import RunOptions
from adaptive_exec.cli.summary import SUMMARY_VARIABLE, Line, read_summary, table
from adaptive_exec.display import note
from adaptive_exec.host.tree import read_tree_bytes
from adaptive_exec.levels.task_folders import name_temporary, sweep_left, temporary_folder
from adaptive_exec.system.private import make_folder
from adaptive_exec.system.processes import PR_SET_PDEATHSIG, REAP_SECONDS, prctl

LOOK_SECONDS: Final = 0.1
"""Seconds between two looks at whether an instance has ended."""
STOP_SECONDS: Final = 15.0
"""Seconds from a stop to SIGKILL. An instance ends in one, where the host is busy in several; one
that is killed does not say how far it came."""
DRAIN_SECONDS: Final = 1.0
"""Seconds to read what is left after the last instance ended; its children may hold the pipe
open."""
WEIGH_SECONDS: Final = 0.25
"""Seconds between two looks at what all instances hold of memory; one takes 0.1 ms a process."""
READ_BYTES: Final = 65_536
"""Bytes read at once."""
_PASSED_ON: Final = {exits.TERMINATED: signal.SIGTERM, exits.DEADLINE: signal.SIGTERM}
"""The signal that has instances finish what runs, by why the command stops."""


@dataclass(slots=True)
class LineStream:
    """One of an instance's outputs, cut into lines.

    Attributes:
        prefix: Put before each line.
        is_error: Whether it goes to standard error.
        rest: The beginning of a line whose end has not come yet.
    """

    prefix: str
    is_error: bool
    rest: bytes = b""

    def take(self, chunk: bytes) -> None:
        """Write the lines that are whole."""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        for line in lines:
            self._write(line)

    def finish(self) -> None:
        """Write what is left."""
        if self.rest:
            self._write(self.rest)
            self.rest = b""

    def _write(self, line: bytes) -> None:
        write = note if self.is_error else say
        write(self.prefix + line.decode(errors="backslashreplace"))


def run_instances(options: RunOptions, more: Mapping[str, str] | None = None) -> int:
    """Run several instances and wait for all.

    Args:
        options: The options, with the number of instances.
        more: What is added to their environment.

    Returns:
        The worst exit code.
    """
    with _folder_for_summaries() as folder:
        crowd = _Crowd(folder, more or {})
        code: int | None = None
        try:
            for number in range(1, options.instances + 1):
                crowd.start(number, options.arguments)
            crowd.listen(until=None)
        except KeyboardInterrupt as stop:
            code = stop.code if isinstance(stop, exits.Stopped) else exits.INTERRUPT
            crowd.stop(code, options.grace_seconds)
        finally:
            crowd.kill()
        for line in table(crowd.lines()):
            say(line)
    return crowd.worst() if code is None else code


@contextlib.contextmanager
def _folder_for_summaries() -> Iterator[Path]:
    """Have a folder; of a command that was killed the next one removes it."""
    path = name_temporary()
    sweep_left(temporary_folder())
    make_folder(path)
    try:
        yield Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def end_with_parent() -> None:
    """Ask Linux to stop this instance at once when the command that started it is gone."""
    if sys.platform == "linux":
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)


class _Crowd:
    """The instances that were started, and their outputs."""

    def __init__(self, folder: Path, more: Mapping[str, str]) -> None:
        self._folder = folder
        self._more = more
        self._processes: list[subprocess.Popen[bytes]] = []
        self._numbers: list[int] = []
        self._peaks: list[int] = []
        self._weigh_at = 0.0
        self._selector = selectors.DefaultSelector()
        self._refused = 0

    def start(self, number: int, arguments: tuple[str, ...]) -> None:
        main = Path(__file__).parents[1] / "__main__.py"
        command = [sys.executable, "-P", str(main), "run", "--instance", str(number), *arguments]
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, **self._more, SUMMARY_VARIABLE: str(self._folder / str(number))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,
            )
        except OSError as error:
            self._refused += 1
            note(f"[{number}] could not be started ({error}); start fewer at once")
            return
        self._processes.append(process)
        self._numbers.append(number)
        self._peaks.append(0)
        for pipe, is_error in ((process.stdout, False), (process.stderr, True)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(
                pipe, selectors.EVENT_READ, LineStream(prefix=f"[{number}] ", is_error=is_error)
            )

    def listen(self, *, until: float | None) -> None:
        """Pass lines on until all have ended, or until a moment."""
        ended_at: float | None = None
        # Who closes its outputs may still be at work.
        while self._selector.get_map() or (until is None and ended_at is None):
            for key, _ in self._selector.select(LOOK_SECONDS):
                self._read(key.fileobj, key.data)
            now = time.monotonic()
            self._weigh(now)
            if ended_at is None and all(process.poll() is not None for process in self._processes):
                ended_at = now
            if (until is not None and now > until) or (ended_at and now > ended_at + DRAIN_SECONDS):
                break
        for key in list(self._selector.get_map().values()):
            key.data.finish()

    def stop(self, code: int, grace_seconds: float) -> None:
        """Pass the stop on, let them say where they were, end those that do not."""
        number = _PASSED_ON.get(code, signal.SIGINT)
        for process in self._processes:
            if number == signal.SIGINT:
                _signal_group(process, number)
            elif process.poll() is None:
                process.send_signal(number)  # its workers are to finish what they run
        grace = 0.0 if number == signal.SIGINT else grace_seconds
        self.listen(until=time.monotonic() + grace + STOP_SECONDS)

    def kill(self) -> None:
        """End what still runs; what stands in the kernel is left behind."""
        for process in self._processes:
            _signal_group(process, signal.SIGKILL)
        deadline = time.monotonic() + REAP_SECONDS
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()
        self._selector.close()

    def lines(self) -> list[Line]:
        """Say what became of each."""
        return [
            Line(number, read_summary(self._folder / str(number)), peak, _ending(process))
            for number, peak, process in zip(
                self._numbers, self._peaks, self._processes, strict=True
            )
        ]

    def worst(self) -> int:
        """Return the worst exit code."""
        codes = [_code(process) for process in self._processes]
        codes += [exits.NO_OUTCOME] * bool(self._refused)
        return max((128 - code if code < 0 else code for code in codes), default=0)

    def _weigh(self, now: float) -> None:
        if now < self._weigh_at:
            return
        self._weigh_at = now + WEIGH_SECONDS
        for place, process in enumerate(self._processes):
            if process.poll() is None:
                self._peaks[place] = max(self._peaks[place], read_tree_bytes(process.pid))

    def _read(self, pipe: object, stream: LineStream) -> None:
        assert hasattr(pipe, "fileno")
        chunk = os.read(pipe.fileno(), READ_BYTES)
        if chunk:
            stream.take(chunk)
            return
        stream.finish()
        self._selector.unregister(pipe)


def _ending(process: "subprocess.Popen[bytes]") -> str:
    code = _code(process)
    return signal.Signals(-code).name if code < 0 else str(code)


def _code(process: "subprocess.Popen[bytes]") -> int:
    """Return how a process ended, or will end once the kernel lets go of it."""
    return -signal.SIGKILL if process.returncode is None else process.returncode


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)
