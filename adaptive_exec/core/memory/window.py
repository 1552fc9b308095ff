"""How many chunks may be with workers at once, as far as memory has a say.

What chunks were measured to take must fit between what all else takes and the target. Beside that
the window grows by one at a time and is halved under pressure. Pure: (window before, facts) ->
window with its reason. Who gets a chunk is `core/dispatch`.
"""

from typing import Final, NamedTuple

from adaptive_exec.config import GIB
from adaptive_exec.core.bounds import FOREVER
from adaptive_exec.core.memory.peaks import Peaks, fitting_chunks, spread_of_sum
from adaptive_exec.core.reason import Code, Reason, because

UNKNOWN_TASK_BYTES: Final = 4 * GIB
"""Bytes counted for a chunk of which nothing is known, so that a host with plenty lets all workers
begin at once. Source: own choice; the labels and trials systems' tasks took 0.4-3 GB."""
GUESS_SECONDS: Final = 0.5
"""Seconds that a first chunk must have run before its size so far shows its nature. Source: own
choice; a core fills 1.3 GB in it."""
GUESS_LOOK_SECONDS: Final = 0.1
"""Seconds that it must have run before its size says anything, and between looks until then.
Source: own choice, a fifth of GUESS_SECONDS."""
IDLE_SLOWER: Final = 5.0
"""Times as long as one that computes takes one that got no processor to show its nature: it waits,
or the host is busy. Source: own choice; two threads of 300 MB in 512 MB began both at a load of 33,
since 0.1 s had passed in which the first got no processor."""

CHUNKS_MAX = 1 << 20
"""Chunks; more than any host has workers. Source: own choice, 2^20."""
LITTLE_SPREAD = 0.25
"""Share of their mean that chunks in flight may exceed together, so that the window may grow past
the target as far as it ever may; at twice that it stays at the target, between them it goes part
of the way, since a step makes it swing. Source: own choice, a quarter."""
REGROWTH = 1 / 16
"""Chunks by which a wide window that was halved grows with each finished one: it is as wide as
before after 12 rounds, not after as many as it has chunks. Source: own choice; 1.0625^12 is 2."""
WIDE_CHUNKS = 16
"""Chunks from which a window is wide: that many may die at once before the first death is heard of.
Source: own choice, as many as REGROWTH takes rounds for."""
TOLD_SLACK = 1.1
"""How much more than told a task may be measured to take and still be believed. Source: own choice,
a tenth."""
GUESS_EXTRA_BYTES = 64 * 1024 * 1024
"""Bytes that a chunk that runs for the first time is expected to take beyond twice what it has.
Source: own choice."""


class Room(NamedTuple):
    """What there is of memory for the tasks of this run.

    Attributes:
        target_bytes: From what all else takes to the target.
        most_bytes: The same up to the warn mark; where the user has set a target, up to that.
    """

    target_bytes: float
    most_bytes: float


class Window(NamedTuple):
    """Most chunks with workers at once.

    Attributes:
        chunks: So many, at least 1.
        growth: What the rule of growth allows, a fraction of a chunk included.
        was_halved: True once pressure has halved it; from then on it grows by one a round.
        halved_at: When it was halved last for a death, monotonic seconds.
        reason: What bounds it, and the numbers behind it.
    """

    chunks: int = CHUNKS_MAX
    growth: float = 0.0
    was_halved: bool = False
    halved_at: float = -FOREVER
    reason: Reason = because(Code.MEMORY_UNBOUND)


OPEN = Window()
"""The window before anything is known."""


def fit(
    before: Window, peaks: Peaks, room: Room, *, told_bytes: int | None, seen_bytes: int
) -> Window:
    """Fit the window to the memory there is.

    Args:
        before: The window so far.
        peaks: What chunks were measured to take.
        room: What there is for them.
        told_bytes: What a task takes as the user says, None where he does not.
        seen_bytes: What running chunks speak for: a guess while none was measured, later more
            than was measured where their nature has changed.

    Returns:
        The new window, at least 1 chunk wide.
    """
    count = _count(peaks, room, told_bytes=told_bytes, seen_bytes=seen_bytes)
    growth = before.growth or float(max(1, count))
    if not (peaks.measured or told_bytes or before.was_halved):
        growth = max(growth, float(count))  # nothing has finished: what runs may allow more already
    chunks = max(1, min(count, int(growth)))
    code = Code.MEMORY_FITS if count <= growth else Code.WINDOW_GROWS
    facts = {
        "each": max(peaks.p95_bytes, told_bytes or 0) or seen_bytes,
        "measured": peaks.measured,
    }
    reason = because(code, **facts, room=int(room.target_bytes), chunks=chunks)
    return Window(chunks, growth, before.was_halved, before.halved_at, reason)


def _count(peaks: Peaks, room: Room, *, told_bytes: int | None, seen_bytes: int) -> int:
    if told_bytes is not None and peaks.p95_bytes <= TOLD_SLACK * told_bytes:
        return _divide(room.most_bytes, max(told_bytes, peaks.p95_bytes))
    if seen_bytes > peaks.p95_bytes or not peaks.measured:
        return _divide(room.target_bytes, max(seen_bytes, told_bytes or 0))
    most = fitting_chunks(peaks, room.most_bytes, CHUNKS_MAX)
    doubt = spread_of_sum(peaks, max(1, most)) / LITTLE_SPREAD - 1.0
    if doubt <= 0.0:
        return most
    room_bytes = room.most_bytes - min(1.0, doubt) * (room.most_bytes - room.target_bytes)
    return fitting_chunks(peaks, room_bytes, CHUNKS_MAX)


def _divide(room_bytes: float, each_bytes: int) -> int:
    return min(CHUNKS_MAX, int(max(0.0, room_bytes) / max(1, each_bytes)))


def widen(before: Window) -> Window:
    """Let the window grow, since a chunk was finished in peace.

    By one for each; once it was halved, by one for as many as it has, or a sixteenth of them.
    """
    if not before.growth or before.growth >= CHUNKS_MAX:
        return before
    step = max(1.0 / before.growth, REGROWTH) if before.was_halved else 1.0
    return before._replace(growth=before.growth + step)


def halve(before: Window, out: int) -> Window:
    """Halve the window, since memory got tight with so many chunks out."""
    growth = float(max(1, min(out, before.chunks) // 2))
    reason = because(Code.WINDOW_HALVED, out=out)
    chunks = min(before.chunks, int(growth))
    return before._replace(chunks=chunks, growth=growth, was_halved=True, reason=reason)


def shrink(before: Window, out: int, *, sent_at: float, now: float) -> Window:
    """Halve the window for a chunk that died for memory, a wide one once for all that fell at once.

    Args:
        before: The window so far.
        out: Chunks that were out.
        sent_at: When the dead one was sent, monotonic seconds.
        now: When it died.

    Returns:
        The new window; the same where it is wide, and was narrower already than when this one
        was sent.

    Source:
        TCP's one reduction for each window of data, RFC 6582.
    """
    if sent_at < before.halved_at and before.chunks >= WIDE_CHUNKS:
        return before
    return halve(before, out)._replace(halved_at=now)


def guess_chunk_bytes(live_bytes: tuple[int, ...], age_seconds: float) -> int:
    """Guess what a chunk takes while none was measured.

    What the running ones take so far shows more of their nature the longer they run: after
    GUESS_SECONDS they are expected to double and to take a bit more, after a fifth of that six
    times as much and five times the bit.

    Args:
        live_bytes: By how much the workers of running chunks have grown so far.
        age_seconds: How long the oldest of them has run.

    Returns:
        Bytes; UNKNOWN_TASK_BYTES while nothing can be said.
    """
    if not live_bytes or age_seconds < GUESS_LOOK_SECONDS:
        return UNKNOWN_TASK_BYTES
    doubt = max(1.0, GUESS_SECONDS / age_seconds)
    guess = (1.0 + doubt) * max(live_bytes) + doubt * GUESS_EXTRA_BYTES
    return min(UNKNOWN_TASK_BYTES, int(guess))
