"""Arguments and exceptions in a few letters, for reports. Decides nothing.

Of arguments only values of plain types are written out: nothing here runs code of the user's but
`story_of` and `failure_line`, which are for threads that may.
"""

from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from adaptive_exec.errors import message_of, traceback_of

SHORT_LETTERS: Final = 80
"""Letters of arguments that a report shows."""
ITEMS_SHOWN: Final = 4
"""Items of a collection that are shown."""
DEPTH_SHOWN: Final = 3
"""Collections within collections that are looked into."""

_NUMBERS: Final = (int, float, bool, type(None))
_TEXTS: Final = (str, bytes)
_BRACKETS: Final[Mapping[type, str]] = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}


def short_text(value: object) -> str:
    """Write a value in at most SHORT_LETTERS.

    >>> short_text(([1, 2, 3, 4, 5], "long" * 50, object()))
    "([1, 2, 3, 4, ... 5 in all], 'longlonglonglonglonglong..., <object>)"
    """
    text = _write(value, DEPTH_SHOWN)
    return text if len(text) <= SHORT_LETTERS else text[: SHORT_LETTERS - 3] + "..."


def _write(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is int and abs(value) > 10**SHORT_LETTERS:
        return "<a long int>"
    if kind in _NUMBERS:
        return repr(value)
    if kind in _TEXTS:
        text = repr(value[: SHORT_LETTERS // 2])
        is_long = len(value) > SHORT_LETTERS // 3
        return text[: SHORT_LETTERS // 3 - 1] + "..." if is_long else text
    if kind in _BRACKETS and depth:
        items = [_write(one, depth - 1) for one in islice(value, ITEMS_SHOWN)]
        brackets = _BRACKETS[kind]
        return brackets[0] + ", ".join(items) + _more(len(value)) + brackets[1]
    if kind is dict and depth:
        pairs = islice(value.items(), ITEMS_SHOWN)
        inner = [f"{_write(key, depth - 1)}: {_write(one, depth - 1)}" for key, one in pairs]
        return "{" + ", ".join(inner) + _more(len(value)) + "}"
    return f"<{kind.__qualname__}>"


def _more(count: int) -> str:
    return f", ... {count} in all" if count > ITEMS_SHOWN else ""


def failure_line(error: BaseException) -> str:
    """Write an exception's message in one line; never raises."""
    return " ".join(message_of(error).split())


def story_of(error: BaseException) -> str:
    """Write the traceback of a task's exception, from its worker where it ran in one."""
    with suppress(Exception):  # an exception's own parts may raise anything
        text = traceback_of(error)
        if text:
            return text
        import traceback

        return "".join(traceback.format_exception(error))
    return ""
