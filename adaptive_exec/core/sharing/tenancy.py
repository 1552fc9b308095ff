"""What sharing the host changes in a run: when it trades with the ledger, and how many may work.

The share itself is judged in `share`. A smaller one lets workers go after their chunk, a larger one
lets them come back; the first trade comes before the first worker, later ones come by the clock.
Nothing here waits: a run without a share does what it would do alone.
"""

from math import ceil
from typing import Final

from adaptive_exec.config import MIB
from adaptive_exec.core.batch import Batch
from adaptive_exec.core.bounds import FOREVER
from adaptive_exec.core.costs import has_sample
from adaptive_exec.core.events import ShareChanged
from adaptive_exec.core.instructions import ReadHost, RetireWorker, Standing, TradeShare
from adaptive_exec.core.memory.governor import set_marks
from adaptive_exec.core.memory.window import GUESS_SECONDS, OPEN, UNKNOWN_TASK_BYTES
from adaptive_exec.core.plan import (
    TINY_TASK_BYTES,
    TINY_TASK_SECONDS,
    WAITING_CPU_SHARE,
    WAITING_WORKERS_MAX,
)
from adaptive_exec.core.reason import Code, because
from adaptive_exec.core.roster import Roster
from adaptive_exec.core.sharing.share import Claim, Share, believe_claim, steady
from adaptive_exec.core.state import State
from adaptive_exec.specs import is_inline, is_isolated

SHARE_SECONDS: Final = 0.5
"""Seconds between two trades with the ledger; shares follow arrivals and departures within two
seconds: a trade of the older, the chunk in hand, a trade of the newer."""
SHARE_SECONDS_MAX: Final = 1.5
"""Seconds between two trades where many instances make one expensive."""
SHARE_INSTANCES: Final = 64
"""Instances up to which the ledger is read at SHARE_SECONDS; one record is read in 15 us."""
SHARE_LOOK_SECONDS: Final = 0.05
"""Seconds between two trades of an instance that waits, and at the least between any two."""
FRESH_SECONDS: Final = 0.005
"""Seconds that a reading of the host may be old when a trade is due that goes by it. Source: own
choice; a task fills 10 MB in that time."""
RETOLD_BYTES: Final = 16 * MIB
"""Bytes by which what running chunks take must differ from what others were told, at the least,
before these are told anew. Source: own choice; a task fills so much in 10 ms, a trade takes 0.2."""
RETOLD_PART: Final = 4
"""Part of what one chunk is reckoned to take by which it must differ. Source: own choice, so that a
chunk is told of four times at most."""
SHARE_LOOK_INSTANCES: Final = 16
"""Instances up to which one that waits looks at SHARE_LOOK_SECONDS, and what tasks have freed is
told at once; of more both come less often."""
INPUT_SECONDS: Final = 1.0
"""Seconds without a task from which a run whose input may go on claims nothing. Source: own choice;
the trade when it goes on takes 0.2 ms."""
LEDGER_AGAIN_SECONDS: Final = 30.0
"""Seconds that an instance without a usable ledger goes on alone before it tries again, as long as
CALM_SECONDS."""

WAIT_TOLD_SECONDS = 0.5
"""Seconds that a wait for memory has lasted when people are told: shorter ones are common, since
those who came before find out what their tasks take."""
UNKNOWN_PARTS = 6
"""Parts of the memory up to the mark, one of which a chunk is reckoned to take at most while
nothing is known of it: so many instances at once find out what theirs take, others wait a bit."""


def has_share(state: State, roster: Roster) -> bool:
    """Say whether workers of a level may be ordered; the first process needs a share before."""
    if not state.sharing.is_sharing or state.sharing.is_alone or not is_isolated(roster.level):
        return True
    if state.sharing.share is None:
        state.sharing.next_trade = state.now
        return False
    return not state.is_in_line


def trade(state: State) -> None:
    """Order a trade when it is time: before the first process starts, then again and again."""
    if state.sharing.is_trading or not state.sharing.is_sharing:
        return
    is_active = _is_active(state)
    if is_active and state.sharing.is_resting:  # the others count us as absent
        state.sharing.is_resting = False
        state.sharing.next_trade = min(state.sharing.next_trade, _back_at(state))
    if state.sharing.share is not None:
        again = _retell_at(state, state.sharing.share)
        state.sharing.next_trade = min(state.sharing.next_trade, again)
    is_done = not is_active and _is_inline_only(state)  # it may be that nobody drives any more
    if not is_done and (state.now < state.sharing.next_trade or not _is_host_fresh(state)):
        return
    state.sharing.is_trading = True
    state.sharing.due_since = None
    state.sharing.is_resting = not is_active
    state.sharing.last_trade, state.sharing.next_trade = state.now, FOREVER
    state.orders.append(_offer(state))


def _is_active(state: State) -> bool:
    """Say whether there is something to do, or may be at any moment.

    An input that lets wait promises nothing: what is kept for it is others' until it goes on.
    """
    if state.flights or any(batch.pending or batch.line for batch in state.batches.values()):
        state.sharing.idle_since = None
        return True
    if not _has_work(state):
        return False
    if state.sharing.idle_since is None:
        state.sharing.idle_since = state.now
    return state.now < state.sharing.idle_since + INPUT_SECONDS


def _back_at(state: State) -> float:
    """Say when a run that has rested is to trade again."""
    if state.sharing.is_alone:
        return state.sharing.last_trade + LEDGER_AGAIN_SECONDS
    soon = max(state.sharing.last_trade, state.now if state.sharing.share is None else 0.0)
    return soon + SHARE_LOOK_SECONDS


def _is_inline_only(state: State) -> bool:
    """Say whether a run that others count as active has no worker that could do anything later."""
    others = (roster for roster in state.levels.ranks if not is_inline(roster.level))
    is_counted = state.sharing.share is not None and not state.sharing.is_resting
    return is_counted and not any(roster.size for roster in others)


def take_share(state: State, event: ShareChanged) -> None:
    """Take in what a trade has brought."""
    state.sharing.is_trading = False
    new = event.share
    if new is not None:
        new = steady(state.sharing.share, new, state.sharing.offered.wanted_bytes)
    if event.trouble and not (event.share is None and state.sharing.is_alone):  # said once
        code = Code.LEDGER_UNUSABLE if event.share is None else Code.LEDGER_ODD
        state.explain("ledger", "info", "run", because(code, error=event.trouble))
    old, state.sharing.share = state.sharing.share, new
    state.sharing.is_alone = new is None
    if new is None:
        state.sharing.next_trade = (
            FOREVER if state.sharing.is_resting else state.now + LEDGER_AGAIN_SECONDS
        )
    elif not state.sharing.is_resting:
        interval = SHARE_LOOK_SECONDS if _can_give_back(state, new) else _interval(state, new)
        state.sharing.next_trade = state.now + interval
    if new is not None and new.kin_bytes:
        state.memory.hear(state.sharing.offered.kind, new.kin_bytes)
    for roster in state.levels.ranks:
        assign_seats(state, roster)
    _stand_in_line(state, new)
    if new is not None:
        _tell(state, old, new)


def _can_give_back(state: State, share: Share) -> bool:
    """Say whether more was claimed than is ours and than running chunks take."""
    offered = state.sharing.offered
    busy_bytes = offered.unit_bytes * len(state.levels.isolated.busy)
    return share.slot_bytes is not None and max(share.slot_bytes, busy_bytes) < offered.held_bytes


def next_trade_at(state: State) -> float:
    """Say when the next trade is due; never while one is under way or the host is read for it."""
    return (
        state.sharing.next_trade
        if state.sharing.is_sharing and state.sharing.next_trade > state.now
        else FOREVER
    )


def assign_seats(state: State, roster: Roster) -> None:
    """Say how many workers of a level the share of the cores has room for."""
    share = state.sharing.share
    if share is None or share.instances == 1 or not is_isolated(roster.level):
        roster.seats = None
    else:
        roster.seats = max(1, int(share.slots / _weight(state, roster)))


def shed(state: State, roster: Roster) -> None:
    """Let idle workers go that the share has no room for any more."""
    places = roster.places
    while places is not None and roster.idle and roster.size > places:
        worker = roster.idle[0]
        roster.remove(worker)
        state.orders.append(RetireWorker(roster.level, worker))
        reason = because(Code.SHARE_SHRUNK, seats=places, workers=roster.size)
        state.explain("retired", "debug", f"worker {worker}", reason)


def _used_bytes(state: State) -> int:
    """Return what running chunks were last seen to take."""
    live = state.memory.live
    return sum(live.get(chunk, 0) for chunk in state.flights) if live else 0


def _retell_at(state: State, share: Share) -> float:
    """Say when the others are to be told anew what chunks take, never if it is about so.

    Who waits may wait for what turned out too much. And he reckons that what was promised and is
    used is gone from what the host has left. Of a chunk that is over he would count its memory
    twice, as free and as used of a promise; of one that has grown since he would keep free what is
    gone already.
    """
    told, busy = state.sharing.offered, len(state.levels.isolated.busy)
    if not (told.unit_bytes or busy):
        return FOREVER
    unit_bytes = _unit_bytes(state)
    if share.slot_bytes is None:  # alone at the last trade; who has come since shall not hope
        used, told_bytes = unit_bytes * busy, told.held_bytes
        is_told = used < told_bytes + RETOLD_BYTES
    else:
        used, told_bytes = _used_bytes(state), told.used_bytes
        least = max(RETOLD_BYTES, told.unit_bytes // RETOLD_PART)
        if told_bytes - used >= least and share.instances <= SHARE_LOOK_INSTANCES:
            return state.now
        is_told = abs(used - told_bytes) < least
    if told.unit_bytes and 2 * unit_bytes <= told.unit_bytes:
        return state.sharing.last_trade + SHARE_LOOK_SECONDS
    return FOREVER if is_told else state.sharing.last_trade + _look_interval(share)


def _is_host_fresh(state: State) -> bool:
    """See to it that claims are compared with what the host has left now, not a moment ago."""
    if state.sharing.due_since is None:
        state.sharing.due_since = state.now
    if state.host.taken_at >= state.sharing.due_since - FRESH_SECONDS:
        return True
    if state.memory.await_reading():
        state.orders.append(ReadHost())
    return False


def _stand_in_line(state: State, share: Share | None) -> None:
    """Wait for memory that others hold, but not for ever: then one task at a time goes on."""
    if share is None or not share.place:
        state.sharing.waiting_since = None
    elif state.sharing.waiting_since is None:
        state.sharing.waiting_since = state.now
    elif not state.is_in_line and not state.sharing.is_past_line:
        waited = round(state.now - state.sharing.waiting_since, 3)
        reason = because(Code.SHARE_SPENT, waited=waited, place=share.place)
        state.explain("going on", "warning", "run", reason, new="one task at a time")
    state.sharing.is_past_line = state.sharing.waiting_since is not None and not state.is_in_line


def _has_work(state: State) -> bool:
    return any(_has_more(batch) for batch in state.batches.values())


def _has_more(batch: Batch) -> bool:
    return bool(batch.pending or batch.line or not (batch.exhausted or batch.single))


def _interval(state: State, share: Share) -> float:
    if share.place and not state.sharing.is_past_line:
        return _look_interval(share)
    return min(SHARE_SECONDS_MAX, SHARE_SECONDS * max(1.0, share.instances / SHARE_INSTANCES))


def _look_interval(share: Share) -> float:
    crowd = max(1.0, share.instances / SHARE_LOOK_INSTANCES)
    return min(SHARE_SECONDS_MAX, SHARE_LOOK_SECONDS * crowd)


def _tell(state: State, old: Share | None, new: Share) -> None:
    """Say what changed: the cores that are ours, and a wait that lasts, at its begin and end."""
    workers = state.levels.isolated.size
    if new.place:
        since = state.now if state.sharing.waiting_since is None else state.sharing.waiting_since
        if state.now - since >= WAIT_TOLD_SECONDS and not state.sharing.is_wait_told:
            state.sharing.is_wait_told = True
            state.explain("waiting", "warning", "run", new.reason, place=new.place, workers=workers)
        return
    was_told, state.sharing.is_wait_told = state.sharing.is_wait_told, False
    before = (1, new.slots) if old is None else (old.instances, old.slots)
    if was_told or before != (new.instances, new.slots):
        state.explain("shared", "info", "run", new.reason, workers=workers)


def _offer(state: State) -> TradeShare:
    """Say what this run wants and holds now."""
    rosters = [roster for roster in state.levels.ranks if not is_inline(roster.level)]
    inline = sum(
        is_inline(batch.level) and (_has_more(batch) or bool(batch.out))
        for batch in state.batches.values()
    )
    wanted = held = inline
    for roster in rosters:
        weight = _weight(state, roster)
        most = _most_wanted(state, roster)
        wanted += ceil(weight * max(min(1, most), most - roster.waiting))
        held += ceil(weight * (roster.size - roster.waiting))
    marks = set_marks(state.host, state.config)
    room_bytes = marks.most_bytes - state.host.used_bytes
    claim = Claim("", 0.0, wanted_slots=wanted, held_slots=held)
    state.sharing.offered = _claim_memory(state, claim, _unit_bytes(state))
    return TradeShare(state.sharing.offered, state.host.usable_cores, room_bytes, _standing(state))


def _unit_bytes(state: State) -> int:
    """Return what one chunk is reckoned to take, so that several can find out at once."""
    if not state.memory.chunk_bytes and state.memory.window is OPEN:
        return 0  # it cannot be measured, so that pressure alone holds
    if state.memory.chunk_bytes != UNKNOWN_TASK_BYTES:
        return max(state.memory.chunk_bytes, TINY_TASK_BYTES)  # less is told by a page more or less
    most_bytes = set_marks(state.host, state.config).most_bytes
    return min(UNKNOWN_TASK_BYTES, max(1, most_bytes // UNKNOWN_PARTS))


def _claim_memory(state: State, claim: Claim, each: int) -> Claim:
    """Add what its chunks in processes take and would take; of no other is anything measured."""
    roster = state.levels.isolated
    wanted = _most_wanted(state, roster)
    if state.memory.is_guessing and state.live_seconds < GUESS_SECONDS:  # one finds out for all
        wanted = min(wanted, max(1, len(roster.busy)))
    if roster.seats is not None:
        wanted = min(wanted, roster.seats + roster.waiting)
    granted = 0 if state.sharing.share is None else state.sharing.share.slot_bytes
    if granted is None:  # alone so far: as much as is let out
        granted = each * state.memory.window.chunks
    kept = min(granted, each * wanted)
    claim = claim._replace(
        unit_bytes=each if wanted else 0,
        wanted_bytes=each * wanted,
        held_bytes=max(kept, each * len(roster.busy)),
        used_bytes=_used_bytes(state),
        kind=_kind(state),
        is_guess=state.memory.is_guessing,
    )
    return believe_claim(claim)


def _kind(state: State) -> int:
    """Return the function's number where all that is to do is calls of one, else 0."""
    kinds = {batch.kind for batch in state.batches.values()}
    return kinds.pop() if len(kinds) == 1 else 0


def _most_wanted(state: State, roster: Roster) -> int:
    """Count the workers that a level would have work for if it were alone."""
    if state.sharing.is_resting:
        return 0
    users = [batch for batch in state.batches.values() if batch.level == roster.level]
    chunks = sum(_chunks_left(batch, roster) for batch in users)
    return min(roster.goal, len(roster.busy) + chunks)


def _chunks_left(batch: Batch, roster: Roster) -> int:
    """Count what a batch has left; of submitted calls only those that are here already."""
    if batch.single:
        return batch.pending
    return roster.goal if batch.left is None else batch.left


def _weight(state: State, roster: Roster) -> float:
    """Say how much of a core one of its workers keeps busy: all, unless its tasks mostly wait."""
    users = [batch for batch in state.batches.values() if batch.level == roster.level]
    return max((_core_share(batch) for batch in users), default=1.0)


def _core_share(batch: Batch) -> float:
    costs = batch.costs
    if not has_sample(costs) or costs.cpu_seconds is None:
        return 1.0
    if costs.wall_seconds < TINY_TASK_SECONDS:
        return 1.0
    share = costs.cpu_seconds / costs.wall_seconds
    return max(share, 1 / WAITING_WORKERS_MAX) if share <= WAITING_CPU_SHARE else 1.0


def _standing(state: State) -> Standing:
    flights = state.flights.values()
    rosters = sorted(state.levels.ranks, key=lambda roster: len(roster.busy), reverse=True)
    level = next((roster.level for roster in rosters if roster.size), "")
    workers = sum(roster.size for roster in rosters)
    batches = state.batches.values()
    totals = [batch.tasks for batch in batches if not batch.single]
    total = None if None in totals else sum(count or 0 for count in totals)
    done = sum(batch.finished for batch in batches)
    place = state.sharing.share.place if state.sharing.share is not None else 0
    pressure = state.memory.verdict.pressure
    return Standing(level, workers, len(flights), done, total, pressure, place)
