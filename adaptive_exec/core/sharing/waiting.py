"""Which running chunks hold no core, since their tasks wait: for a reply, a lock, or one another.

A share of cores is a share of computing. Who has used next to no processor for a second leaves its
place to another worker, up to as many as the plan allows; once it computes again, the next idle
worker beyond the share goes. Looked at only while cores are what holds work up.
"""

from typing import Final

from adaptive_exec.core.bounds import FOREVER, SECONDS, bound
from adaptive_exec.core.events import WorkersTimed
from adaptive_exec.core.instructions import TimeWorkers
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.roster import Flight, Roster
from adaptive_exec.core.staffing import wants_more
from adaptive_exec.core.state import State

CORE_IDLE_SECONDS: Final = 1.0
"""Seconds in which a running task must have used next to no processor before it holds no core."""
CORE_IDLE_SHARE: Final = 0.05
"""Share of a core up to which that is next to none: what polls now and then uses less."""
CORE_LOOK_SECONDS: Final = 0.25
"""Seconds between looks at processor times, while the share of the cores holds work up."""
CORE_LOOK_WORKERS: Final = 32
"""Workers up to which that is so; of more it is looked less often, at 0.1 ms for each."""


def look_at_cores(state: State) -> None:
    """Have the workers' processor times read when it is time, as long as that can help."""
    roster = state.levels.isolated
    if state.sharing.is_timing:
        return
    if not _is_held_up(state, roster):
        state.sharing.next_timing = FOREVER
    elif state.sharing.next_timing == FOREVER:
        state.sharing.next_timing = state.now + _interval(roster)
    elif state.now >= state.sharing.next_timing:
        state.sharing.is_timing = True
        state.sharing.next_timing = FOREVER
        state.orders.append(TimeWorkers())


def take_times(state: State, event: WorkersTimed) -> None:
    """Take in what processor time the workers have used so far."""
    state.sharing.is_timing = False
    roster = state.levels.isolated
    for worker, seconds in event.seconds:
        flight = roster.busy.get(worker)
        if flight is not None:
            _judge(state, roster, flight, bound(seconds, SECONDS))


def _is_held_up(state: State, roster: Roster) -> bool:
    """Say whether only the share of the cores keeps work from going on, or did until one waited."""
    if roster.seats is None or not roster.busy or roster.seats >= roster.goal:
        return False
    if state.memory.verdict.pressure != "normal":
        return False  # nothing is sent beside it then, and to look opens files
    return roster.waiting > 0 or (roster.size >= roster.seats and wants_more(state, roster))


def _interval(roster: Roster) -> float:
    return CORE_LOOK_SECONDS * max(1.0, len(roster.busy) / CORE_LOOK_WORKERS)


def _judge(state: State, roster: Roster, flight: Flight, seconds: float) -> None:
    """Say of a running chunk whether it waits, by what it has used since it was looked at last.

    The time can also fall, where a process that had used some is gone: that was computing, too.
    """
    if flight.timed_at is None:
        flight.timed_at, flight.timed_seconds = state.now, seconds
        return
    used, past = abs(seconds - flight.timed_seconds), state.now - flight.timed_at
    if used > CORE_IDLE_SHARE * max(past, CORE_IDLE_SECONDS):
        flight.is_waiting = False
    elif past < CORE_IDLE_SECONDS:
        return  # too short a time to tell
    elif not flight.is_waiting:
        flight.is_waiting = True
        _explain(state, roster, flight, used=used, past=past)
    flight.timed_at, flight.timed_seconds = state.now, seconds


def _explain(state: State, roster: Roster, flight: Flight, *, used: float, past: float) -> None:
    """Tell of it, once for each chunk."""
    if flight.is_told:
        return
    flight.is_told = True
    reason = because(
        Code.CORE_UNUSED,
        used=round(used, 3),
        past=round(past, 3),
        seats=roster.seats,
        waiting=roster.waiting,
        most=roster.goal,
    )
    state.explain("seated beside", "info", f"worker {flight.worker}", reason)
