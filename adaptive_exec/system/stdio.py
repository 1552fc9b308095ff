"""The numbers of the standard streams, which nothing else is to have.

A program that was started without them, or has closed them, gets files of its own or of ours under
these numbers, and what a library or a child prints goes there. Imports little: every zygote imports
it.
"""

import os

STANDARD = (0, 1, 2)
"""Input, output and errors. Source: POSIX, unistd.h."""


def fill_standard() -> None:
    """Open the null device in the place of each standard stream that is closed; 1 us if none is.

    Raises:
        OSError: No descriptor is left.
    """
    for number in STANDARD:
        try:
            os.fstat(number)
        except OSError:
            _open_nowhere(number)


def _open_nowhere(number: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    os.set_inheritable(number, True)  # noqa: FBT003  # as a standard stream is
