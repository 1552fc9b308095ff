"""The library's log as plain lines on standard error, for as long as a command runs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from adaptive_exec.display import note

TIMED: Final = "[%(asctime)s] %(message)s"
"""Form of lines that carry the time. Source: the trials system."""


class _ToStderr(logging.Handler):
    """Writes plain lines to whatever standard error is now: a bar may stand in front of it."""

    def emit(self, record: logging.LogRecord) -> None:
        note(self.format(record))


@contextmanager
def logging_to_stderr(severity: int, *, form: str | None = None) -> Iterator[None]:
    """Show the library's log, and nothing else's.

    Args:
        severity: The lowest that is shown, a number of `logging`.
        form: How a line is written; None is the message alone.
    """
    logger = logging.getLogger("adaptive_exec")
    handler = _ToStderr()
    handler.setFormatter(logging.Formatter(form, datefmt="%H:%M:%S"))
    before = (logger.level, logger.handlers, logger.propagate)
    logger.setLevel(severity)
    logger.handlers, logger.propagate = [handler], False
    try:
        yield
    finally:
        logger.setLevel(before[0])
        _, logger.handlers, logger.propagate = before
