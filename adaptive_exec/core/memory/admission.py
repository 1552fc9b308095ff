"""Which task is let out next where tasks differ in size: admission by bytes.

What is out has its own reserves; the next task goes when its own fits beside them. A smaller one
may pass a larger one that does not fit, as long as that one waits for chunks that were out before:
it never waits for who has passed it by more than one of them. One that is larger than any seen
before is tried by itself: no other of that kind goes out until it has shown its nature. Pure
but for the batch's note of who waits since when.
"""

from collections.abc import Iterator
from typing import NamedTuple

from adaptive_exec.config import MIB
from adaptive_exec.core.batch import Batch
from adaptive_exec.core.memory.governor import set_marks
from adaptive_exec.core.memory.sizes import ALIKE, ALIKE_BYTES, Expected, Measure, Sizing
from adaptive_exec.core.memory.window import GUESS_EXTRA_BYTES, GUESS_SECONDS
from adaptive_exec.core.roster import Flight, Roster
from adaptive_exec.core.state import State
from adaptive_exec.specs import ISOLATED, is_isolated

PRECISE = 0.25
"""Share of what is out by which the forms may waste, so that reserves go up to the warn mark; at
twice that they stay at the target. Source: as `window.LITTLE_SPREAD`."""
PROBE_SECONDS = 4 * GUESS_SECONDS
"""Seconds after which one larger than any before is expected to take what it has shown, as a first
chunk is; until then what its size makes likely. Source: own choice; on a busy host 200 MB were
filled after 1.1 s."""
KINDS_KEPT = 64
"""Functions of which sizes are remembered, the newest. Source: own choice."""
SIZED_BYTES = 4 * MIB
"""Bytes that a chunk must have taken for the sizes of tasks to be asked for. Source: a task that
fills them takes a thousand times as long as to look at its arguments."""


class Choice(NamedTuple):
    """The task that goes out next.

    Attributes:
        task: Its index.
        need_bytes: What is reserved for it.
        is_probe: True where it is larger than any seen before.
    """

    task: int
    need_bytes: int = 0
    is_probe: bool = False


def goes_by_bytes(state: State) -> bool:
    """Say whether what waits is let out by its own size."""
    return any(batch.is_sizing and _speaks(state, batch) for batch in state.batches.values())


def _speaks(state: State, batch: Batch) -> bool:
    if batch.is_told:
        return True
    if batch.kind:
        sizing = state.memory.sizings.get(batch.kind)
        return sizing is not None and sizing.speaker is not None
    kinds = {one.kind for one in batch.measures.values()}
    return any(
        kind in state.memory.sizings and state.memory.sizings[kind].speaker for kind in kinds
    )


def expect(state: State, measure: Measure | None, index: int) -> Expected:
    """Say by how much a task is expected to make its worker larger than before its first one.

    Returns:
        What its size tells; where that tells nothing, what all chunks are reckoned to take.
    """
    plain = Expected(state.memory.chunk_bytes)
    if measure is None:
        return plain
    sizing = state.memory.sizings.get(measure.kind)
    if measure.told_bytes is not None:
        ratio = 1.0 if sizing is None else sizing.told_ratio
        return Expected(int(measure.told_bytes * ratio))
    if sizing is None:
        return plain
    said = sizing.expect(measure.numbers, index)
    if not said.is_known:
        return said._replace(bytes=max(said.bytes, 2 * sizing.highest_bytes + GUESS_EXTRA_BYTES))
    return said if said.bytes else plain


def choose(
    state: State, batch: Batch, roster: Roster, *, may_pass: bool, head: int | None = None
) -> Choice | None:
    """Name the task of a batch that goes out next.

    Args:
        state: What the run knows.
        batch: One with tasks that wait, and with measures.
        roster: Who has the idle worker for it; what that one keeps is part of what it will take.
        may_pass: False where only the first that waits may go.
        head: The one that is to go first, None for the batch's own order.

    Returns:
        The task; None where none fits now. With nothing out the first always goes.
    """
    waiting = batch.waiting()
    head = next(waiting) if head is None else head
    if batch.is_sized and head not in batch.measures:
        return None
    said = expect(state, batch.measures.get(head), head)
    if not state.out:
        batch.passed_from = None
        return Choice(head, said.bytes, not said.is_known)
    room = room_bytes(state) - taken_bytes(state) + roster.services[roster.idle[-1]].kept_bytes
    is_by_bytes = goes_by_bytes(state)
    if _may_go(state, said, room, is_by_bytes=is_by_bytes):
        batch.passed_from = None
        return Choice(head, said.bytes, not said.is_known)
    if not (may_pass and _may_be_passed(state, batch, said)):
        return None
    for index in waiting:
        if batch.is_sized and index not in batch.measures:
            break
        said = expect(state, batch.measures.get(index), index)
        if said.is_known and _may_go(state, said, room, is_by_bytes=is_by_bytes):
            return Choice(index, said.bytes)
    return None


def _may_go(state: State, said: Expected, room: float, *, is_by_bytes: bool) -> bool:
    if not said.is_known:
        return said.bytes <= room and not _is_probing(state)
    return said.bytes <= room or not is_by_bytes  # else the window has had its say


def _is_probing(state: State) -> bool:
    """Say whether one larger than any before is out that has not shown its nature yet."""
    return any(
        flight.is_probe and state.now - flight.since < GUESS_SECONDS
        for flight in state.flights.values()
    )


def _may_be_passed(state: State, batch: Batch, said: Expected) -> bool:
    """Say whether the first that waits would wait even if nobody had passed it."""
    if batch.passed_from is None:
        batch.passed_from = state.last_chunk_id
    before = [one for one in state.flights.values() if one.chunk <= batch.passed_from]
    held = sum(_held_bytes(state, one) for one in before)
    would_go = said.bytes <= room_bytes(state) - _idle_bytes(state) - held
    return not would_go and bool(before)


def room_bytes(state: State) -> float:
    """Return the memory that there is for what tasks of this run take."""
    marks = set_marks(state.host, state.config)
    spare = marks.most_bytes - marks.target_bytes
    room = marks.target_bytes + spare * _precision(state) - state.memory.base_bytes
    if state.sharing.share is not None and state.sharing.share.slot_bytes is not None:
        room = min(room, float(state.sharing.share.slot_bytes))
    return room


def _precision(state: State) -> float:
    """Say how well sizes tell, from 0 to 1: what they waste of what is used."""
    waste = max((one.waste for one in state.memory.sizings.values() if one.speaker), default=1.0)
    return min(1.0, max(0.0, 2.0 - waste / PRECISE))


def taken_bytes(state: State) -> float:
    """Return what is reserved for chunks that are out, and what idle workers keep."""
    out = (one for one in state.flights.values() if is_isolated(one.level))
    return _idle_bytes(state) + sum(_held_bytes(state, one) for one in out)


def _held_bytes(state: State, flight: Flight) -> int:
    reserve = flight.reserve_bytes or state.memory.chunk_bytes
    if flight.is_probe and state.now - flight.since >= PROBE_SECONDS:
        reserve = min(reserve, 2 * state.memory.live.get(flight.chunk, 0) + GUESS_EXTRA_BYTES)
    return max(reserve, state.memory.live.get(flight.chunk, 0))


def _idle_bytes(state: State) -> int:
    roster = state.levels.rosters[ISOLATED]
    return sum(roster.services[worker].kept_bytes for worker in roster.idle)


def count_fitting(state: State) -> int:
    """Say how many chunks may be out at most: those there are, and the smallest that wait."""
    room = room_bytes(state) - taken_bytes(state)
    needs = [expect(state, one, index).bytes for index, one in _waiting_measures(state)]
    each = max(1, min(needs, default=state.memory.chunk_bytes))
    return state.out + max(0, int(room / each))


def _waiting_measures(state: State) -> Iterator[tuple[int, Measure | None]]:
    for batch in state.batches.values():
        for index in batch.waiting():
            yield index, batch.measures.get(index)


def alike(state: State, batch: Batch, choice: Choice, count: int) -> int:
    """Say how many tasks from the chosen one on are of like size, so that they may go together."""
    for index in range(choice.task + 1, choice.task + count):
        if batch.is_sized and index not in batch.measures:
            return index - choice.task
        said = expect(state, batch.measures.get(index), index)
        if not said.is_known or said.bytes > ALIKE * choice.need_bytes + ALIKE_BYTES:
            return index - choice.task
    return count


def reserve(roster: Roster, flight: Flight, choice: Choice) -> None:
    """Reserve memory for a chunk that goes out."""
    flight.reserve_bytes = max(choice.need_bytes, roster.services[flight.worker].kept_bytes)
    flight.is_probe = choice.is_probe


def reserve_late(state: State, flight: Flight) -> None:
    """Reserve memory for a chunk that went out before its size was known."""
    if flight.reserve_bytes or flight.measure is None:
        return
    said = expect(state, flight.measure, flight.stop - 1)
    flight.reserve_bytes, flight.is_probe = said.bytes, not said.is_known


def find_sizing(state: State, kind: int) -> Sizing:
    """Return what was learned of a function's sizes; the one not met for longest is forgotten."""
    sizing = state.memory.sizings.pop(kind, None) or Sizing()
    state.memory.sizings[kind] = sizing
    while len(state.memory.sizings) > KINDS_KEPT:
        del state.memory.sizings[next(iter(state.memory.sizings))]
    return sizing
