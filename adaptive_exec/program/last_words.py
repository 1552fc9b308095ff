"""Where a worker that crashes writes its stack: behind what it shares with its parent.

`faulthandler` writes to a descriptor, whatever state the interpreter is in; the parent reads the
same memory after the worker's death. Imports little: every worker imports it.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STACK_BYTES = 16 * 1024
"""Bytes of a stack that are kept: some 150 frames."""


class LastWords:
    """Has crashes of this process written down.

    Args:
        descriptor: A file of its own for this process; kept open.
        offset: Where in it to write.
    """

    def __init__(self, descriptor: int, offset: int) -> None:
        self._was_enabled = False
        try:
            import faulthandler

            os.lseek(descriptor, offset, os.SEEK_SET)
            self._was_enabled = faulthandler.is_enabled()
            faulthandler.enable(file=descriptor)
        except (ImportError, OSError, ValueError, RuntimeError):
            return  # it dies without a word

    def leave(self) -> None:
        """In a child that was forked: crash as a program of the user's does."""
        faulthandler = sys.modules.get("faulthandler")
        if faulthandler is None:
            return
        faulthandler.disable()
        if self._was_enabled:
            try:
                faulthandler.enable()
            except (AttributeError, OSError, ValueError, RuntimeError):
                return  # no standard error


def read_stack(memory: "Callable[[], bytes]") -> str:
    """Return what was written, `""` for nothing; no byte of it is trusted."""
    written = memory().split(b"\0", 1)[0]
    return written.decode("ascii", "backslashreplace").strip()
