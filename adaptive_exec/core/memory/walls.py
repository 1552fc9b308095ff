"""How much memory the worker of each chunk may take before an allocation in it is refused.

A wall stands where a kill of the kernel's would end the caller as well, where a group that is full
is held up as a whole (`memory.high`: the kernel takes the caller's very code out of memory, and
lets it wait for each page), and where the user has said what a task takes. All walls together leave
the room that there is, so that no order of allocations ends in a kill. Where each worker has a
control group of its own every chunk has a wall, since such a one counts what is in use: a kill at
it is nobody else's. Who runs into a wall runs again alone under the widest one (`core/suspects`).
Pure; walls are put up by `levels/wall` and `levels/own_groups`.
"""

from adaptive_exec.config import MIB, Config, parse_size
from adaptive_exec.core.bounds import BYTES, bound
from adaptive_exec.core.events import GroupsMade
from adaptive_exec.core.instructions import MoveWalls
from adaptive_exec.core.memory.governor import set_marks
from adaptive_exec.core.memory.window import TOLD_SLACK
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.roster import Flight
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.core.state import State
from adaptive_exec.specs import is_isolated

WALL_BYTES_MIN = 32 * MIB
"""Bytes that a worker may always take: less than an interpreter's heap grows by at one stroke.
Source: as `plan.WORKER_BYTES`."""
WALL_SLACK_BYTES = 8 * MIB
"""Bytes beside what a task was said to take: an allocator takes memory in pieces.
Source: own choice."""
GROWN_SLACK = 1.25
"""How much more a worker may take than it has, or is expected to, that has outgrown its part.
Source: as `sizes.NEAR`."""
HARD_KEPT_SHARE = 0.5
"""Share of the critical mark that the widest wall leaves where each worker has a group of its own
and a kill costs one worker: its own limit is reached before anybody else's. Source: own choice."""
MOVE_SHARE = 8
"""Part of a wall by which it must change before it is moved. Source: own choice; 0.3 ms a move."""
HARD_MOVE_SHARE = 64
"""The same where a wall is the limit of a group: a reading beside a worker that dies counts what it
held as free and as its own, and the wall must be right again soon. Source: own choice; 0.02 ms."""
TOUCHED_SHARE = 0.5
"""Share of a wall below which what a task was measured to take speaks of memory that is reserved
and not used. Source: own choice, a half."""
UNWALLED_MAX = 64
"""Functions that are remembered as such; of more the oldest is forgotten. Source: as
`admission.KINDS_KEPT`."""
KILL_REMEDY = "systemd: OOMPolicy=continue or Delegate=yes; elsewhere memory.oom.group=0"
"""What a user can do where a kill of the kernel's ends the caller as well."""
HIGH_REMEDY = "memory.high=max; systemd: MemoryHigh=infinity"
"""What a user can do where one task that is too large would hold the caller up."""


def may_wall(host: HostSnapshot, config: Config) -> bool:
    """Say whether chunks get walls.

    Args:
        host: Whether a kill ends more than one process.
        config: Uses wall and task_memory.

    Returns:
        True with `wall="soft"`; else where a kill is fatal or sizes are told. Where each worker has
        a control group of its own all have walls.
    """
    if config.wall in ("auto", "hard"):
        return bool(host.wide_kill) or config.task_memory is not None
    return config.wall is not None


def tell_of_wide_kill(state: State) -> None:
    """Say once, before the first batch, that a kill would end the caller, or hold it up."""
    if state.memory.is_wide_kill_told or not state.host.wide_kill:
        return
    state.memory.is_wide_kill_told = True
    reason = because(Code.KILL_SPREADS, source=state.host.wide_kill, remedy=find_remedy(state.host))
    state.explain("found", "info", "memory", reason, walled=int(may_wall(state.host, state.config)))


def find_remedy(host: HostSnapshot) -> str:
    """Say what a user can do so that a task that is too large costs one worker."""
    return HIGH_REMEDY if host.is_throttling else KILL_REMEDY


def note_groups(state: State, event: GroupsMade) -> None:
    """Take in whether each worker has a control group of its own, whose limit is its wall."""
    state.memory.has_groups = not event.error
    if event.error:
        severity = "warning" if state.config.wall == "hard" else "info"
        reason = because(Code.GROUPS_REFUSED, source=event.source, error=event.error)
        state.explain("refused", severity, "memory", reason)
    else:
        reason = because(Code.GROUP_EACH, source=event.source)
        state.explain("walled", "info", "memory", reason)


def wall_of(state: State, flight: Flight) -> int | None:
    """Say how much the worker of a chunk may take that is about to be sent; None for no wall."""
    if not is_isolated(flight.level) or not _is_walled(state, flight):
        return None
    return _wall(state, flight, None if _is_alone(state, flight) else _each(state))


def move_walls(state: State) -> None:
    """Have running chunks' walls follow the room: nearer when it shrinks, back when it is there."""
    flights = [one for one in state.flights.values() if one.wall_bytes is not None]
    if not flights:
        return
    each, moved = _each(state), []
    share = HARD_MOVE_SHARE if state.memory.has_groups else MOVE_SHARE
    for flight in flights:
        wanted = _wall(state, flight, None if _is_alone(state, flight) else each)
        assert flight.wall_bytes is not None, "looked at just now"
        if share * abs(wanted - flight.wall_bytes) > flight.wall_bytes:
            flight.wall_bytes = wanted
            moved.append((flight.worker, wanted))
    if moved:
        state.orders.append(MoveWalls(state.levels.isolated.level, tuple(moved)))


def _is_walled(state: State, flight: Flight) -> bool:
    batch = state.batches[flight.batch]
    record = batch.records.get(flight.start) if flight.is_suspect else None
    if record is not None and record.is_accused:
        return state.config.wall is not None
    if state.memory.has_groups:
        return True
    if not may_wall(state.host, state.config) or (record is not None and record.is_freed):
        return False
    return batch.kind not in state.memory.unwalled if batch.kind else not batch.is_unwalled


def _is_alone(state: State, flight: Flight) -> bool:
    """Say whether a chunk is a suspect that runs with all else paused."""
    record = state.batches[flight.batch].records.get(flight.start) if flight.is_suspect else None
    return record is not None and record.for_memory


def _wall(state: State, flight: Flight, each: float | None) -> int:
    """Return a chunk's wall.

    Args:
        state: The run.
        flight: The chunk.
        each: What one of those that run beside each other may take; None for one that is alone.
    """
    if each is None:
        return _within(_widest(state))
    if not may_wall(state.host, state.config):
        live = state.memory.live
        return _within(_widest(state) - sum(live.values()) + live.get(flight.chunk, 0))
    told = _told_bytes(state, flight)
    if told is not None and not state.host.wide_kill:
        return _within(told)
    share = max(each, _claim(state, flight)) - flight.kept_bytes
    return _within(share if told is None else min(told, share))


def _widest(state: State) -> float:
    """Return what one chunk may take beside nothing else."""
    roster = state.levels.isolated
    host, kept = state.host, 0
    if host.wide_kill or state.memory.has_groups:
        kept = set_marks(host, state.config).critical_bytes
        kept = kept if host.wide_kill else int(HARD_KEPT_SHARE * kept)
    idle = sum(roster.services[worker].kept_bytes for worker in roster.idle)
    return host.limit_bytes - state.memory.base_bytes - kept - idle


def _told_bytes(state: State, flight: Flight) -> int | None:
    """Return what a task takes as the user says, unless it was measured to take more."""
    size = state.config.task_memory
    if size is None or state.config.wall not in ("auto", "hard"):
        return None
    told = parse_size("task_memory", size, limit_bytes=state.host.limit_bytes)
    peaks = state.batches[flight.batch].peaks
    is_believed = peaks.p95_bytes <= TOLD_SLACK * told
    return int(TOLD_SLACK * told) + WALL_SLACK_BYTES if is_believed else None


def _each(state: State) -> float:
    """Return one chunk's part of the room; those that have more, or are to get it, keep that."""
    room, count = _widest(state), _count(state)
    claims = [_claim(state, one) for one in state.flights.values() if is_isolated(one.level)]
    larger = [one for one in claims if one > room / count]
    return (room - sum(larger)) / max(1, count - len(larger))


def _claim(state: State, flight: Flight) -> float:
    """Return what a chunk has taken, or is expected to take by its size, and a bit more."""
    return GROWN_SLACK * max(state.memory.live.get(flight.chunk, 0), flight.reserve_bytes)


def _count(state: State) -> int:
    """Return how many chunks may come to be out at once."""
    waiting = sum(batch.pending for batch in state.batches.values())
    most = min(state.memory.window.chunks, max(1, state.levels.isolated.goal))
    if all(batch.exhausted for batch in state.batches.values()):
        most = min(most, state.out + waiting)
    return max(1, most, state.out)


def _within(size: float) -> int:
    return bound(int(max(float(WALL_BYTES_MIN), size)), BYTES)


def learn_of_reserve(state: State, flight: Flight, span_bytes: int | None) -> None:
    """Take in how much a task has used that a wall had refused memory before.

    One that reserved it and touched little of it is walled no more, nor are others of its function.
    """
    if not flight.broken_bytes or span_bytes is None or state.memory.has_groups:
        return
    if span_bytes >= TOUCHED_SHARE * flight.broken_bytes:
        return
    batch = state.batches[flight.batch]
    batch.is_unwalled = True
    if batch.kind:
        state.memory.unwalled = (*state.memory.unwalled, batch.kind)[-UNWALLED_MAX:]
    reason = because(
        Code.MEMORY_UNTOUCHED, task=flight.start, wall=flight.broken_bytes, peak=span_bytes
    )
    state.explain("unwalled", "info", f"batch {batch.id}", reason)
