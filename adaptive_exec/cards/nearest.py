"""What a mistaken name was probably meant to be, in the words that end a message."""

import difflib
from collections.abc import Sequence
from typing import Final

NAMES_MAX: Final = 20
"""Known names that a message lists: more are no help."""


def nearest(name: str, known: Sequence[str]) -> str:
    """Say which known name is nearest, and which there are.

    Args:
        name: What was given.
        known: What would have been known.

    Returns:
        The second half of a message.

    >>> nearest("limt", ["file", "limit"])
    "did you mean 'limit'? known are file, limit"
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    if not near:
        return "nothing is there to choose from"
    return f"did you mean {near[0]!r}? known are {', '.join(known[:NAMES_MAX])}"
