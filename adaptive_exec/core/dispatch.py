"""Who gets the next chunk, how long it is, and when the caller's iterator is asked for more.

Batches take turns, whatever their levels. Under memory pressure one chunk at a time goes out, so
that the run never stands still. Not to pull is the only back-pressure.
"""

from typing import Final

from adaptive_exec.core.batch import Batch
from adaptive_exec.core.chunks import (
    HELD_TASKS_MAX,
    JUMP,
    LOOKAHEAD_CHUNKS,
    chunk_tasks,
    holds_too_much,
    pull_tasks,
    single_tasks,
    target_seconds,
    was_short,
)
from adaptive_exec.core.counts import launch
from adaptive_exec.core.instructions import Pull
from adaptive_exec.core.largest import LargestFirst
from adaptive_exec.core.memory.admission import alike, choose, reserve
from adaptive_exec.core.roster import Roster
from adaptive_exec.core.state import State
from adaptive_exec.core.suspects import due_suspect, send_suspect
from adaptive_exec.specs import INLINE, is_inline, is_isolated

ASIDE_TASKS_MAX: Final = 10_000
"""Tasks pulled of which another instance runs each, after which no more are pulled."""

KEPT_SHARE = 0.5
"""Share of a worker's fair part of memory by which it may grow for good in one chunk."""


def dispatch(state: State) -> None:
    """Send what may be sent, suspects first where their turn has come."""
    while _may_send(state):
        due = due_suspect(state) if state.suspects else None
        if due is None and _send_next(state):
            continue
        due = due or (due_suspect(state) if state.suspects else None)  # it may hold up the rest
        if due is None or not send_suspect(state, *due):
            return


def _may_send(state: State) -> bool:
    if state.solo is not None:
        return False
    if state.memory.room_until > state.now and state.is_short_of_room:
        return False
    if state.sharing.waiting_since is not None and state.is_in_line:
        return False
    if not state.out:
        return True
    if state.memory.verdict.pressure != "normal" or state.out >= state.memory.window.chunks:
        return False
    return state.config.max_in_flight is None or has_room_in_flight(state)


def has_room_in_flight(state: State) -> bool:
    """Say whether the caller's bound lets one more chunk out."""
    limit = state.config.max_in_flight
    if limit is None:
        return True
    beside = 0 if state.beside is None else len(state.beside.roster.busy)
    return state.out + beside < limit


def may_send_of(state: State, batch: Batch) -> bool:
    """Say whether a batch has tasks to send, and what becomes of them can be handed over."""
    if (batch.recorded and state.is_recording_full) or (batch.single and state.is_setting_full):
        return False
    return batch.may_begin and not _is_glutted(state, batch)


def put_behind(state: State, batch: Batch) -> None:
    """Let all other batches have their turn first."""
    state.batches[batch.id] = state.batches.pop(batch.id)


def _send_next(state: State) -> bool:
    """Send a chunk of the first batch that can send one, and put it behind the others."""
    for batch in state.batches.values():
        if (batch.recorded and state.is_recording_full) or (batch.single and state.is_setting_full):
            continue
        roster = _find_seat(state, batch) if batch.may_begin else None
        if roster is None or _is_glutted(state, batch):
            continue
        choice, head = None, _due_next(batch)
        if (batch.measures or batch.is_sized) and is_isolated(roster.level):
            may_pass = not _holds_too_much(batch)
            choice = choose(state, batch, roster, may_pass=may_pass, head=head)
            if choice is None:
                continue
        if len(state.batches) > 1:
            put_behind(state, batch)
        batch.chunk = _chunk_size(state, batch, roster)
        if choice is None:
            start, stop, executions = batch.take(batch.chunk, head)
            launch(state, roster, batch, (start, stop), attempt=executions + 1)
            return True
        count = alike(state, batch, choice, batch.chunk)
        start, stop, executions = batch.take(count, choice.task)
        flight = launch(state, roster, batch, (start, stop), attempt=executions + 1)
        reserve(roster, flight, choice)
        return True
    return False


def _is_glutted(state: State, batch: Batch) -> bool:
    """Say whether a batch must wait for its caller, who holds up more results than fit here.

    What the caller would take next is finished or out by then, so that nobody waits for another.
    """
    if batch.single or state.is_stopping or not _holds_too_much(batch):
        batch.is_glutted = False
    else:
        batch.is_glutted = batch.first_pending > batch.taken
    return batch.is_glutted


def _due_next(batch: Batch) -> int | None:
    """Name the task that the caller waits for where he holds up the larger ones; None: any."""
    is_due = isinstance(batch, LargestFirst) and _holds_too_much(batch)
    return batch.first_pending if is_due else None


def _holds_too_much(batch: Batch) -> bool:
    return holds_too_much(batch.held, max(batch.costs.result_bytes, batch.recalled_bytes))


def _find_seat(state: State, batch: Batch) -> Roster | None:
    """Name the level that has an idle worker for this batch."""
    if batch.trial is not None and batch.trial not in batch.out:
        roster = state.levels.rosters[batch.trial]
        if roster.idle and roster.state == "open":
            return roster
    roster = state.levels.rosters[batch.level]
    if not roster.idle or roster.state != "open":
        return None
    if is_inline(roster.level) and INLINE in batch.out:
        return None
    if not batch.portable and is_isolated(roster.level):
        return None  # it has nowhere to go, and ends as an error
    return roster


def _chunk_size(state: State, batch: Batch, roster: Roster) -> int:
    if roster.on_trial or (batch.single and not is_isolated(roster.level)):
        return 1
    if batch.chunk_tasks is not None:
        return batch.chunk_tasks
    workers = roster.cap
    if state.beside is not None:
        workers += state.beside.workers_beside(batch, batch.chunk)
    if batch.single:
        count = single_tasks(batch.costs, batch.pending, workers)
    else:
        seconds = target_seconds(roster.level)
        may_jump = is_inline(roster.level) or _was_short(batch, roster.level)
        count = chunk_tasks(batch.costs, batch.left, workers, seconds=seconds, may_jump=may_jump)
    if batch.kept_each:  # a chunk of a function that leaks must not leak a worker's whole part
        count = min(count, int(KEPT_SHARE * state.memory.fair_bytes / batch.kept_each) or 1)
    limit = state.config.max_tasks_per_worker
    if limit is None:
        return count
    served = roster.services[roster.idle[-1]].tasks if roster.idle else 0
    return max(1, min(count, limit - served))


def _was_short(batch: Batch, level: str) -> bool:
    """Say whether the last chunk cost less than to send it; between threads that costs nothing."""
    return is_isolated(level) and batch.chunk_tasks is None and was_short(batch.costs)


def _may_jump(batch: Batch, workers: int) -> bool:
    """Say whether far more may be pulled at once, all of which may have to be held."""
    ahead = batch.arrived - batch.taken
    return ahead + LOOKAHEAD_CHUNKS * workers * JUMP * batch.chunk <= HELD_TASKS_MAX


def pull(state: State, batch: Batch) -> None:
    """Ask for more tasks of a batch where there is room for them."""
    if batch.exhausted or batch.single:
        return
    if isinstance(batch, LargestFirst):
        _pull_ahead(state, batch)
        return
    workers = 1 if is_inline(batch.level) else state.levels.rosters[batch.level].cap or 1
    workers += 0 if state.beside is None else state.beside.workers_beside(batch, batch.chunk)
    chunk = batch.chunk
    if _was_short(batch, batch.level) and _may_jump(batch, workers):
        chunk *= JUMP  # as long as the next may be
    if batch.pending + batch.asked > workers * chunk and batch.buffer_tasks is None:
        return  # as `pull_tasks` would say, but this is asked after every event
    if not state.is_stopping and _holds_too_much(batch):
        return
    if len(batch.aside) >= ASIDE_TASKS_MAX:
        return
    count = pull_tasks(
        chunk=chunk,
        workers=workers,
        pending=batch.pending,
        asked=batch.asked,
        outstanding=batch.arrived - batch.taken,
        buffer_tasks=batch.buffer_tasks,
    )
    if count:
        batch.asked += count
        state.orders.append(Pull(batch.id, count))


def _pull_ahead(state: State, batch: LargestFirst) -> None:
    """Ask for as many as the largest is looked for among."""
    if (not state.is_stopping and _holds_too_much(batch)) or len(batch.aside) >= ASIDE_TASKS_MAX:
        return
    count = batch.room_to_pull()
    if count > 0:
        batch.asked += count
        state.orders.append(Pull(batch.id, count))
