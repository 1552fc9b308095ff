"""The library's log as plain lines on standard error, for as long as a command runs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from adaptive_exec.display import note


class _ToStderr(logging.Handler):
    """Writes plain lines to whatever standard error is now: a bar may stand in front of it."""

    def emit(self, record: logging.LogRecord) -> None:
        note(self.format(record))


@contextmanager
def logging_to_stderr(severity: int) -> Iterator[None]:
    """Show the library's log, and nothing else's.

    Args:
        severity: The lowest that is shown, a number of `logging`.
    """
    logger = logging.getLogger("adaptive_exec")
    before = (logger.level, logger.handlers, logger.propagate)
    logger.setLevel(severity)
    logger.handlers, logger.propagate = [_ToStderr()], False
    try:
        yield
    finally:
        logger.setLevel(before[0])
        _, logger.handlers, logger.propagate = before
