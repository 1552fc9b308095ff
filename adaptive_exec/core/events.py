"""Everything that can happen to a run. Each event carries its own time, in monotonic seconds.

Ids, counts, bytes and seconds only; arguments and results stay with the doers. Decides nothing.
Named tuples: one is defined in 0.06 ms and made in 0.3 us; a frozen dataclass in 0.5 ms and 1 us.
"""

from typing import NamedTuple

from adaptive_exec.core.memory.sizes import Measure
from adaptive_exec.core.sharing.share import Share
from adaptive_exec.core.snapshot import HostSnapshot


class Usage(NamedTuple):
    """What a chunk's finished tasks took.

    Attributes:
        tasks: How many tasks these numbers are about.
        wall_seconds: Sum of the tasks' durations.
        cpu_seconds: Sum of their processor time, of a process also its time in the queue for a
            core; None where it cannot be read.
        transport_seconds: Parent's and worker's time for packing and unpacking.
        sent_bytes: Bytes of the arguments as sent.
        result_bytes: Bytes of the results as received.
        peak_bytes: Highest growth of the worker's memory in a task; None when unknown.
        failed_tasks: Tasks that ended in an exception of their own.
        span_bytes: By how much its worker was at most larger than before its first task; None when
            unknown.
        kept_bytes: By how much it is larger now; None when unknown.
        birth_bytes: Its size before its first task; None when unknown.
    """

    tasks: int
    wall_seconds: float
    cpu_seconds: float | None = None
    transport_seconds: float = 0.0
    sent_bytes: int = 0
    result_bytes: int = 0
    peak_bytes: int | None = None
    failed_tasks: int = 0
    span_bytes: int | None = None
    kept_bytes: int | None = None
    birth_bytes: int | None = None


class BatchOpened(NamedTuple):
    """A batch of calls was handed over.

    Attributes:
        batch: Its id.
        tasks: Its length, None when unknown.
        chunk_tasks: The chunk size that the caller asked for, None to leave it to the run.
        buffer_tasks: Most tasks pulled whose result is not taken yet, None for the default.
        single: True when tasks come one by one from `submit`, each with a caller of its own.
        portable: False when the function cannot be sent to a process.
        recorded: True when its outcomes are written into the journal before they are delivered.
        kind: A number that batches of one function share, 0 where nothing is known of it.
        announced: True when the executor was told that so few tasks would come, which is asking
            for threads.
        sized: True when each task's TasksSized comes, so that it is waited for.
        refusal: Why the function cannot be sent, `""` when it can.
        largest_first: True when the largest of its tasks are to begin first; these are `sized`.
        at_hand: True when its input lies in memory, so that nothing is computed to pull it.
    """

    at: float
    batch: int
    tasks: int | None
    chunk_tasks: int | None = None
    buffer_tasks: int | None = None
    single: bool = False
    portable: bool = True
    recorded: bool = False
    kind: int = 0
    announced: bool = True
    sized: bool = False
    refusal: str = ""
    largest_first: bool = False
    at_hand: bool = False


class TasksArrived(NamedTuple):
    """The next `count` tasks of a batch are here; their ids follow on from the last ones.

    With `is_last` no more will come, as InputExhausted says where that is known later.
    """

    at: float
    batch: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls
    is_last: bool = False


class TasksSized(NamedTuple):
    """The arguments of tasks were looked at; it comes before, with or after the tasks themselves.

    Attributes:
        start: The first of them.
        measures: What was seen of each, None where nothing.
        is_told: True where the user says of them what they take.
    """

    at: float
    batch: int
    start: int
    measures: tuple[Measure | None, ...]
    is_told: bool = False


class TasksSetAside(NamedTuple):
    """The next `count` tasks of a batch are here, and not to be run for now.

    Each is followed by TasksRecalled or TasksFreed: its result is in the journal, or another
    instance on the same journal runs it.
    """

    at: float
    batch: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls


class TasksRecalled(NamedTuple):
    """The results of tasks that were set aside have been read from the journal.

    Attributes:
        start: The first of them.
        stop: The one after the last.
        result_bytes: Bytes of their results together.
    """

    at: float
    batch: int
    start: int
    stop: int
    result_bytes: int = 0


class TasksAccused(NamedTuple):
    """Tasks that were set aside are to be run here, with care: they may end this program.

    Attributes:
        start: The first of them.
        stop: The one after the last.
        deaths: How often each ran when its program was killed.
    """

    at: float
    batch: int
    start: int
    stop: int
    deaths: int


class TasksFreed(NamedTuple):
    """Tasks that were set aside are to be run here: whoever ran them is gone."""

    at: float
    batch: int
    start: int
    stop: int


class JournalOpened(NamedTuple):
    """The journal is open.

    Attributes:
        tasks: Tasks of which it has the result.
        file_system: Type of the file system that it is on, `""` where unknown.
        has_log: True with a write-ahead log, False with a rollback journal.
    """

    at: float
    tasks: int
    file_system: str
    has_log: bool


class JournalFailed(NamedTuple):
    """The journal cannot be used any more, and nothing more will be recorded.

    Attributes:
        error: Why.
    """

    at: float
    error: str


class JournalSkipped(NamedTuple):
    """Tasks of a batch have no key, so that they are run and not recorded.

    Attributes:
        error: Why the first of them has none.
    """

    at: float
    batch: int
    error: str


class InputExhausted(NamedTuple):
    """No more tasks will come for this batch."""

    at: float
    batch: int


class ResultsTaken(NamedTuple):
    """The caller took `count` more results of this batch out of our hands."""

    at: float
    batch: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls


class BatchDropped(NamedTuple):
    """The caller wants no more of this batch: what has not begun never will."""

    at: float
    batch: int


class WorkerReady(NamedTuple):
    """A worker that was ordered has reported for work.

    Attributes:
        size_bytes: The memory it has in RAM; None when unknown.
        start_seconds: What its start took by itself; 0 where that is next to nothing.
    """

    at: float
    level: str
    worker: int
    size_bytes: int | None = None
    start_seconds: float = 0.0


class StartRefused(NamedTuple):
    """A worker that was ordered cannot be had.

    Attributes:
        error: What was raised, as `Type: text`.
        lasting: True when trying again cannot help.
    """

    at: float
    level: str
    worker: int
    error: str
    lasting: bool = False


class StarterChanged(NamedTuple):
    """One way to start workers is closed for good, and they are started another way.

    Attributes:
        old: The way that failed.
        new: The way that is tried.
        error: Why, with the child's own last words.
    """

    at: float
    level: str
    old: str
    new: str
    error: str


class StarterChosen(NamedTuple):
    """How workers are going to be started, before any is.

    Attributes:
        way: The way.
        why: What stands against another one; `""` for nothing.
    """

    at: float
    level: str
    way: str
    why: str


class ObjectsCopied(NamedTuple):
    """Workers have copies of objects that only those who were forked from the caller share.

    Attributes:
        names: Which.
        way: How workers are started.
    """

    at: float
    level: str
    names: str
    way: str


class HashesDiffer(NamedTuple):
    """Workers hash texts otherwise than others of the same program.

    Attributes:
        old: How those others were started.
        new: How these are.
        is_midway: Whether they take the place of others, which tasks have run in.
    """

    at: float
    level: str
    old: str
    new: str
    is_midway: bool


class GroupsMade(NamedTuple):
    """Each worker has a control group of its own from now on, or cannot although that was tried.

    Attributes:
        source: What says that such groups may be made.
        error: Why there are none, `""` where there are.
    """

    at: float
    level: str
    source: str
    error: str = ""


class InitializerFailed(NamedTuple):
    """The user's initializer raised in a worker, so that level can run nothing."""

    at: float
    level: str
    worker: int
    error: str


class ChunkProgressed(NamedTuple):
    """The next `count` tasks of a chunk are finished; the chunk goes on."""

    at: float
    chunk: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls


class ChunkDone(NamedTuple):
    """The worker is through with a chunk.

    Attributes:
        count: Tasks finished since the last progress; where fewer than were left, the others
            never began.
        usage: What the whole chunk took.
    """

    at: float
    chunk: int
    count: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls
    usage: Usage


class TasksUnbegun(NamedTuple):
    """Of a chunk that is out the tasks from `stop` on have not begun and will not there."""

    at: float
    chunk: int
    stop: int


class FunctionRefused(NamedTuple):
    """A worker cannot load or receive the function of a chunk; none of its tasks began.

    Attributes:
        error: What was raised, as `Type: text`.
    """

    at: float
    chunk: int
    error: str


class TaskOverdue(NamedTuple):
    """A task has run longer than `task_timeout`.

    Attributes:
        index: The task.
        ran_seconds: How long it has run.
    """

    at: float
    chunk: int
    index: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls
    ran_seconds: float


class TaskUnwanted(NamedTuple):
    """Nobody waits for a submitted call any more, which cannot be cancelled since it was sent.

    Attributes:
        index: The task.
    """

    at: float
    batch: int
    index: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls


class WorkerStalled(NamedTuple):
    """A worker stands still through no fault of its task; once killed, its WorkerLost is blameless.

    Attributes:
        cause: What it was seen in, such as `"stopped by a signal"`.
    """

    at: float
    level: str
    worker: int
    cause: str


class WorkerLost(NamedTuple):
    """A worker ended or stands still for good.

    Attributes:
        cause: `"signal 9"`, `"exit 3"`, `"out of memory (confirmed)"`, ...
        running: Index of the task that ran at death; None when none had begun or it is unknown.
        known: True when `running` can be relied on.
        blameless: True when no task is to blame: our own hand, a lost starter, an outsider's stop.
        starter: True when its starter was lost; a task that sees that twice may be what ends it.
        foul: True when it said what cannot be: each task that had begun may be to blame.
        memory: True when it died for memory.
        walled: True when it ended for a wall of ours: an allocation was refused to its task.
        unexplained: True for a SIGKILL that is neither ours nor the kernel's for memory.
        peak_bytes: The worker's highest memory, None when unknown.
        oom_kills: The memory group's out-of-memory kills by then; None when unknown or of no use.
        left_bytes: What was available then, None when it was not read.
        most_bytes: The most that the topmost visible group had used by then.
    """

    at: float
    level: str
    worker: int
    cause: str
    running: int | None = None
    known: bool = True
    blameless: bool = False
    starter: bool = False
    foul: bool = False
    memory: bool = False
    walled: bool = False
    unexplained: bool = False
    peak_bytes: int | None = None
    oom_kills: int | None = None
    left_bytes: int | None = None
    most_bytes: int | None = None


class WorkLeft(NamedTuple):
    """A worker that was told to end did not wait any longer for what its tasks had left to do.

    Attributes:
        seconds: How long it had waited.
        threads: Names of the threads that still ran; `""` where it was no thread.
    """

    at: float
    level: str
    worker: int
    seconds: float
    threads: str


class LevelClosed(NamedTuple):
    """A level is down: no worker of it is left."""

    at: float
    level: str


class PlacesCounted(NamedTuple):
    """The engine of the level beside was asked what it has.

    Attributes:
        places: Chunks that may be there at once, some of which wait there.
        trip_seconds: What the way there and back takes, for next to nothing.
    """

    at: float
    level: str
    places: int
    trip_seconds: float


class LevelLost(NamedTuple):
    """The engine of the level beside takes nothing more; what is out there ends by itself.

    Attributes:
        error: What was raised, as `Type: text`.
    """

    at: float
    level: str
    error: str


class HostSampled(NamedTuple):
    """The host was read.

    Attributes:
        sizes: The memory that each worker process has in RAM, as `(worker, bytes)`; empty where
            that cannot be read.
    """

    at: float
    snapshot: HostSnapshot
    sizes: tuple[tuple[int, int], ...] = ()


class WorkersTimed(NamedTuple):
    """The processor times of the workers were read.

    Attributes:
        seconds: What each worker and all that it started have used so far, and CORE_IDLE_SHARE of
            their time in the queue for a core, as `(worker, seconds)`; those are missing of which
            it cannot be read.
    """

    at: float
    seconds: tuple[tuple[int, float], ...] = ()


class ShareChanged(NamedTuple):
    """A trade with the ledger is over.

    Attributes:
        share: What this instance may have; None where no ledger can be used, so that it goes on
            alone by what it sees.
        trouble: What was wrong with the ledger or with records in it, said once; else `""`.
    """

    at: float
    share: Share | None
    trouble: str = ""


class HandoverChanged(NamedTuple):
    """So many finished results wait for a disk or for users' code, or no longer.

    Attributes:
        recorded: Whether those wait in number that the journal is to have.
        single: Whether those of submitted calls do.
        waiting: How many groups of them wait.
    """

    at: float
    recorded: bool
    single: bool
    waiting: int


class TimerFired(NamedTuple):
    """The moment asked for by `SetTimer` has come."""

    at: float


class StopRequested(NamedTuple):
    """The caller shuts down.

    Attributes:
        cancel: True when what has not begun never shall.
    """

    at: float
    cancel: bool = False


Event = (
    BatchOpened
    | TasksArrived
    | TasksSized
    | TasksSetAside
    | TasksRecalled
    | TasksAccused
    | TasksFreed
    | JournalOpened
    | JournalFailed
    | JournalSkipped
    | InputExhausted
    | ResultsTaken
    | BatchDropped
    | WorkerReady
    | StarterChanged
    | StarterChosen
    | ObjectsCopied
    | HashesDiffer
    | GroupsMade
    | StartRefused
    | InitializerFailed
    | ChunkProgressed
    | ChunkDone
    | TasksUnbegun
    | FunctionRefused
    | TaskOverdue
    | TaskUnwanted
    | WorkerStalled
    | WorkerLost
    | WorkLeft
    | LevelClosed
    | PlacesCounted
    | LevelLost
    | HostSampled
    | WorkersTimed
    | ShareChanged
    | HandoverChanged
    | TimerFired
    | StopRequested
)
