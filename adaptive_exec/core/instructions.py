"""Everything a run can order.

The list that `Run.handle` returns is ordered, and the order is a promise: CloseLevel before the
OpenLevel that replaces it, Deliver before the SendChunk that its room allows. Decides nothing;
the driver performs them one by one.
"""

from dataclasses import dataclass

from adaptive_exec.core.reason import Decision, Reason


@dataclass(frozen=True, slots=True)
class OpenLevel:
    """Open a level and start these workers; each answers with WorkerReady or StartRefused."""

    level: str
    workers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StartWorkers:
    """Start more workers at an open level; each answers with WorkerReady or StartRefused."""

    level: str
    workers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CloseLevel:
    """End all workers of a level, then answer with LevelClosed."""

    level: str


@dataclass(frozen=True, slots=True)
class RetireWorker:
    """Let an idle worker go; no answer."""

    level: str
    worker: int


@dataclass(frozen=True, slots=True)
class KillWorker:
    """Kill a worker; WorkerLost answers."""

    level: str
    worker: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask the caller for up to `count` more tasks; TasksArrived or InputExhausted answer."""

    batch: int
    count: int


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Send tasks `start` to `stop` - 1 of a batch to a worker as one message."""

    chunk: int
    level: str
    worker: int
    batch: int
    start: int
    stop: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand the results of tasks `start` to `stop` - 1, which came with a chunk, to the caller."""

    chunk: int
    batch: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class FailTasks:
    """End tasks `start` to `stop` - 1 with one of our errors; the reason's code says with which."""

    batch: int
    start: int
    stop: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class FinishBatch:
    """Every task of the batch has its outcome and no more will come."""

    batch: int


@dataclass(frozen=True, slots=True)
class Explain:
    """Tell people: the log, the events, the report."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class ReadHost:
    """Take a snapshot of the host; HostSampled answers."""


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fire TimerFired at this time; replaces any earlier timer, None takes it back."""

    at: float | None


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to do and nothing will come: the driver may end."""


Instruction = (
    OpenLevel
    | StartWorkers
    | CloseLevel
    | RetireWorker
    | KillWorker
    | Pull
    | SendChunk
    | Deliver
    | FailTasks
    | FinishBatch
    | Explain
    | ReadHost
    | SetTimer
    | Finish
)
