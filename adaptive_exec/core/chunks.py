"""How many tasks go into one message, and how many are asked of the caller's iterator.

Chunks aim at CHUNK_SECONDS of work, at most double from one to the next where that is worth a
message, and shrink toward the end of the batch so that no worker idles behind a long one. Pure;
memory's say is `core/memory/governor`.
"""

from math import ceil
from typing import Final

from adaptive_exec.config import MIB
from adaptive_exec.core.costs import CHUNK_SECONDS, Costs
from adaptive_exec.specs import is_inline, is_isolated

CHUNK_TASKS_MAX: Final = 16_384
"""Tasks; a chunk is never longer, so that progress is seen and a lost worker costs little."""
INLINE_SECONDS: Final = 0.02
"""Seconds the caller's thread works between two looks at the world at the sequential level."""
HELD_TASKS_MAX: Final = 10_000
"""Finished results held for a caller who is slow to take them."""
HELD_BYTES_MAX: Final = 64 * MIB
"""Bytes of finished results held for such a caller, where bytes are known."""
PULL_TASKS_MAX: Final = 65_536
"""Tasks pulled ahead of all workers together, and so the most that are asked for at once."""
SEND_BYTES_MAX: Final = 1 * MIB
"""Bytes of small tasks put into one message before the chunk is cut."""

SHARE_CHUNK_SECONDS = 0.005
"""Seconds of work in a chunk where a message costs next to nothing: threads."""
SINGLE_CHUNK_SECONDS = 0.001
"""Seconds of work in a group of submitted calls, three times what a message costs."""
SINGLE_TASKS_MAX = 64
"""Submitted calls in a group; they can be cancelled no more once it is sent."""
CHUNKS_LEFT_PER_WORKER = 2
"""Chunks that each worker should still find when one is cut. Source: guided self-scheduling
(Polychronopoulos 1987)."""
GROWTH = 2
"""Factor; a chunk is at most this much longer than the last one."""
JUMP = 8
"""Factor; the same where a chunk that turns out too long is cut short while it runs, or where the
last one took less than MESSAGE_SECONDS."""
MESSAGE_SECONDS = 0.0003
"""Seconds that a message takes, most of it for waking who sleeps. Source: benchmarks/README.md."""
TAIL_SECONDS = 0.001
"""Seconds of work in a chunk below which it does not shrink toward the end of a batch: three times
what its message takes, and next to nothing to wait for."""
ALIKE_TASKS = 24
"""Tasks that must have been measured before they are taken for alike, so that a few quick ones
among long ones do not have these stand in one line."""
LOOKAHEAD_CHUNKS = 2
"""Chunks per worker that should be pulled and pending, so that none waits for the caller."""


def target_seconds(level: str) -> float:
    """Say how much work a full chunk should hold at a level, in seconds."""
    if is_inline(level):
        return INLINE_SECONDS
    return CHUNK_SECONDS if is_isolated(level) else SHARE_CHUNK_SECONDS


def chunk_tasks(
    costs: Costs, left: int | None, workers: int, *, seconds: float, may_jump: bool = False
) -> int:
    """Choose the length of the next chunk.

    Args:
        costs: What is known of the batch's tasks.
        left: Tasks not yet sent, None when unknown.
        workers: Workers that share them.
        seconds: Work that a full chunk should hold.
        may_jump: True where a chunk may be many times as long as the last one.

    Returns:
        Tasks, 1 to CHUNK_TASKS_MAX.
    """
    if costs.tasks == 0:
        return 1
    count = min(CHUNK_TASKS_MAX, PULL_TASKS_MAX // (LOOKAHEAD_CHUNKS * (workers or 1)))
    count = min(count, (JUMP if may_jump else GROWTH) * costs.chunk_tasks)
    if costs.wall_seconds * count > seconds:
        count = int(seconds / costs.wall_seconds)
    bytes_each = max(costs.sent_bytes, costs.result_bytes)
    if bytes_each * count > SEND_BYTES_MAX:
        count = int(SEND_BYTES_MAX / bytes_each)
    if count <= 1:
        return 1
    if left is not None and workers > 1:
        count = min(count, _tail_tasks(costs, left, workers))
    return count or 1


def _tail_tasks(costs: Costs, left: int, workers: int) -> int:
    """Say how long a chunk may be for no worker to wait long for another one at the end."""
    count = ceil(left / (CHUNKS_LEFT_PER_WORKER * workers))
    if costs.tasks < ALIKE_TASKS or costs.wall_seconds * count >= TAIL_SECONDS:
        return count
    return (
        left
        if costs.wall_seconds * left <= TAIL_SECONDS
        else int(TAIL_SECONDS / costs.wall_seconds)
    )


def was_short(costs: Costs) -> bool:
    """Say whether the last chunk took less than its message, so that the next may be far longer."""
    is_short = costs.chunk_tasks * costs.wall_seconds < MESSAGE_SECONDS
    return is_short and costs.tasks >= ALIKE_TASKS


def single_tasks(costs: Costs, pending: int, workers: int) -> int:
    """Choose how many submitted calls go together.

    One may wait for what a later one does, so they go alone unless those before were tiny; what
    stands behind one that runs for long after all is taken back (`TasksUnbegun`).

    Args:
        costs: What is known of the calls before.
        pending: Calls that wait to be sent.
        workers: Workers that share them.

    Returns:
        Tasks, 1 to SINGLE_TASKS_MAX.
    """
    if 2 * costs.wall_seconds > SINGLE_CHUNK_SECONDS:
        return 1
    count = chunk_tasks(costs, None, workers, seconds=SINGLE_CHUNK_SECONDS)
    if workers > 1:
        count = min(count, ceil(pending / (CHUNKS_LEFT_PER_WORKER * workers)))
    return max(1, min(count, SINGLE_TASKS_MAX))


def pull_tasks(
    *,
    chunk: int,
    workers: int,
    pending: int,
    asked: int,
    outstanding: int,
    buffer_tasks: int | None,
) -> int:
    """Say how many tasks to ask of the caller's iterator. Nothing said is back-pressure.

    Args:
        chunk: Length of the next chunk.
        workers: Workers that are or will be there.
        pending: Tasks here and not sent.
        asked: Tasks asked for and not yet here.
        outstanding: Tasks pulled whose result the caller has not taken.
        buffer_tasks: Most outstanding tasks that the caller allows, None for no bound of the
        caller's.

    Returns:
        Tasks to ask for, 0 for none.
    """
    wanted = min(LOOKAHEAD_CHUNKS * workers * chunk, PULL_TASKS_MAX)
    have = pending + asked
    room = wanted - have
    if 2 * room < wanted and buffer_tasks is None:
        return 0
    if buffer_tasks is not None:
        room = min(room, buffer_tasks - outstanding - asked)
    return max(0, min(room, PULL_TASKS_MAX))


def holds_too_much(held_tasks: int, bytes_each: float) -> bool:
    """Say whether finished results that nobody took fill their share of the parent."""
    return held_tasks >= HELD_TASKS_MAX or held_tasks * bytes_each >= HELD_BYTES_MAX
