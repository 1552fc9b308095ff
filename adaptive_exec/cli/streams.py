"""The standard streams as a command finds them: closed, or unable to write a letter.

A descriptor that is closed would be taken by the next file that is opened, and what is meant for
people would be written into that; so it leads to nowhere instead. A byte of a file's name that is
no text goes out as it came in; a letter that the stream does not know goes out as an escape.
"""

import sys
from typing import TextIO

from adaptive_exec.system.stdio import fill_standard


def mend_streams() -> None:
    """Open closed standard streams to nowhere, and make the others able to write every letter."""
    fill_standard()
    sys.stdin = sys.stdin or open(0, closefd=False, encoding="utf-8")  # noqa: SIM115  # for good
    sys.stdout = _able(sys.stdout, 1)
    sys.stderr = _able(sys.stderr, 2)


def _able(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return open(number, "w", closefd=False, encoding="utf-8", errors="surrogateescape")
    if hasattr(stream, "reconfigure"):
        knows_all = stream.encoding.lower().replace("-", "") == "utf8"
        stream.reconfigure(errors="surrogateescape" if knows_all else "backslashreplace")
    return stream
