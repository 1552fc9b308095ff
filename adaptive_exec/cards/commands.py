"""A command as the function of a batch: its places filled from a record, run without a shell.

What it prints goes to files, so that it takes none of our memory; a bounded beginning of both
streams comes back in the row. An exit code other than 0 is the task's own error, which carries the
row with it.
"""

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from adaptive_exec.cards.cells import Row
from adaptive_exec.cards.nearest import nearest

OUTPUT_BYTES: Final = 1024 * 1024
"""Bytes of what a command prints that come back in its row, of each stream."""
LOOK_SECONDS_MIN: Final = 0.001
"""Seconds between two looks at a command that runs, at first."""
LOOK_SECONDS_MAX: Final = 0.05
"""Seconds between two looks at a command that runs, at most."""
LETTERS_MAX: Final = 200
"""Letters of what a command said at last that stand in the error's message."""
STDOUT_NAME: Final = "stdout"
STDERR_NAME: Final = "stderr"
EXIT_NAME: Final = "exit_code"
_PLACE: Final = re.compile(r"\{\{([\w.-]*)\}\}|\{([\w.-]*)\}")
_WHOLE: Final = ""
"""The name of the place `{}`: all of a task that has no columns."""


class CommandFailedError(RuntimeError):
    """A command ended with an exit code other than 0, or by a signal.

    Args:
        row: What is known of it, as it stands in its row.

    Attributes:
        row: The same.
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        super().__init__(row)

    def __str__(self) -> str:
        code, said = self.row["exit_code"], str(self.row["stderr"]).strip()
        how = f"signal {-code}" if isinstance(code, int) and code < 0 else f"exit code {code}"
        last = said.splitlines()[-1][:LETTERS_MAX] if said else ""
        return f"{how}: {last}" if last else how


@dataclass(frozen=True, slots=True)
class CommandTask:
    """The function of a batch of commands; runs in the workers.

    Args:
        arguments: Program and arguments, with places.
        folder: Where it runs.
        results: A folder for all that each command prints, by the task's number; None for nowhere.
    """

    arguments: tuple[str, ...]
    folder: str
    results: str | None = None

    def __call__(self, task: object) -> Row:
        """Run the command of one task.

        Raises:
            CommandFailedError: It ended with an exit code other than 0.
            OSError: It could not be started.
        """
        number, record = 0, task
        if self.results is not None:
            assert isinstance(task, tuple), "numbered where results are kept"
            number, record = task
        command = fill(self.arguments, record)
        with ExitStack() as stack:
            out, err = (self._open(number, name, stack) for name in (STDOUT_NAME, STDERR_NAME))
            began = time.monotonic()
            code, peak_bytes = _run(command, self.folder, out, err)
            row: Row = {
                "exit_code": code,
                "stdout": _beginning(out),
                "stderr": _beginning(err),
                "peak_bytes": peak_bytes,
                "seconds": round(time.monotonic() - began, 3),
            }
        if self.results is not None:
            (_place(self.results, number) / EXIT_NAME).write_text(f"{code}\n", encoding="ascii")
        if code:
            raise CommandFailedError(row)
        return row

    def _open(self, number: int, name: str, stack: ExitStack) -> IO[bytes]:
        if self.results is None:
            return stack.enter_context(tempfile.TemporaryFile())
        place = _place(self.results, number)
        place.mkdir(parents=True, exist_ok=True)
        return stack.enter_context((place / name).open("w+b"))


def fill(arguments: Sequence[str], record: object) -> list[str]:
    """Put a record's cells into the places of a command.

    Args:
        arguments: Program and arguments; `{name}` is a place, `{{name}}` is `{name}` itself.
        record: A dictionary, or a value, which is at the place `{}`.

    Returns:
        Program and arguments.

    >>> fill(["fit", "--rate={rate}", "{{x}}"], {"rate": 0.1})
    ['fit', '--rate=0.1', '{x}']
    """
    cells: Mapping[str, object]
    cells = record if isinstance(record, Mapping) else {_WHOLE: record}

    def cell(found: re.Match[str]) -> str:
        if found[2] is None:
            return f"{{{found[1]}}}"
        value = cells[found[2]]
        return "" if value is None else str(value)

    return [_PLACE.sub(cell, argument) for argument in arguments]


def with_places(arguments: Sequence[str], names: Sequence[str] | None) -> tuple[str, ...]:
    """Check the places of a command; one over a list without a place gets it at its end.

    Args:
        arguments: Program and arguments.
        names: The columns of a record; None where tasks have none.

    Returns:
        The arguments.

    Raises:
        ValueError: A place names no column, or there is none.
    """
    known = [_WHOLE] if names is None else list(names)
    places = [
        found[2]
        for argument in arguments
        for found in _PLACE.finditer(argument)
        if found[2] is not None
    ]
    for name in places:
        if name not in known:
            raise ValueError(_no_such_place(name, names))
    if places or (names is not None and not names):
        return tuple(arguments)
    if names is None:
        return (*arguments, "{}")
    message = (
        f"command has no place, got {' '.join(arguments)!r}; write a column as "
        f"{{{known[0]}}} where its cell shall stand"
    )
    raise ValueError(message)


def _no_such_place(name: str, names: Sequence[str] | None) -> str:
    got = f"command has a place for no column, got {{{name}}}"
    if names is None:
        return (
            f"{got}; tasks without columns stand at {{}}, and {{{{{name}}}}} is {{{name}}} itself"
        )
    hint = nearest(name, names) if name else f"there are {', '.join(names)}"
    return f"{got}; {hint}, and {{{{{name}}}}} is {{{name}}} itself"


def _run(command: list[str], folder: str, out: IO[bytes], err: IO[bytes]) -> tuple[int, int | None]:
    """Run a command to its end; return its exit code and the peak of its memory."""
    own_bytes = _peak_bytes(os.getpid()) or 0
    process = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err
    )
    seen_bytes: int | None = None
    wait = LOOK_SECONDS_MIN
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(wait)
            seen_bytes = max(seen_bytes or 0, _peak_bytes(process.pid) or 0) or None
            wait = min(2 * wait, LOOK_SECONDS_MAX)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    # What the system says begins with the worker's own size; below that it says nothing.
    told_bytes = usage.ru_maxrss * 1024
    return process.returncode, told_bytes if told_bytes > own_bytes else seen_bytes


def _peak_bytes(pid: int) -> int | None:
    """Return the most that a process has held since its program began, None where unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/status").read_bytes()
        return int(text.partition(b"VmHWM:")[2].split()[0]) * 1024
    return None


def _beginning(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(OUTPUT_BYTES).decode(errors="replace")


def _place(results: str, number: int) -> Path:
    return Path(results) / str(number)
