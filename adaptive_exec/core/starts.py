"""What follows when a way of starting workers fails: try again, try another way, or give up. Pure.

A failure is passing (memory, descriptors or processes are refused for now) or lasting (the same
happens each time: no interpreter, an import that fails, a thread in every interpreter). The ways
themselves are `levels/process`'s.
"""

from typing import Literal, NamedTuple

Answer = Literal["again", "other", "none"]


class Setback(NamedTuple):
    """A way of starting workers that failed.

    Attributes:
        place: How far it came: `"launch"`, `"boot"`, `"load"`, `"threads"`,
            `"open"`, `"work"`.
        error: What is known of the cause, with the child's own last words.
        is_passing: True when something was refused that may be had later.
        is_certain: True when it would be the same the next time.
        skips_bare: True when a way that only loads less would fail as well.
    """

    place: str
    error: str
    is_passing: bool = False
    is_certain: bool = False
    skips_bare: bool = False


def judge(before: Setback | None, now: Setback, *, has_other: bool) -> Answer:
    """Say what follows from a setback.

    Args:
        before: The last one of the same way, None for the first.
        now: This one.
        has_other: True when there is another way.

    Returns:
        `"again"` to have patience, `"other"` to go another way at once, `"none"` when no way is
        left.
    """
    if now.is_passing:
        return "again"
    is_repeated = before is not None and (before.place, before.error) == (now.place, now.error)
    if not (now.is_certain or is_repeated):
        return "again"
    return "other" if has_other else "none"
