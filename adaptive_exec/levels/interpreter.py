"""Which interpreter a child process is started with, and what it said if it could not begin.

A program that is frozen into one executable, or has Python built in, is no interpreter: started
with `-c` it would run itself, again and again.
"""

import os
import re
import sys

from adaptive_exec.levels.base import CannotStartError

WORDS_BYTES = 4096
"""Bytes that are read of what a child said last."""
WORDS_CHARACTERS_MAX = 300
"""Characters of it that go into a line."""
_NAMES = ("python", "pypy", "graalpy")
_CAUSE = re.compile(r"^(?:[\w.]*(?:Error|Exception|Exit|Interrupt|Warning)\b|Fatal Python error)")
_REFUSED = re.compile(
    r"MemoryError|Errno (?:11|12|23|24)\b|Cannot allocate memory|can't start new thread"
    r"|Resource temporarily unavailable|Too many open files"
)


def find_interpreter() -> str:
    """Name the executable of a Python like this one.

    Raises:
        CannotStartError: There is none: the program is frozen, or nobody knows where it is.
    """
    if is_frozen():
        message = (
            f"the program is frozen into one executable, got sys.executable={sys.executable!r},"
            " which would run itself; run it from a Python, or allow levels=('thread',)"
        )
        raise CannotStartError(message)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    guesses = (os.path.join(prefix, "bin", version) for prefix in (sys.prefix, sys.base_prefix))
    for path in (sys.executable, getattr(sys, "_base_executable", None), *guesses):
        if path and is_python(path):
            return str(path)
    message = (
        f"no Python is known to start workers with, got sys.executable={sys.executable!r};"
        " set sys.executable to one"
    )
    raise CannotStartError(message)


def is_frozen() -> bool:
    """Say whether a tool has made one executable of program and Python."""
    main = sys.modules.get("__main__")
    has_mark = any(getattr(sys, mark, False) for mark in ("frozen", "oxidized"))
    return has_mark or hasattr(main, "__compiled__")  # Nuitka's mark


def is_python(path: str) -> bool:
    """Say whether a file is a Python, by the name of it or of what it leads to."""
    if not os.access(path, os.X_OK):
        return False
    names = (os.path.basename(one).lower() for one in (path, os.path.realpath(path)))
    return any(known in name for name in names for known in _NAMES)


def last_words(text: str) -> str:
    """Return the line of what a child said last that names the cause; `""` when it said nothing."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line for line in lines if _CAUSE.match(line)]
    found = causes or lines
    return found[-1][:WORDS_CHARACTERS_MAX] if found else ""


def tells_of_refusal(text: str) -> bool:
    """Say whether a child's last words tell of something that was refused for now."""
    return _REFUSED.search(text) is not None


def is_refusal(error: BaseException) -> bool:
    """Say whether an error, or what led to it, is a refusal that may pass."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, MemoryError) or tells_of_refusal(str(cause)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
