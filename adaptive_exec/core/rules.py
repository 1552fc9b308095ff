"""The rules that hold after each event, whatever happened; tests and the simulator ask."""

from collections.abc import Iterator

from adaptive_exec.core.batch import Batch
from adaptive_exec.core.bounds import unbounded
from adaptive_exec.core.roster import Flight, Roster
from adaptive_exec.core.state import State
from adaptive_exec.specs import is_beside, is_counted, is_isolated


def broken_rules(state: State) -> Iterator[str]:
    """Name every rule that does not hold now."""
    for batch in state.batches.values():
        flights = [flight for flight in state.flights.values() if flight.batch == batch.id]
        yield from _batch_rules(batch, flights)
    for roster in state.levels.rosters.values():
        yield from _roster_rules(state, roster)
    yield from _flight_rules(state)
    yield from unbounded(state)


def _batch_rules(batch: Batch, flights: list[Flight]) -> Iterator[str]:
    unfinished = sum(flight.stop - flight.next for flight in flights)
    waiting = batch.pending + len(batch.aside) + len(batch.line)
    if batch.finished + waiting + unfinished != batch.arrived:
        yield f"batch {batch.id} does not add up"
    if batch.sent != batch.arrived - batch.pending and not batch.dropped:
        yield f"batch {batch.id} counts {batch.sent} tasks as sent"
    if sum(batch.out.values()) != len(flights):
        yield f"batch {batch.id} counts {batch.out} chunks out, there are {len(flights)}"
    suspects = [
        flight.next for flight in flights if flight.is_suspect and flight.next < flight.stop
    ]
    if sorted(batch.records) != sorted([*batch.line, *suspects]):
        yield f"batch {batch.id} holds records {list(batch.records)} against {list(batch.line)}"


def _roster_rules(state: State, roster: Roster) -> Iterator[str]:
    level = roster.level
    here = {**dict.fromkeys(roster.starting, "ordered"), **dict.fromkeys(roster.idle, "idle")}
    here |= dict.fromkeys(roster.busy, "busy")
    if any(roster.life(worker) != state for worker, state in here.items()):
        yield f"{level}: workers are not where their lives say"
    if roster.state == "closed" and roster.size:
        yield f"level {level} is closed and has {roster.size} workers"
    if level not in state.config.ladder and not is_beside(level) and roster.state != "closed":
        yield f"level {level} is open against the settings"
    is_ailing = level in state.levels.ailing
    if (roster.is_shut or roster.on_trial) != is_ailing and not is_beside(level):
        yield f"level {level} is shut or on trial and not known to be"
    if roster.is_shut and roster.state == "open":
        yield f"level {level} is shut and open"
    if roster.size > max(roster.goal, 1):
        yield f"level {level} has {roster.size} workers, {roster.goal} are wanted"


def _flight_rules(state: State) -> Iterator[str]:
    out = [flight for flight in state.flights.values() if is_counted(flight.level)]
    limit = state.config.max_in_flight
    if limit is not None and len(out) > limit:
        yield f"{len(out)} chunks with workers, {limit} allowed"
    if state.out != len(out):
        yield f"{state.out} chunks counted with workers, there are {len(out)}"
    if state.suspects != sum(len(batch.line) for batch in state.batches.values()):
        yield f"{state.suspects} suspects counted"
    for flight in state.flights.values():
        if flight.is_suspect and not (
            is_isolated(flight.level) and flight.stop - flight.start == 1
        ):
            yield f"suspect {flight.start} is out at level {flight.level}"
    if state.solo is not None and len(out) > 1:
        yield f"chunk {state.solo} is to run alone beside {len(out) - 1} others"
