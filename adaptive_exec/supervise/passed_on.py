"""What copies print, passed on in whole lines with the number of the copy in front.

A thread for each output of each copy reads a pipe and writes to ours, so that a reader of ours who
stands still holds up copies, as it would without us, and never the loop that ends them. Where no
thread can be started a copy prints to our outputs itself. Decides nothing.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Final

READ_BYTES: Final = 65_536
"""Bytes read at once."""
LINE_BYTES_MAX: Final = 1 << 20
"""Bytes of a line that are kept until its end comes; a longer one is passed on in pieces."""
DRAIN_SECONDS: Final = 1.0
"""Seconds to pass on what is left after the last copy has ended; what it has started may hold the
pipe open."""
OUTPUT: Final = 1
"""Descriptor of standard output."""
ERROR: Final = 2
"""Descriptor of standard error."""


class Outputs:
    """The outputs of all copies."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def of_copy(self, number: int) -> Iterator[tuple[int, int]]:
        """Yield the descriptors that a copy is to print to; ours are closed on leaving.

        Args:
            number: The number of the copy.

        Yields:
            Standard output and standard error; ours themselves, where a pipe or a thread cannot be
            had.
        """
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        ends = [self._piped(number, target) for target in (OUTPUT, ERROR)]
        try:
            yield ends[0], ends[1]
        finally:
            for end, target in zip(ends, (OUTPUT, ERROR), strict=True):
                if end != target:
                    os.close(end)

    def close(self) -> None:
        """Wait a moment until all is passed on."""
        end = time.monotonic() + DRAIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _piped(self, number: int, target: int) -> int:
        try:
            reading, writing = os.pipe()
        except OSError:
            return target
        thread = threading.Thread(
            target=self._pass_on,
            args=(reading, target, b"[%d] " % number),
            name=f"adaptive-exec-copy-{number}",
            daemon=True,
        )
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            os.close(reading)
            os.close(writing)
            return target
        self._threads.append(thread)
        return writing

    def _pass_on(self, reading: int, target: int, prefix: bytes) -> None:
        rest = b""
        with contextlib.suppress(OSError), os.fdopen(reading, "rb", buffering=0) as pipe:
            while chunk := pipe.read(READ_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > LINE_BYTES_MAX:
                    lines, rest = [*lines, rest], b""
                self._write(target, b"".join(prefix + line + b"\n" for line in lines))
            if rest:
                self._write(target, prefix + rest + b"\n")

    def _write(self, target: int, text: bytes) -> None:
        """Write it whole; where nobody reads it any more, it is lost, and the copy goes on."""
        with self._turn, contextlib.suppress(OSError):
            while text:
                text = text[os.write(target, text) :]
