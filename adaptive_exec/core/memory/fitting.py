"""How many chunks fit: the window, fitted anew to what is known now.

Who speaks is settled here: what the user said, what was measured, what running chunks show, or
nobody. The sums are those of `window` and `peaks`.
"""

from adaptive_exec.config import parse_size
from adaptive_exec.core.bounds import BYTES, bound
from adaptive_exec.core.events import HostSampled
from adaptive_exec.core.memory.admission import (
    count_fitting,
    goes_by_bytes,
    room_bytes,
    taken_bytes,
)
from adaptive_exec.core.memory.governor import set_marks
from adaptive_exec.core.memory.peaks import NOTHING_KNOWN, Peaks, counts_as_sum, reserve_bytes
from adaptive_exec.core.memory.window import (
    CHUNKS_MAX,
    GUESS_SECONDS,
    OPEN,
    TOLD_SLACK,
    Room,
    Window,
    fit,
    guess_chunk_bytes,
)
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.roster import Roster
from adaptive_exec.core.state import State
from adaptive_exec.specs import ISOLATED, is_isolated

UNMEASURED_MAX = 3
"""Chunks without a measurement after which none is expected any more; then pressure alone holds.
Source: own choice."""
TOLD_SHARE = 8
"""Part of the window by which it must change before people are told again. Source: own choice, an
eighth."""
CHANGE_SHARE = 7
"""One in so many running chunks beyond the 95th percentile is three times what chance makes.
Source: a seventh is three times the twentieth beyond a 95th percentile."""
SHARE_SLACK = 0.05
"""Share by which what others left us may be exceeded. It is dealt out in whole chunks, which must
not fail to fit for a page or for the little that idle workers keep. Source: own choice."""


def refit(state: State) -> None:
    """Fit the window anew to what is known now."""
    before = state.memory.window
    peaks, is_unknown = _speaking_peaks(state)
    told = _told_bytes(state)
    state.memory.is_guessing = is_unknown and told is None
    seen = 0
    if state.memory.is_guessing:
        seen = _guess_bytes(state)
    elif not is_unknown:
        seen = state.memory.seen_bytes
    elif not peaks.measured and told is None:
        state.memory.window = OPEN  # what cannot be weighed is held back by pressure alone
        state.memory.chunk_bytes = 0
        return
    state.memory.chunk_bytes = max(peaks.p95_bytes, told or 0, seen)
    if state.memory.has_measures and goes_by_bytes(state):
        _fit_by_bytes(state, before)
        return
    window = fit(before, peaks, _room(state, 0), told_bytes=told, seen_bytes=seen)
    kept = _kept_bytes(state, window.chunks)
    if kept:
        window = fit(before, peaks, _room(state, kept), told_bytes=told, seen_bytes=seen)
    state.memory.window = window
    _explain_window(state)


def _fit_by_bytes(state: State, before: Window) -> None:
    """Let the window be as wide as the smallest of those that wait would allow."""
    count = max(1, min(CHUNKS_MAX, count_fitting(state)))
    growth = before.growth if before.was_halved else float(CHUNKS_MAX)
    chunks = max(1, min(count, int(growth)))
    reason = because(
        Code.MEMORY_BY_BYTES,
        room=int(room_bytes(state)),
        taken=int(taken_bytes(state)),
        chunks=chunks,
    )
    state.memory.window = before._replace(chunks=chunks, reason=reason)
    _explain_window(state)


def _kept_bytes(state: State, chunks: int) -> int:
    """Return what those idle workers keep that get no chunk while so many are out.

    Of the others it is part of what their next chunk is expected to take.
    """
    roster = state.levels.isolated
    unused = max(0, len(roster.idle) - max(0, chunks - len(roster.busy)))
    return sum(roster.services[worker].kept_bytes for worker in roster.idle[:unused])


def is_weighed(state: State, level: str) -> bool:
    """Say whether it is known what the chunks at a level take, each by itself or a part of all."""
    services = state.levels.rosters[level].services.values()
    return is_isolated(level) or any(one.birth_bytes is not None for one in services)


def _speaking_peaks(state: State) -> tuple[Peaks, bool]:
    """Return the highest peaks of the batches in work, and whether any was not measured yet."""
    peaks, is_unknown = NOTHING_KNOWN, False
    for batch in state.batches.values():
        if batch.peaks.p95_bytes > peaks.p95_bytes:
            peaks = batch.peaks
        is_weighed_now = is_weighed(state, batch.level) or ISOLATED in batch.out
        is_known = batch.peaks.measured or batch.unmeasured >= UNMEASURED_MAX
        is_unknown |= is_weighed_now and not is_known
    return peaks, is_unknown


def weigh(state: State, event: HostSampled) -> None:
    """Tell apart what the tasks of this run take and what all else does."""
    own = 0
    state.memory.live = {}
    for worker, size in event.sizes or _assumed_sizes(state, state.levels.isolated):
        roster = next((one for one in state.levels.ranks if worker in one.services), None)
        if roster is None:
            continue
        service = roster.services[worker]
        size = bound(size, BYTES)  # noqa: PLW2901  # as read by us, of whatever it was
        birth = size if service.birth_bytes is None else service.birth_bytes
        grown = max(0, size - birth)
        own += grown
        flight = roster.busy.get(worker)
        if flight is not None:
            state.memory.live[flight.chunk] = grown
            if flight.cpu_since is None and not is_isolated(flight.level):
                flight.cpu_since = state.host.cpu_seconds
        elif event.sizes:
            roster.services[worker] = service._replace(kept_bytes=grown)
    # Sizes and the host are not read in one instant: what a task takes or frees between the two
    # looks like somebody else's. The smaller of two readings is right.
    base = max(0, state.host.used_bytes - own)
    state.memory.base_bytes, state.memory.last_base_bytes = (
        min(base, state.memory.last_base_bytes),
        base,
    )
    peaks, _ = _speaking_peaks(state)
    state.memory.seen_bytes = _seen_bytes(state, peaks)
    each = max(peaks.p95_bytes, _told_bytes(state) or 0, state.memory.seen_bytes)
    state.memory.excess_bytes = _excess_bytes(state, peaks, each)
    marks = set_marks(state.host, state.config)
    room = max(0, marks.target_bytes - state.memory.base_bytes)
    state.memory.fair_bytes = room / max(1, state.levels.isolated.goal)


def _assumed_sizes(state: State, roster: Roster) -> tuple[tuple[int, int], ...]:
    """Where sizes cannot be read, each chunk counts as grown to what others took."""
    peaks, _ = _speaking_peaks(state)
    each = max(peaks.p95_bytes, _told_bytes(state) or 0)
    return tuple(
        (worker, (roster.services[worker].birth_bytes or 0) + each) for worker in roster.busy
    )


def _told_bytes(state: State) -> int | None:
    size = state.config.task_memory
    if size is None:
        return None
    return parse_size("task_memory", size, limit_bytes=state.host.limit_bytes)


def _seen_bytes(state: State, peaks: Peaks) -> int:
    """Return what every seventh running chunk exceeds, at least the second highest.

    Where that is beyond the 95th percentile measured, tasks have changed; one may be their tail.
    """
    if counts_as_sum(peaks, len(state.memory.live)):
        return 0  # their sum is compared with what is reserved for it
    live = sorted(state.memory.live.values(), reverse=True)
    return live[max(1, len(live) // CHANGE_SHARE)] if len(live) > 1 else 0


def _guess_bytes(state: State) -> int:
    """Guess what a chunk takes: as those of its function did, unless the running ones differ."""
    live, familiar = tuple(state.memory.live.values()), state.memory.familiar
    if familiar is None or any(one.kind != familiar[0] for one in state.batches.values()):
        return guess_chunk_bytes(live, state.live_seconds)
    if max(live, default=0) <= TOLD_SLACK * familiar[1]:
        return familiar[1]
    return guess_chunk_bytes(live, GUESS_SECONDS)


def _excess_bytes(state: State, peaks: Peaks, each_bytes: int) -> float:
    """Say by how much running chunks have outgrown what is reserved for them."""
    live = state.memory.live.values()
    if counts_as_sum(peaks, len(live)):
        return max(0.0, sum(live) - reserve_bytes(peaks, len(live)))
    return float(sum(max(0, grown - each_bytes) for grown in live))


def _room(state: State, kept: int) -> Room:
    marks = set_marks(state.host, state.config)
    taken = state.memory.base_bytes + state.memory.excess_bytes + kept
    target, most = marks.target_bytes - taken, marks.most_bytes - taken
    if state.sharing.share is not None and state.sharing.share.slot_bytes is not None:
        budget = (1.0 + SHARE_SLACK) * _usable_share(state, state.sharing.share.slot_bytes) - kept
        return Room(min(target, budget), min(most, budget))
    return Room(target, most)


def _usable_share(state: State, slot_bytes: int) -> int:
    """Until first chunks have shown their nature no more is used than others were told of."""
    if not state.memory.is_guessing or state.live_seconds >= GUESS_SECONDS:
        return slot_bytes
    return min(
        slot_bytes, max(state.sharing.offered.wanted_bytes, state.sharing.offered.held_bytes)
    )


def _explain_window(state: State) -> None:
    """Tell of the window where it bounds anything and has changed by more than an eighth."""
    goal = max(roster.goal for roster in state.levels.ranks)
    before, now = min(state.memory.told_window or goal, goal), min(state.memory.window.chunks, goal)
    if abs(now - before) > before // TOLD_SHARE:
        state.memory.told_window = now
        old, new = str(before), str(now)
        state.explain("windowed", "debug", "run", state.memory.window.reason, old=old, new=new)
