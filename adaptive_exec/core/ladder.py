"""Where a batch goes when its level fails or measuring speaks for another, and when it is back.

Degrade follows failure of the machinery, never a task's own exception. A move by measurement
needs a clear gain and `inline=True`, and is made at most twice per batch (explore once, then
commit). Pure.
"""

from typing import Final, NamedTuple

from adaptive_exec.config import Config
from adaptive_exec.core.costs import SAMPLE_TASKS, Costs
from adaptive_exec.core.plan import (
    TINY_TASK_BYTES,
    TINY_TASK_SECONDS,
    may_leave_isolation,
    usable_levels,
)
from adaptive_exec.core.reason import Code, Reason, because
from adaptive_exec.specs import INLINE, ISOLATED, is_inline, is_isolated

START_PATIENCE_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between tries of a refused start. Source: the score system's submit retries."""
CALM_SECONDS: Final = 30.0
"""Seconds of quiet before a restore is tried. Source: circuit breakers wait 5-60 s."""
CALM_SECONDS_MAX: Final = 600.0
"""Seconds; the longest wait between restore trials, doubling from CALM_SECONDS."""
INLINE_TASK_SECONDS: Final = 0.3e-6
"""Seconds that the caller's own loop adds to a task. Source: benchmarks/README.md."""
GAIN_TO_MOVE: Final = 0.8
"""Ratio; a move needs an estimate below this share of the present one (hysteresis)."""

WORKER_SHARE_OF_TRANSPORT = 0.5
"""Share of the measured transport time that the parent spends itself; the workers' part runs
beside it."""


class Move(NamedTuple):
    """A change of level, and why."""

    level: str
    reason: Reason


class Breaker(NamedTuple):
    """The record of a level's failures: closed, or open until a time (circuit breaker).

    Attributes:
        tries: Refused starts in a row.
        shut_until: Monotonic seconds until which the level is not tried; None while it is not shut.
        calm_seconds: How long the next shut lasts; doubles with each failed trial.
        error: The last error, as text.
    """

    tries: int = 0
    shut_until: float | None = None
    calm_seconds: float = CALM_SECONDS
    error: str = ""


def refuse(before: Breaker, error: str) -> tuple[Breaker, float | None]:
    """Enter a refused start.

    Args:
        before: The record so far.
        error: What was raised.

    Returns:
        The new record, and the seconds to wait before the next try; None when patience is spent.
    """
    after = before._replace(tries=before.tries + 1, error=error)
    if before.tries >= len(START_PATIENCE_SECONDS):
        return after, None
    return after, START_PATIENCE_SECONDS[before.tries]


def shut(before: Breaker, at: float) -> Breaker:
    """Shut a level for its calm time; the next time is twice as long."""
    longer = min(CALM_SECONDS_MAX, 2 * before.calm_seconds)
    return before._replace(tries=0, shut_until=at + before.calm_seconds, calm_seconds=longer)


def next_level(
    level: str, config: Config, *, portable: bool, shut_levels: frozenset[str]
) -> str | None:
    """Name the level one step safer than `level` for a batch, None when there is none."""
    levels = usable_levels(config, portable=portable, shut=shut_levels)
    below = config.ladder[config.ladder.index(level) + 1 :]
    return next((name for name in levels if name in below), None)


def suggest_move(
    level: str, costs: Costs, config: Config, *, workers: int, left: int | None, single: bool
) -> Move | None:
    """Say whether another level would take clearly less time for what is left of a batch.

    Args:
        level: Where the batch runs.
        costs: What was measured of it.
        config: Uses levels, inline, and what asks for workers.
        workers: Workers of the process level.
        left: Tasks not yet sent, None when unknown.
        single: True when tasks come one by one from `submit`; they stay where they are.

    Returns:
        The move, or None to stay.
    """
    is_tiny = costs.wall_seconds <= TINY_TASK_SECONDS
    if not config.inline:  # two levels in a batch give two kinds of results, and crashes in here
        return None
    if single or costs.isolated_tasks < SAMPLE_TASKS or is_tiny != (is_isolated(level)):
        return None
    if not may_leave_isolation(config) or INLINE not in config.ladder:
        return None
    if is_isolated(level):
        return _leave_process(costs, workers) if left != 0 else None
    if is_inline(level):
        return Move(ISOLATED, because(Code.TASKS_GREW, task_seconds=round(costs.wall_seconds, 6)))
    return None


def _leave_process(costs: Costs, workers: int) -> Move | None:
    payload_bytes = costs.sent_bytes + costs.result_bytes
    if (costs.peak_bytes or 0) > TINY_TASK_BYTES:
        return None
    here = max(costs.wall_seconds / workers, WORKER_SHARE_OF_TRANSPORT * costs.transport_seconds)
    there = costs.wall_seconds + INLINE_TASK_SECONDS
    if there >= GAIN_TO_MOVE * here:
        return None
    code = Code.PAYLOAD_LARGE if payload_bytes > TINY_TASK_BYTES else Code.TASKS_TINY
    return Move(
        INLINE,
        because(
            code,
            task_seconds=round(costs.wall_seconds, 9),
            transport_seconds=round(costs.transport_seconds, 9),
            payload=int(payload_bytes),
        ),
    )
