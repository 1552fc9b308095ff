"""What a kernel's kill for memory says of limits that cannot be seen.

It happened while all limits that are known left room: at the last look before it, and after it
beside what the dead one had. Then there is one that is not known, and what the topmost visible
group had used by then is as much as it allows. Pure.
"""

from typing import Final

from adaptive_exec.core.events import WorkerLost
from adaptive_exec.core.instructions import BelieveLimit, ReadHost
from adaptive_exec.core.memory.governor import set_marks
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.state import State

BELOW_SHARE: Final = 0.95
"""Share of the known limit below which a hidden one must lie: at the known one itself a kill shows
nothing. Source: own choice, less than the critical mark leaves."""
LOWER_SHARE: Final = 0.9
"""Share of a limit that was learned which is believed after another kill below it. Source: own
choice; others may take a part of the same."""
SETTLED_SECONDS: Final = 2.0
"""Seconds in which further kills show nothing new: several workers may die in one moment. Source:
`readings.SETTLE_SECONDS`, twice."""


def note_kill(state: State, event: WorkerLost) -> None:
    """Take in that the kernel has killed a worker for memory."""
    if event.left_bytes is None or not event.most_bytes or event.peak_bytes is None:
        return
    is_settled = state.now - state.memory.revealed_at >= SETTLED_SECONDS
    if state.memory.verdict.pressure != "normal" or not is_settled:
        return
    host = state.host
    left_bytes = event.left_bytes - event.peak_bytes
    if left_bytes < set_marks(host, state.config).critical_bytes:
        return
    limit_bytes = event.most_bytes
    if host.is_learned:
        limit_bytes = min(limit_bytes, int(LOWER_SHARE * host.limit_bytes))
    if limit_bytes > BELOW_SHARE * host.limit_bytes:
        return
    reason = because(
        Code.LIMIT_HIDDEN,
        limit=limit_bytes,
        known=host.limit_bytes,
        available=event.left_bytes,
        size=event.peak_bytes,
    )
    state.memory.revealed_at = state.now
    state.explain("limited", "warning", "memory", reason)
    state.orders.append(BelieveLimit(limit_bytes))
    state.orders.append(ReadHost())
