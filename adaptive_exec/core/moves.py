"""Changes of level: down after a failure, up after calm and a trial, aside after measuring.

When and where to is judged in `plan` and `ladder`; this file carries the answer into the state.
A level that failed is taken down whole before another one opens. A batch keeps what it has out
where it is and goes on elsewhere.
"""

from adaptive_exec.core.acquainted import recall_costs
from adaptive_exec.core.batch import Batch
from adaptive_exec.core.bounds import FOREVER
from adaptive_exec.core.costs import has_sample
from adaptive_exec.core.counts import fail_line, fail_pending
from adaptive_exec.core.events import BatchOpened, InitializerFailed
from adaptive_exec.core.instructions import CloseLevel
from adaptive_exec.core.ladder import CALM_SECONDS, next_level, shut, suggest_move
from adaptive_exec.core.largest import LargestFirst
from adaptive_exec.core.plan import (
    BatchShape,
    Plan,
    affordable_workers,
    count_waiting_workers,
    count_workers,
    make_plan,
    paying_workers,
    usable_levels,
)
from adaptive_exec.core.reason import Code, Fact, Reason, because
from adaptive_exec.core.roster import Roster
from adaptive_exec.core.sharing.tenancy import assign_seats
from adaptive_exec.core.state import State
from adaptive_exec.specs import ISOLATED, LEVELS, is_inline, is_isolated

MOVES_MAX = 2
"""Moves by measurement per batch: explore once, then commit."""


def settle_in(state: State, event: BatchOpened) -> None:
    """Plan a new batch and put it where it starts; one that is here already stays as it is."""
    if event.batch in state.batches:
        return
    reopen(state)
    if event.single:  # nobody knows how many will come, and a batch stays at its level
        event = event._replace(tasks=None)
    shape = BatchShape(event.tasks, event.portable, event.announced)
    plan = make_plan(shape, state.host, state.config, shut=state.shut_levels)
    home = make_plan(shape, state.host, state.config).level
    if plan.reason.code is Code.MEMORY_SHORT:
        home = _wait_for_memory(state)
    if _is_isolated_at_hand(state, plan, portable=event.portable):
        home, plan = ISOLATED, plan._replace(level=ISOLATED, reason=because(Code.LEVEL_OPEN))
    if event.largest_first:
        by_size = state.config.size is not None
        batch: Batch = LargestFirst(event, level=plan.level, home=home, by_size=by_size)
    else:
        batch = Batch(event, level=plan.level, home=home)
    recall_costs(state, batch, is_at_hand=event.at_hand)
    state.batches[event.batch] = batch
    workers = enter(state, batch, plan.level)
    subject = f"batch {batch.id}"
    state.explain("planned", "info", subject, plan.reason, new=plan.level, workers=workers)


def _wait_for_memory(state: State) -> str:
    """Have the process level tried again after calm; it is where the batch would rather be."""
    roster = state.levels.isolated
    if roster.state == "closed" and not roster.is_shut:
        error = f"{state.host.available_bytes} bytes of memory available"
        roster.breaker = shut(roster.breaker._replace(error=error), state.now)
        roster.on_trial = False
        state.levels.ailing.add(ISOLATED)
    return ISOLATED


def _is_isolated_at_hand(state: State, plan: Plan, *, portable: bool) -> bool:
    """Say whether a batch planned lower finds workers of the process level already there."""
    roster = state.levels.isolated
    is_at_hand = roster.state == "open" and not roster.is_shut and bool(roster.services)
    return not is_isolated(plan.level) and is_at_hand and portable


def enter(state: State, batch: Batch, level: str) -> int:
    """Let a batch go on at a level; return how many workers it may have there."""
    batch.level = level
    batch.chunk = batch.chunk_tasks or 1  # so that no more is pulled than a first chunk asks for
    roster = state.levels.rosters[level]
    if is_inline(level):
        workers = sum(1 for other in state.batches.values() if other.level == level)
    else:
        workers = count_workers(level, batch.left, state.host, state.config)
    roster.aim(workers)
    if state.config.task_timeout is not None and not is_isolated(level):
        reason = because(Code.NOT_ENFORCED, limit=state.config.task_timeout)
        state.explain("unenforced", "warning", f"batch {batch.id}", reason)
    return workers


# down


def degrade(state: State, roster: Roster, code: Code) -> None:
    """Leave a level that failed: nothing more is sent, it drains, closes, the next one opens."""
    level, was_trial, workers = roster.level, roster.on_trial, roster.size
    roster.on_trial = roster.is_spent = False
    roster.strikes = 0
    roster.start_after = 0.0
    roster.breaker = shut(roster.breaker, state.now)
    roster.see("failed")
    state.levels.ailing.add(level)
    steps = [(batch, _step_down(state, batch, level)) for batch in state.batches.values()]
    news = {new for batch, new in steps if new is not None}
    new = max(news, key=LEVELS.index) if news else _below(state, level)
    reason = because(code, error=roster.breaker.error, workers=workers)
    severity = "info" if was_trial else "warning"
    state.explain("degraded", severity, "run", reason, old=level, new=new)
    for batch, lower in steps:
        if lower is not None:
            enter(state, batch, lower)
    if is_isolated(level):
        for batch in state.batches.values():
            fail_line(state, batch, because(Code.NO_ISOLATION, error=roster.breaker.error))


def _step_down(state: State, batch: Batch, old: str) -> str | None:
    """End a trial at the failed level; name where a batch that is at home there goes now."""
    if batch.trial == old:
        batch.trial = None
    if batch.level != old or not (batch.portable or state.config.fallback):
        return None
    return next_level(old, state.config, portable=batch.portable, shut_levels=state.shut_levels)


def _below(state: State, level: str) -> str:
    shut_levels = state.shut_levels
    return next_level(level, state.config, portable=True, shut_levels=shut_levels) or ""


def close_drained(state: State) -> None:
    """Close the levels that are to go and have nothing out any more."""
    for roster in state.levels.rosters.values():
        if roster.state == "draining" and not roster.busy:
            roster.see("drained")
            state.orders.append(CloseLevel(roster.level))


def leave_processes(state: State, batch: Batch, error: str) -> None:
    """Take a batch away from processes, where its function cannot go; else it ends there."""
    if not batch.portable:
        return
    batch.portable = False
    batch.refusal = error
    batch.trial = None
    reason = because(Code.FUNCTION_NOT_PORTABLE, error=error)
    levels = usable_levels(state.config, portable=False, shut=state.shut_levels)
    new = levels[0] if levels and state.config.fallback else batch.level
    if is_isolated(new):
        state.explain("refused", "warning", f"batch {batch.id}", reason)
    batch.home = new
    if new != batch.level:
        _move(state, batch, new, reason, severity="warning")
    fail_line(state, batch, because(Code.NO_ISOLATION, error=error))


def stranded(state: State, batch: Batch) -> Reason | None:
    """Say why nothing of a batch can be run at its level, None when it can be."""
    if state.levels.broken is not None:
        return state.levels.broken
    if is_isolated(batch.level) and not batch.portable:
        return because(Code.FUNCTION_NOT_PORTABLE, level=batch.level, error=batch.refusal)
    breaker = state.levels.rosters[batch.level].breaker
    if breaker.shut_until is not None:
        error = breaker.error + (_FOR_WORKERS if state.config.initializer is not None else "")
        return because(Code.NO_LEVEL_LEFT, level=batch.level, error=error)
    return None


_FOR_WORKERS = "; in this process an initializer runs with levels=('thread', 'sequential') only"


def fail_stranded(state: State, batch: Batch) -> None:
    """End what waits where nothing can run and no safer level is left: an error, never a wait."""
    reason = stranded(state, batch)
    if reason is None:
        return
    fail_pending(state, batch, reason)
    fail_line(state, batch, reason)


# up


def reopen(state: State) -> None:
    """Try levels again whose calm time has passed, with one worker and one chunk."""
    for level, roster in state.levels.rosters.items():
        if level not in state.levels.ailing:
            continue
        until = roster.breaker.shut_until
        if until is None:
            _find_trial(state, roster)
        elif state.now >= until and roster.state == "closed":
            _try_again(state, roster)


def _try_again(state: State, roster: Roster) -> None:
    wanted = any(
        batch.level == roster.level or _could_use(state, batch, roster.level)
        for batch in state.batches.values()
    )
    if wanted and not _is_calm(state, roster.level):
        roster.breaker = roster.breaker._replace(shut_until=state.now + CALM_SECONDS)
        return
    roster.breaker = roster.breaker._replace(shut_until=None)
    roster.on_trial = True
    roster.cap = 1
    if _is_in_use(state, roster.level):
        state.explain("trying", "info", "run", because(Code.CALM), new=roster.level)
    else:
        _find_trial(state, roster)


def _is_in_use(state: State, level: str) -> bool:
    return any(level in {batch.level, batch.trial} for batch in state.batches.values())


def _is_calm(state: State, level: str) -> bool:
    if is_inline(level):
        return True
    has_room = affordable_workers(level, state.host, state.config) >= 1
    return state.memory.verdict.pressure == "normal" and has_room


def _find_trial(state: State, roster: Roster) -> None:
    """Give a level that is on trial a batch to prove itself with."""
    level = roster.level
    if _is_in_use(state, level):
        return
    for batch in state.batches.values():
        if batch.trial is None and _could_use(state, batch, level):
            batch.trial = level
            state.explain("trying", "info", "run", because(Code.CALM), old=batch.level, new=level)
            return


def _could_use(state: State, batch: Batch, level: str) -> bool:
    """Say whether a batch is below a level at which it would rather be."""
    here, there, home = (LEVELS.index(name) for name in (batch.level, level, batch.home))
    usable = usable_levels(state.config, portable=batch.portable, shut=frozenset())
    return home <= there < here and batch.left != 0 and level in usable


def pass_trial(state: State, roster: Roster, batch: Batch) -> None:
    """Bring every batch back that would rather be at a level which has proved itself."""
    level = roster.level
    roster.on_trial = False
    roster.breaker = roster.breaker._replace(calm_seconds=CALM_SECONDS)
    state.levels.ailing.discard(level)
    old = batch.level if batch.level != level else ""
    state.explain("restored", "info", "run", because(Code.TRIAL_PASSED), old=old, new=level)
    for other in state.batches.values():
        if other.trial == level or _could_use(state, other, level):
            other.trial = None
            enter(state, other, level)


def next_trial_at(state: State) -> float:
    """Say when the next shut level may be tried; never when nobody waits for one."""
    if not state.batches:
        return FOREVER
    untils = (state.levels.rosters[level].breaker.shut_until for level in state.levels.ailing)
    return min((at for at in untils if at is not None and at > state.now), default=FOREVER)


# aside


def consider_move(state: State, batch: Batch) -> None:
    """Move a batch, or give it more workers, where it was measured to be done sooner so."""
    _widen(state, batch)
    if batch.moves >= MOVES_MAX or batch.records or batch.trial is not None:
        return
    move = suggest_move(
        batch.level,
        batch.costs,
        state.config,
        workers=state.levels.isolated.cap or 1,
        left=batch.left,
        single=batch.single,
    )
    if move is None or move.level in state.shut_levels or batch.dropped:
        return
    if is_isolated(move.level) and not batch.portable:
        return
    batch.moves += 1
    batch.home = move.level
    _move(state, batch, move.level, move.reason)


def _widen(state: State, batch: Batch) -> None:
    """Give tasks that mostly wait more workers than there are cores."""
    costs, level = batch.costs, batch.level
    if not has_sample(costs) or batch.dropped or level != batch.home:
        return
    workers = count_waiting_workers(level, costs, batch.left, state.host, state.config)
    roster = state.levels.rosters[level]
    price = roster.start_seconds + (batch.load_seconds or 0.0)
    workers = min(workers, paying_workers(costs, batch.left, state.host.usable_cores, price))
    if workers <= roster.goal:
        return
    share = round((costs.cpu_seconds or 0.0) / costs.wall_seconds, 3)
    reason = because(Code.TASKS_WAIT, cpu_share=share, old_workers=roster.goal, workers=workers)
    roster.aim(workers)
    assign_seats(state, roster)
    state.explain("widened", "info", f"batch {batch.id}", reason, new=level)


def call_home(state: State, batch: Batch, reason: Reason) -> None:
    """Bring a batch back to isolation for good that left it by measurement and has a suspect."""
    if not batch.moves or is_isolated(batch.level):
        return
    batch.moves = MOVES_MAX
    batch.home = ISOLATED
    _move(state, batch, ISOLATED, reason)


def _move(state: State, batch: Batch, new: str, reason: Reason, *, severity: str = "info") -> None:
    old = batch.level
    facts: dict[str, Fact] = {"workers": enter(state, batch, new)}
    state.explain("moved", severity, f"batch {batch.id}", reason, old=old, new=new, **facts)


def give_up(state: State, event: InitializerFailed) -> None:
    """Note that no worker can begin, so that no task can run at all any more."""
    state.levels.rosters[event.level].remove(event.worker)
    if state.levels.broken is None:
        state.levels.broken = because(Code.INITIALIZER_FAILED, error=event.error)
        state.explain("broken", "error", event.level, state.levels.broken)
