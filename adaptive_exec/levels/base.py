"""The contract of a level: what the driver may ask of a runner, and what comes back.

A runner does what it is told and reports everything that happens as events; it never decides. What
a level can do stands in its row of `specs`, and expectations follow the row, never the name.
"""

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Final, NamedTuple, Protocol

from adaptive_exec.core.events import Event
from adaptive_exec.errors import UnsendableError
from adaptive_exec.levels.current import Place
from adaptive_exec.levels.functions import PackedFunction
from adaptive_exec.program.captured import Captured
from adaptive_exec.program.seeds import Stream
from adaptive_exec.program.settings import Settings

IDLE_WAIT_SECONDS: Final = 1.0
"""Seconds; the longest the driver sleeps with nothing to do. Every wait has a bound."""
TICK_SECONDS: Final = 0.05
"""Seconds between looks at published results while chunks are out."""
LONG_CHUNK_SECONDS: Final = 0.2
"""Seconds after which what a chunk has not begun may go elsewhere: twice what one aims at."""
START_SECONDS: Final = 30.0
"""Seconds until a worker or zygote reports for work; a heavy import takes 10 s on a cold disk."""
CLOSE_SECONDS: Final = 2.0
"""Seconds a worker gets to end by itself before it is killed."""
STOPPED_LOOK_SECONDS: Final = 1.0
"""Seconds between looks for a stopped worker or zygote. Source: own choice, 20 us a look."""

CARRIED_BYTES_MAX: Final = 64 * 1024
"""Bytes of a function up to which it goes to an engine's workers with each chunk; a larger one goes
once to each. Source: own choice, 0.1 ms of a connection of 5 Gbit/s."""

ONE, STAR, FULL = 0, 1, 2
"""How an item of a chunk is called: `fn(item)`, `fn(*item)`, or item is `(fn, args, kwargs)`."""


class Failure:
    """A task's own exception, in the place of its value."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class CannotStartError(RuntimeError):
    """A level cannot start workers here, and trying again cannot help."""


class Unportable(Failure):
    """The failure of a submitted call whose function or arguments cannot be sent to a process.

    Nothing of it was run.
    """

    __slots__ = ()


Detail = tuple[float, float | None, int | None]
"""What is measured of a task: wall seconds, CPU seconds, peak bytes; None where unknown."""


class Caller(Protocol):
    """What the caller had when it asked for a task."""

    @property
    def settings(self) -> Settings | None:
        """What the program had set, for processes."""

    @property
    def context(self) -> Context | None:
        """The context variables, for threads."""


class Carried(NamedTuple):
    """A function as it travels to an engine's workers, as it was when its map was asked for.

    Attributes:
        key: Names it.
        body: Its pickle.
        marks: Of each module that it needs what tells its version.
    """

    key: str
    body: bytes
    marks: dict[str, str]

    @property
    def is_large(self) -> bool:
        """Whether it goes once to each worker, not with each chunk."""
        return len(self.body) > CARRIED_BYTES_MAX


class Work(NamedTuple):
    """The callable side of a batch, shared by all of its chunks.

    Attributes:
        batch: The batch's id.
        style: ONE, STAR or FULL.
        function: What to call; None with FULL, where each item brings its own.
        packed: The function as it travels to processes; None when it cannot, or with FULL.
        detailed: True when the caller wants seconds and bytes of each task.
        timeout_seconds: `task_timeout`, None for none.
        state_folder: Folder that tasks keep their own state in.
        entered: With FULL, says how many calls have come.
        refusal: Why the function cannot travel, None where it can.
        caller: What the tasks find as their caller had it; None where it is not asked for.
        stream: What the tasks' random streams are told by, None without a seed.
        may_be_cut: True where tasks of a chunk that runs for long may go to another worker.
        callers: With FULL, says the same of each call; None where that has ended.
        carried: The function as it travels to an engine's workers; None where it cannot, or there
            are none.
    """

    batch: int
    style: int
    function: Callable[..., Any] | None
    packed: PackedFunction | None = None
    detailed: bool = False
    timeout_seconds: float | None = None
    state_folder: str = ""
    entered: Callable[[], int] | None = None
    refusal: UnsendableError | None = None
    caller: Caller | None = None
    callers: Callable[[int], Caller | None] | None = None
    stream: Stream | None = None
    may_be_cut: bool = False
    carried: Carried | None = None


class ChunkOrder(NamedTuple):
    """A chunk with its real arguments, on the way to a worker.

    Attributes:
        names: The tasks' keys in the journal, by which their folders are named.
        wall_bytes: What its worker may take more than it has, None for any; of processes.
    """

    chunk: int
    worker: int
    start: int
    attempt: int
    items: Sequence[Any]
    work: Work
    names: bytes = b""
    wall_bytes: int | None = None

    def caller_of(self, index: int) -> Caller | None:
        """Return what the caller of a task had; None where nobody asks for it any more."""
        work = self.work
        return work.caller if work.callers is None else work.callers(index)

    def settings(self) -> tuple[Settings | None, int]:
        """Return what the program had set for the first tasks, and for how many it is the same."""
        callers, count = self.work.callers, len(self.items)
        if callers is None:
            return None if self.work.caller is None else self.work.caller.settings, count
        wanted = None
        for offset in range(count):
            caller = callers(self.start + offset)
            if caller is not None and caller.settings is not wanted:
                if wanted is not None:
                    return wanted, offset
                wanted = caller.settings
        return wanted, count

    @property
    def cut_seconds(self) -> float:
        """Seconds after which what has not begun may be taken back, 0 for never."""
        if len(self.items) == 1:
            return 0.0
        if self.work.style == FULL:
            return TICK_SECONDS
        return LONG_CHUNK_SECONDS if self.work.may_be_cut else 0.0

    def place(self) -> Place:
        """Return what current_task() tells its tasks."""
        work = self.work
        where = work.state_folder, self.names, work.batch, self.start
        return Place(*where, self.attempt, work.stream)


class Results:
    """Outcomes of tasks that follow on from each other.

    From a process they come packed, and are unpacked where they are first looked at: unpacking runs
    the user's code, which may hold up whoever takes the results and nobody else.

    Args:
        values: A value or a `Failure` for each.
        details: One for each, None when nobody asked.
    """

    __slots__ = ("_count", "_unpack", "_values", "details")

    def __init__(self, values: list[Any], details: list[Detail] | None = None) -> None:
        self._values = values
        self._count = 0
        self._unpack: Unpack | None = None
        self.details = details

    @classmethod
    def packed(cls, count: int, unpack: "Unpack", details: list[Detail] | None) -> "Results":
        """Hold outcomes that are unpacked when they are first asked for."""
        results = cls([], details)
        results._count, results._unpack = count, unpack
        return results

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self._values) if self._unpack is None else self._count

    @property
    def values(self) -> list[Any]:
        """A value or a `Failure` for each."""
        if self._unpack is not None:
            self._values = self._unpack(None)
            self._unpack = None
        return self._values

    def unpack_plain(self) -> bool:
        """Unpack where that runs no code of the user's; return whether it is done."""
        if self._unpack is not None:
            try:
                self._values = self._unpack(PLAIN_GLOBALS)
            except NotPlainError:
                return False
            self._unpack = None
        return True


class NotPlainError(Exception):
    """To unpack something would run code that is not known to be harmless."""


PLAIN_GLOBALS: Final = frozenset({
    ("_codecs", "encode"),
    ("builtins", "bytearray"), ("builtins", "complex"), ("builtins", "frozenset"),
    ("builtins", "range"), ("builtins", "set"), ("builtins", "slice"),
    ("collections", "Counter"), ("collections", "OrderedDict"), ("collections", "deque"),
    ("datetime", "date"), ("datetime", "datetime"), ("datetime", "timedelta"),
    ("datetime", "time"), ("datetime", "timezone"), ("decimal", "Decimal"),
    ("fractions", "Fraction"), ("uuid", "UUID"),
    ("numpy", "dtype"), ("numpy", "ndarray"),
    ("numpy._core.numeric", "_frombuffer"), ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"), ("numpy.core.multiarray", "scalar"),
})  # fmt: skip
"""What a pickle may name and still be unpacked by the driver: none of it waits for anything.
Source: pickles of the types of the standard library and NumPy that results mostly are."""

Unpack = Callable[[frozenset[tuple[str, str]] | None], list[Any]]
"""Unpacks values; with a set, only where a pickle names nothing else, or raises NotPlainError."""


class Block(NamedTuple):
    """Outcomes that follow on from each other, with what they have in common."""

    start: int
    results: Results
    level: str
    attempt: int
    is_recalled: bool = False


class Outlet(Protocol):
    """Where a runner reports to; safe from any thread."""

    def post(self, event: Event) -> None:
        """Report an event."""

    def say(self, event: Event) -> None:
        """Report an event, and drive where no thread does."""

    def put_results(self, chunk: int, results: Results) -> None:
        """Hand in results, before the event that counts them."""

    def note_stack(self, batch: int, index: int, stack: str) -> None:
        """Keep where in its code a task was whose worker crashed, for the error that may follow."""

    def hear(self, batch: int | None, step: Callable[[], object]) -> None:
        """Have a step run that says what a task has said; the batch's results come behind it."""

    def captured(self, batch: int | None) -> Captured | None:
        """Return where what tasks of a batch say is kept, None where it is not."""

    def look_by(self, at: float) -> None:
        """Have runners look after what comes by itself at the latest then."""

    def pack_apart(self, step: Callable[[], object]) -> None:
        """Have a step run that runs code of the user's to pack arguments, apart from the driver."""

    def in_turn(self, step: Callable[[], object]) -> None:
        """Have a step run by the driver; from any thread."""


class Runner(Protocol):
    """The doer of a level. Called by one driver at a time; none of these waits."""

    def start(self, workers: Sequence[int]) -> None:
        """Start workers; each answers with WorkerReady or StartRefused."""

    def send(self, order: ChunkOrder) -> None:
        """Give a chunk to an idle worker."""

    def retire(self, worker: int) -> None:
        """Let an idle worker end."""

    def kill(self, worker: int) -> None:
        """Kill a worker, where the level isolates; WorkerLost answers."""

    def move_walls(self, walls: Sequence[tuple[int, int]]) -> None:
        """Let workers take so many bytes more than they had when their chunk came."""

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Return each worker's memory in RAM as `(worker, bytes)`, where it has one of its own."""

    def times(self) -> tuple[tuple[int, float], ...]:
        """Return what each worker with a chunk has used of the processor, where that can be read.

        As `(worker, seconds)`, with what it started and a part of its time in the queue for a core.
        """

    def trim(self) -> None:
        """Have every worker give free memory back, once it is idle."""

    def forget(self, batch: int) -> None:
        """Let go of all that belongs to a batch, which is finished."""

    def close(self) -> None:
        """End all workers; LevelClosed answers, within a bound."""

    def abandon(self) -> None:
        """End everything at once, without events: the driver has failed."""

    def strike(self) -> None:
        """Kill what can be killed, beside a driver that is stuck: change nothing, do not wait."""

    def let_go(self) -> None:
        """In a forked child: close descriptors, touch nothing else."""

    def tick(self, now: float) -> float | None:
        """Look after what comes by itself; return when to look again, None for never."""
