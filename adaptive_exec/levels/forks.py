"""A task that forks: the child is the task's own and never speaks for the worker.

At the fork it loses the worker's socket and shared memory; when the task's function returns or
raises there it ends, as a program does at its end, and only the original's result counts. Children
that go their own way (`multiprocessing`, `subprocess`, `exec`) never come back here. Imports
little, since every worker imports it.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

in_child = [False]
"""Whether this process is a fork of a worker."""
_mutes: "list[Callable[[], None]]" = []


def watch_forks(mute: "Callable[[], None]") -> None:
    """Have something done in each child that is forked from now on."""
    if not _mutes and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_flush_streams, after_in_child=_on_fork)
    _mutes.append(mute)


def end_child(error: BaseException | None = None) -> "NoReturn":
    """End a task's child whose function has returned or raised, as it would end a program."""
    code = 0 if error is None else 1
    try:
        if isinstance(error, SystemExit):
            code = _exit_code(error.code)
        elif error is not None:
            sys.excepthook(type(error), error, error.__traceback__)
        _flush_streams()
    finally:
        os._exit(code & 0xFF)


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)  # noqa: T201  # as the interpreter does
    return 1


def _on_fork() -> None:
    in_child[0] = True
    for mute in _mutes:
        mute()


def _flush_streams() -> None:
    """Write what is held back: before a fork, else the child has and writes it a second time."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError, RuntimeError):
            continue  # none, closed, or in the midst of a write
