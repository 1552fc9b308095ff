"""The small steps by which tasks go out and come back; each keeps all counts together.

Decides nothing: who goes where is `dispatch`, who is to blame is `suspects`.
"""

from adaptive_exec.core.batch import Batch
from adaptive_exec.core.instructions import Deliver, FailTasks, Recall, Record, SendChunk
from adaptive_exec.core.memory.walls import wall_of
from adaptive_exec.core.reason import Code, Fact, Reason, because
from adaptive_exec.core.roster import Flight, Roster
from adaptive_exec.core.state import State
from adaptive_exec.specs import is_counted


def launch(
    state: State,
    roster: Roster,
    batch: Batch,
    tasks: tuple[int, int],
    *,
    attempt: int,
    is_suspect: bool = False,
) -> Flight:
    """Send tasks `tasks[0]` to `tasks[1]` - 1 to an idle worker as one chunk."""
    start, stop = tasks
    worker, level = roster.idle[-1], roster.level
    chunk = state.new_chunk_id()
    order = SendChunk(chunk, level, worker, batch.id, start, stop, attempt)
    flight = Flight(order, is_suspect=is_suspect)
    if is_suspect:
        flight.broken_bytes = batch.records[start].wall_bytes
    flight.since = state.now
    if is_counted(level):
        _note_company(state, flight)
    state.flights[chunk] = flight
    roster.assign(flight)
    if batch.measures:
        flight.measure = batch.measure(start, stop)
    batch.begin(level)
    flight.wall_bytes = wall_of(state, flight)
    if flight.wall_bytes is not None:
        order = order._replace(wall_bytes=flight.wall_bytes)
    state.orders.append(order)
    return flight


def _note_company(state: State, flight: Flight) -> None:
    flight.is_alone = state.out == 0
    if state.out == 1:
        for other in state.flights.values():
            other.is_alone = False
    state.out += 1


def land(state: State, flight: Flight) -> Batch:
    """Note that a chunk is over; return its batch."""
    del state.flights[flight.chunk]
    batch = state.batches[flight.batch]
    batch.end(flight.level)
    if is_counted(flight.level):
        state.out -= 1
    if state.solo == flight.chunk:
        state.solo = None
    return batch


def deliver(state: State, flight: Flight, count: int) -> None:
    """Hand the next `count` results of a chunk to the caller, where wanted recorded first."""
    if count == 0:
        return
    batch = state.batches[flight.batch]
    start = flight.next
    flight.next += count
    batch.finished += count
    if batch.measures:
        batch.forget_measures(start, flight.next)
    if flight.is_suspect:
        batch.records.pop(start, None)
    if batch.recorded:
        state.orders.append(Record(flight.chunk, flight.batch, start, flight.next))
    state.orders.append(Deliver(flight.chunk, flight.batch, start, flight.next))


def recall(state: State, batch: Batch, start: int, stop: int, *, result_bytes: int) -> None:
    """Hand results that came from the journal to the caller."""
    batch.recall(start, stop, result_bytes)
    state.orders.append(Recall(batch.id, start, stop))


def fail(state: State, batch: Batch, start: int, stop: int, reason: Reason) -> None:
    """End tasks with one of our errors."""
    if start >= stop:
        return
    batch.finished += stop - start
    if batch.measures:
        batch.forget_measures(start, stop)
    if batch.records:
        for index in range(start, stop):
            batch.records.pop(index, None)
    state.orders.append(FailTasks(batch.id, start, stop, reason))


def give_back(state: State, batch: Batch, start: int, stop: int, *, executions: int) -> None:
    """Let tasks that were sent run again; those of a dropped batch may have begun and end here."""
    if start >= stop:
        return
    if batch.dropped:
        fail(state, batch, start, stop, _dropped(executions))
    else:
        batch.give_back(start, stop, executions)


def fail_pending(state: State, batch: Batch, reason: Reason) -> None:
    """End everything of a batch that waits to be sent."""
    while batch.pending:
        start, stop, executions = batch.take(batch.pending)
        fail(state, batch, start, stop, with_facts(reason, executions=executions))


def fail_line(state: State, batch: Batch, reason: Reason) -> None:
    """End every suspect of a batch that waits for its turn."""
    while batch.line:
        index = batch.line.popleft()
        state.suspects -= 1
        record = batch.records[index]
        reason_here = with_facts(reason, cause=record.cause, executions=record.executions)
        fail(state, batch, index, index + 1, reason_here)


def drop(state: State, batch: Batch) -> None:
    """Forget what has not begun; what may have begun and is not out any more ends with an error."""
    for start, stop, executions in batch.drop():
        fail(state, batch, start, stop, _dropped(executions))
    fail_line(state, batch, because(Code.STOP_ASKED))


def with_facts(reason: Reason, **facts: Fact) -> Reason:
    """Add facts to a reason."""
    return Reason(reason.code, reason.facts + tuple(facts.items()))


def _dropped(executions: int) -> Reason:
    return because(Code.STOP_ASKED, executions=executions)
