"""A host that does not exist: its cores, its memory, and the faults that strike there, all seeded.

Says how long things take and what goes wrong. What follows is the core's to decide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from adaptive_exec.config import GIB
from adaptive_exec.core.chunks import INLINE_SECONDS
from adaptive_exec.core.instructions import SendChunk
from adaptive_exec.core.snapshot import HostSnapshot
from adaptive_exec.specs import is_inline, is_isolated


@dataclass(frozen=True, slots=True, kw_only=True)
class SimHost:
    """A host and its faults.

    Attributes:
        cores: Usable cores.
        memory_bytes: The memory limit.
        task_bytes: Memory that every running task takes.
        size_of: Memory that a task takes, by its index; None for `task_bytes`.
        shows: What a task's arguments show of its size, by its index; None for nothing.
        neighbour: Memory that others take at a time; None for none.
        start_seconds: How long a process takes to report for work.
        message_seconds: What a chunk costs besides its tasks, at the process level.
        refused_until: Seconds; before them every start of a process is refused.
        deaths_per_chunk: Chance that an outsider kills a process while it has a chunk, 0 to 1.
        killers: Tasks that kill the process in which they run.
        seed: Start of the random numbers.
    """

    cores: int = 4
    memory_bytes: int = 64 * GIB
    task_bytes: int = 0
    size_of: Callable[[int], int] | None = None
    shows: Callable[[int], tuple[float, ...]] | None = None
    neighbour: Callable[[float], int] | None = None
    start_seconds: float = 0.01
    message_seconds: float = 0.0001
    refused_until: float = 0.0
    deaths_per_chunk: float = 0.0
    killers: frozenset[int] = frozenset()
    seed: int = 0

    def snapshot(self, at: float, taken_bytes: int) -> HostSnapshot:
        """Read this host while its tasks take so much."""
        available_bytes = max(0, self.room_bytes(at) - taken_bytes)
        where = "simulated"
        return HostSnapshot(at, self.memory_bytes, where, available_bytes, where, self.cores, where)

    def room_bytes(self, at: float) -> int:
        """Return the memory that others leave to the tasks at a time."""
        return self.memory_bytes - (0 if self.neighbour is None else self.neighbour(at))

    def chunk_bytes(self, start: int, stop: int) -> int:
        """Return the most memory that a chunk's tasks take, which run one after the other."""
        if self.size_of is None:
            return self.task_bytes
        return max(map(self.size_of, range(start, stop)))


@dataclass(frozen=True, slots=True)
class Course:
    """How a chunk goes.

    Attributes:
        finished: Tasks that are finished.
        seconds: How long it all takes.
        killer: The task that runs when the worker dies, None where it lives.
        is_memory: True when it dies for memory.
        is_outside: True when somebody else killed it.
    """

    finished: int
    seconds: float
    killer: int | None = None
    is_memory: bool = False
    is_outside: bool = False


def run_chunk(
    host: SimHost,
    random: Random,
    order: SendChunk,
    durations: Sequence[float],
    *,
    running: int,
    fits: bool = True,
) -> Course:
    """Say how a chunk goes on this host.

    Args:
        host: The host.
        random: Its random numbers.
        order: The chunk.
        durations: Seconds of each of the batch's tasks.
        running: Chunks that run beside it.
        fits: False when there is not enough memory for it.

    Returns:
        Its course.
    """
    seconds = durations[order.start : order.stop]
    if is_inline(order.level):
        return _bite(seconds)
    if not is_isolated(order.level):
        # Python code of two threads does not run at the same time.
        return Course(len(seconds), sum(seconds) * (running + 1))
    slower = max(1.0, (running + 1) / host.cores)
    victim = (order.start, True, False) if not fits else _victim(host, random, order)
    if victim is None:
        return Course(len(seconds), host.message_seconds + slower * sum(seconds))
    index, is_memory, is_outside = victim
    finished = index - order.start
    spent = sum(seconds[:finished]) + random.random() * seconds[finished]
    return Course(finished, slower * spent, index, is_memory, is_outside)


def _bite(seconds: Sequence[float]) -> Course:
    spent, finished = 0.0, 0
    while finished < len(seconds) and spent < INLINE_SECONDS:
        spent += seconds[finished]
        finished += 1
    return Course(finished, spent)


def _victim(host: SimHost, random: Random, order: SendChunk) -> tuple[int, bool, bool] | None:
    """Name the task that runs when the worker dies, whether for memory, whether by an outsider."""
    for index in host.killers.intersection(range(order.start, order.stop)):
        return index, False, False
    if host.deaths_per_chunk and random.random() < host.deaths_per_chunk:
        return random.randrange(order.start, order.stop), False, True
    return None
