"""Everything a run can order.

The list that `Run.handle` returns is ordered, and the order is a promise: CloseLevel before the
OpenLevel that replaces it, Record before the Deliver of the same tasks, Deliver before the
SendChunk that its room allows. Decides nothing; the driver performs them one by one.
"""

from typing import NamedTuple

from adaptive_exec.core.reason import Decision, Reason
from adaptive_exec.core.sharing.share import Claim


class OpenLevel(NamedTuple):
    """Open a level and start these workers; each answers with WorkerReady or StartRefused."""

    level: str
    workers: tuple[int, ...]


class StartWorkers(NamedTuple):
    """Start more workers at an open level; each answers with WorkerReady or StartRefused."""

    level: str
    workers: tuple[int, ...]


class CloseLevel(NamedTuple):
    """End all workers of a level, then answer with LevelClosed."""

    level: str


class RetireWorker(NamedTuple):
    """Let an idle worker go; no answer."""

    level: str
    worker: int


class KillWorker(NamedTuple):
    """Kill a worker; WorkerLost answers."""

    level: str
    worker: int
    reason: Reason


class Pull(NamedTuple):
    """Ask the caller for up to `count` more tasks; TasksArrived or InputExhausted answer."""

    batch: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls


class SizeTasks(NamedTuple):
    """Look at what the arguments of a batch's tasks show of their size; TasksSized answers.

    Attributes:
        start: From this task on, whatever comes; None to look no more.
    """

    batch: int
    start: int | None


class SendChunk(NamedTuple):
    """Send tasks `start` to `stop` - 1 of a batch to a worker as one message.

    With `wall_bytes` an allocation beyond so many more than the worker has is refused.
    """

    chunk: int
    level: str
    worker: int
    batch: int
    start: int
    stop: int
    attempt: int
    wall_bytes: int | None = None


class MoveWalls(NamedTuple):
    """Let workers take so many bytes more than they had when their chunk came.

    Attributes:
        walls: Of each worker its id and the bytes.
    """

    level: str
    walls: tuple[tuple[int, int], ...]


class Record(NamedTuple):
    """Write the results of tasks `start` to `stop` - 1, which came with a chunk, into the journal.

    Their Deliver follows and waits until they are written.
    """

    chunk: int
    batch: int
    start: int
    stop: int


class Recall(NamedTuple):
    """Hand the results of tasks `start` to `stop` - 1, which the journal had, to the caller."""

    batch: int
    start: int
    stop: int


class Deliver(NamedTuple):
    """Hand the results of tasks `start` to `stop` - 1, which came with a chunk, to the caller."""

    chunk: int
    batch: int
    start: int
    stop: int


class FailTasks(NamedTuple):
    """End tasks `start` to `stop` - 1 with one of our errors; the reason's code says with which."""

    batch: int
    start: int
    stop: int
    reason: Reason


class FinishBatch(NamedTuple):
    """Every task of the batch has its outcome and no more will come."""

    batch: int


class Explain(NamedTuple):
    """Tell people: the log, the events, the report."""

    decision: Decision


class _Bare:
    """An order with nothing to say; two of a kind are equal."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ReadHost(_Bare):
    """Take a snapshot of the host; HostSampled answers."""

    __slots__ = ()


class BelieveLimit(NamedTuple):
    """Take so many bytes as a limit that cannot be seen, also for later starts."""

    bytes: int


class TimeWorkers(_Bare):
    """Read the processor times of the workers with a chunk; WorkersTimed answers."""

    __slots__ = ()


class Standing(NamedTuple):
    """How a run stands, for people who watch; nobody decides by it.

    Attributes:
        level: The level of its workers, `""` while it rests.
        workers: Workers there.
        in_flight: Chunks out.
        done: Tasks with an outcome, of the batches that are not over.
        total: Tasks of these batches, None while one has no known length.
        pressure: How tight memory is.
        place: Its place in line while it waits for memory, else 0.
    """

    level: str
    workers: int
    in_flight: int
    done: int
    total: int | None
    pressure: str
    place: int = 0


class TradeShare(NamedTuple):
    """Enter this claim in the ledger and compare it with the others'; ShareChanged answers.

    Attributes:
        claim: What this instance wants and holds; the ledger adds its name and arrival.
        cores: Usable cores.
        room_bytes: Memory that can still be taken up to the mark.
    """

    claim: Claim
    cores: int
    room_bytes: int
    standing: Standing


class TrimMemory(_Bare):
    """Collect garbage and give free memory back to the system, here and in every worker."""

    __slots__ = ()


class SetTimer(NamedTuple):
    """Fire TimerFired at this time; replaces any earlier timer, None takes it back."""

    at: float | None


class Finish(_Bare):
    """Nothing is left to do and nothing will come: the driver may end."""

    __slots__ = ()


Instruction = (
    OpenLevel
    | StartWorkers
    | CloseLevel
    | RetireWorker
    | KillWorker
    | Pull
    | SizeTasks
    | SendChunk
    | MoveWalls
    | Record
    | Recall
    | Deliver
    | FailTasks
    | FinishBatch
    | Explain
    | ReadHost
    | BelieveLimit
    | TimeWorkers
    | TradeShare
    | TrimMemory
    | SetTimer
    | Finish
)
