"""Where the workers' time went: each second of each worker counts once, under one name.

Time counts while there is work: something runs, waits, or is awaited from the caller. What a
finished chunk says of its tasks is compute; the rest of the time that it was out is transport. A
worker without a chunk waits for what holds the next one up. Decides nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from adaptive_exec.core.batch import Batch
from adaptive_exec.core.roster import Roster
from adaptive_exec.core.state import State

Use = Literal[
    "compute",
    "transport",
    "lost",
    "start",
    "memory",
    "cores",
    "input",
    "caller",
    "suspect",
    "max_in_flight",
    "idle",
]
USES: Final[Mapping[Use, str]] = {
    "compute": "tasks ran",
    "transport": "chunks were packed, sent and unpacked",
    "lost": "chunks ran that did not come to an end: their worker died, or was stopped",
    "start": "workers started",
    "memory": "waiting for memory",
    "cores": "waiting for cores that neighbours have",
    "input": "waiting for the caller's iterator",
    "caller": "waiting for the caller to take results",
    "suspect": "waiting while a task ran alone that had killed its worker",
    "max_in_flight": "waiting for `max_in_flight`",
    "idle": "nothing was left to run",
}
"""What a worker's second is spent on, and in words."""


class Account:
    """Adds up what workers did, event by event.

    Attributes:
        wall_seconds: Time while there was work.
        seconds: Workers' seconds by what they were spent on; their sum is that of all workers
            over that time.
        waits_for: What a worker that is free waits for, as of the last event.
    """

    def __init__(self) -> None:
        self.wall_seconds = 0.0
        self.seconds: dict[Use, float] = dict.fromkeys(USES, 0.0)
        self._at: float | None = None
        self._starting = self._free = 0
        self.waits_for: Use = "idle"
        self._out: dict[int, float] = {}

    def begin(self, chunk: int, now: float) -> None:
        """Note a chunk that goes out."""
        self._out[chunk] = now

    def end(self, chunk: int, now: float, wall_seconds: float) -> None:
        """Note a chunk that is through, and how long its tasks took."""
        since = self._out.pop(chunk, None)
        if since is not None:
            ran = min(max(0.0, wall_seconds), now - since)
            self.seconds["compute"] += ran
            self.seconds["transport"] += now - since - ran

    def see(self, now: float, state: State) -> None:
        """Count the time since the last event, and note what workers do until the next one."""
        if self._at is not None and now > self._at:
            passed = now - self._at
            self.wall_seconds += passed
            self.seconds["start"] += self._starting * passed
            self.seconds[self.waits_for] += self._free * passed
        if len(self._out) != len(state.flights):
            for chunk in self._out.keys() - state.flights.keys():
                self.seconds["lost"] += now - self._out.pop(chunk)
        self._at = now if state.flights or _is_awaited(state.batches.values()) else None
        if self._at is None:
            return
        starting = free = 0
        for roster in state.levels.rosters.values():
            starting += len(roster.starting)
            free += len(roster.idle)
        self._starting, self._free = starting, free
        if free:
            self.waits_for = waits_for(state)


def _is_awaited(batches: Iterable[Batch]) -> bool:
    """Say whether there is work, though nothing runs: here, or to come from a caller's iterator."""
    for batch in batches:
        if batch.pending or batch.line or not (batch.exhausted or batch.single):
            return True
    return False


def waits_for(state: State) -> Use:
    """Say what holds up the next chunk, while a worker is free for it."""
    if state.solo is not None:
        return "suspect"
    if state.memory.verdict.pressure != "normal":
        return "memory"
    if state.sharing.waiting_since is not None and state.is_in_line:
        return "memory"
    found: Use = "idle"
    for batch in state.batches.values():
        if batch.pending:
            return _holds_up(state)
        if not (batch.exhausted or batch.single) and found != "input":
            found = "input" if batch.asked else "caller"
    return found


def _holds_up(state: State) -> Use:
    """Say what holds up tasks that are here."""
    most = state.config.max_in_flight
    if most is not None and state.out >= most:
        return "max_in_flight"
    if any(map(_is_out_of_cores, state.levels.rosters.values())):
        return "cores"
    if any(batch.is_glutted for batch in state.batches.values()):
        return "caller"
    if state.is_recording_full or state.is_setting_full:
        return "caller"
    return "memory" if state.out else "idle"


def _is_out_of_cores(roster: Roster) -> bool:
    places = roster.places
    return places is not None and bool(roster.busy) and len(roster.busy) >= places
