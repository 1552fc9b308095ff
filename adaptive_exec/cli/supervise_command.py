"""The command `supervise`, from text to checked terms; the loop is `supervise.loop`."""

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adaptive_exec.cards.durations import duration
from adaptive_exec.cli.log_lines import TIMED, logging_to_stderr
from adaptive_exec.cli.options import whole
from adaptive_exec.config import parse_size
from adaptive_exec.core.supervision import CopyTerms
from adaptive_exec.host.survey import take_snapshot

COPIES_MAX: Final = 1024
"""Copies that one command starts; more is most likely a slip."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asked for.

    Attributes:
        command: Program and arguments.
        terms: The terms.
        pid_file: Where to say who runs.
    """

    command: tuple[str, ...]
    terms: CopyTerms
    pid_file: Path


def make_terms(
    given: Mapping[str, str | None], command: Sequence[str], *, restart_failed: bool
) -> Asked:
    """Read and check what the command line gave.

    Args:
        given: Texts by the names of the options; None is not given.
        command: Program and arguments.
        restart_failed: Whether `--restart-failed` was given.

    Returns:
        The checked request.

    Raises:
        ValueError: A text is no number, size or time, or the program is not there.
    """
    if os.name != "posix":
        message = f"supervise needs POSIX process groups, got {os.name}; start the copies by hand"
        raise ValueError(message)
    _check_program(command)
    copies = whole("--copies", given["copies"], least=1) or 1
    if copies > COPIES_MAX:
        message = f"--copies must be {COPIES_MAX} or less, got {copies}; start more by hand"
        raise ValueError(message)
    limit_bytes = take_snapshot().limit_bytes
    terms = CopyTerms(
        copies=copies,
        max_age_seconds=_read(duration, "--max-age", given["max_age"]),
        max_memory_bytes=_size("--max-memory", given["max_memory"], limit_bytes),
        min_available_bytes=_size("--min-available", given["min_available"], limit_bytes),
        check_seconds=duration("--check-every", given["check_every"] or "60s"),
        grace_seconds=duration("--grace", given["grace"] or "120s"),
        is_failure_restarted=restart_failed,
    )
    return Asked(tuple(command), terms, Path(given["pid_file"] or ""))


def run_supervised(asked: Asked) -> int:
    """Supervise, with the log on standard error.

    Args:
        asked: The checked request.

    Returns:
        The exit code.

    Raises:
        ValueError: The pid file is another's, or cannot be written.
    """
    # Here and not at the head: the loop needs POSIX modules, and is told of where they are missing.
    from adaptive_exec.supervise.pid_file import PidFile, PidFileForeignError, PidFileTakenError
    from adaptive_exec.supervise.supervisor import supervise

    try:
        book = PidFile(asked.pid_file)
    except (PidFileTakenError, PidFileForeignError) as error:
        raise ValueError(str(error)) from error
    except OSError as error:
        message = f"the pid file cannot be written, got {error}; give --pid-file another place"
        raise ValueError(message) from error
    with logging_to_stderr(logging.INFO, form=TIMED):
        return supervise(asked.command, asked.terms, book)


def _read(read: Callable[[str, str], float], name: str, text: str | None) -> float | None:
    return None if text is None else read(name, text)


def _size(name: str, text: str | None, limit_bytes: int) -> int | None:
    return None if text is None else parse_size(name, text, limit_bytes=limit_bytes)


def _check_program(command: Sequence[str]) -> None:
    if not command:
        message = "supervise needs a command, got none; write it after --, like -- python train.py"
        raise ValueError(message)
    if shutil.which(command[0]) is None:
        message = f"the command cannot be run, got {command[0]!r}; give a program that is there"
        raise ValueError(message)
