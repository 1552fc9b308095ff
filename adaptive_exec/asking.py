"""What `why` is asked: which task, level, worker or moment is meant, and who answers it.

The words are those of `core/why`. Decides nothing.
"""

import re
from collections.abc import Callable
from typing import Final

from adaptive_exec.core.report import RunReport
from adaptive_exec.core.why import tell_all, tell_level, tell_now, tell_task, tell_worker

TRIES: Final = 5
"""Looks at a run that changes meanwhile; each takes microseconds."""

_TELLERS: Final[dict[str, Callable[[RunReport], tuple[str, ...]]]] = {
    "": tell_all,
    "level": tell_level,
    "now": tell_now,
}
_TOPICS: Final = "a task's number, 'level', 'worker N' or 'now'"


def tell(report: RunReport, what: str) -> tuple[str, ...]:
    """Answer from a report alone.

    Args:
        report: What is known.
        what: `""` for all, a task's number, `"level"`, `"worker N"`, `"now"`.

    Returns:
        Lines.

    Raises:
        ValueError: It is none of these.
    """
    words = " ".join(what.split()).lower()
    if words in _TELLERS:
        return _TELLERS[words](report)
    found = re.fullmatch(r"(?:(worker|task) )?(\d+)", words)
    if found is None:
        message = f"what to explain must be {_TOPICS}, got {what!r}; name one"
        raise ValueError(message)
    if found[1] == "worker":
        return tell_worker(report, int(found[2]))
    return tell_task(report, int(found[2]))


def look_at_running(look: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """Look at a run that goes on meanwhile; what changes under one's eyes is looked at again."""
    for _ in range(TRIES - 1):
        try:
            return look()
        except (RuntimeError, KeyError, IndexError, StopIteration):
            continue
    return look()
