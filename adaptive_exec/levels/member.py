"""One worker process as the parent sees it: what it was told, what it does, how it has ended.

Facts of one worker and what follows from them alone. Who gets a chunk, and what is reported of it,
is `levels/process`.
"""

import os
import signal
import time
from typing import Any, Final

from adaptive_exec.core.lifecycle import BirthState, LineState, StayState
from adaptive_exec.levels.arena import Arena
from adaptive_exec.levels.base import STOPPED_LOOK_SECONDS, ChunkOrder, Failure
from adaptive_exec.levels.channel import Channel
from adaptive_exec.levels.frames import IN_SLATE, Stamp
from adaptive_exec.levels.functions import PackedFunction
from adaptive_exec.levels.laid import Laid
from adaptive_exec.levels.offspring import LOOK_SECONDS, Offspring
from adaptive_exec.levels.own_groups import OwnGroup
from adaptive_exec.levels.own_memory import move_wall
from adaptive_exec.levels.ring import Ear
from adaptive_exec.levels.slate import Slate
from adaptive_exec.levels.starter import Seat
from adaptive_exec.levels.told import ToldNames
from adaptive_exec.levels.wall import WALLED as EXIT_WALLED
from adaptive_exec.levels.wire import FUNCTION, PART, SETTINGS, Packed
from adaptive_exec.program.last_words import read_stack
from adaptive_exec.program.settings import Settings

FAILED = 1
"""Exit code of a worker that an error of this package has ended, or a task."""

_TO_END: Final = ("leaving", "urged", "struck")
_KILLED: Final = ("killed", "struck")


class Member:
    """One worker process, as the parent sees it."""

    def __init__(  # noqa: PLR0915  # a line for each fact
        self, worker: int, seat: Seat, arena: Arena, group: OwnGroup | None = None
    ) -> None:
        self.worker = worker
        self.link = seat.link
        self.slate: Slate | None = seat.slate
        self.channel = Channel(seat.link, arena, seat.key)
        self.stamp = Stamp(seat.key, IN_SLATE)
        self.settings: Settings | None = None  # what it was told, and what its chunk is to find
        self.wanted: Settings | None = None
        self.functions: dict[int, bool] = {}  # whether each is large
        self.names = ToldNames()
        self.has_words = False
        self.uses: set[int] = set()  # functions of submitted calls
        self.pid = 0
        self.group = group
        self.offspring: Offspring | None = None
        self.name_process(seat.pid)
        self.birth: BirthState = "ordered"
        self.stay: StayState = "wanted"
        self.line: LineState = "open"
        self.ordered_at = time.monotonic()
        self.order: ChunkOrder | None = None
        self.refused: dict[int, Failure] = {}
        self.next = 0
        self.half = 0
        self.read_bytes = 0
        self.sent_bytes = self.result_bytes = 0
        self.transport_seconds = 0.0
        self.retired_at = 0.0
        self.left_until = 0.0
        self.closed_at = 0.0
        self.fault = ""
        self.look_at = 0.0
        self.ear: Ear | None = None
        self.heard_at = 0.0
        self.is_overdue = False
        self.sent_at = 0.0
        self.cut_at: float | None = None
        self.told_stop = 0
        self.wants_write = False

    def name_process(self, pid: int) -> None:
        """Say which process it is, 0 while there is none."""
        if pid and pid != self.pid:
            self.offspring = Offspring(pid)
            if self.group is not None:
                self.group.take(pid)
        self.pid = pid

    @property
    def is_to_end(self) -> bool:
        """True once it was told to end."""
        return self.stay in _TO_END

    @property
    def is_killed(self) -> bool:
        """True once it was killed by us, and not for a fault of its own."""
        return self.stay in _KILLED

    @property
    def stop(self) -> int:
        """The task after the last one whose results may come."""
        assert self.order is not None, "asked of a busy worker"
        return self.told_stop or self.order.start + len(self.order.items)

    def running(self) -> int | None:
        """Return the task that runs as the worker says; None where it says what cannot be."""
        if self.slate is None or self.order is None:
            return None
        index = self.slate.running()
        first, count = self.order.start, len(self.order.items)
        return index if index is not None and first <= index < first + count else None


def put_settings(member: Member, settings: Settings) -> None:
    """Tell a worker what the program has set, with the next word that it gets."""
    member.settings = settings
    member.channel.put((SETTINGS,), Packed.of_bytes(settings.body))


def put_function(member: Member, number: int, packed: PackedFunction) -> None:
    """Give a worker a function, with the next word that it gets."""
    spread, channel = packed.spread, member.channel
    member.functions[number] = spread is not None
    needed = list(packed.names)
    if spread is None:
        channel.put((FUNCTION, number, needed, b"", ()), Packed.of_bytes(packed.body))
        return
    for one in spread.laid[: len(spread.apart)]:
        _put_laid(channel, (PART,), one)
    head = (FUNCTION, number, needed, packed.body, spread.apart)
    if spread.rest is None:
        channel.put(head)
    else:
        _put_laid(channel, head, spread.rest)


def _put_laid(channel: Channel, head: tuple[Any, ...], laid: Laid) -> None:
    assert laid.piece is not None, "a function carries it, which holds it"
    channel.put_shared(head, laid.lengths, laid.piece)


def look_at_offspring(member: Member, now: float) -> bool:
    """Look at what a worker's tasks have started and tell it; return whether there is anything."""
    offspring = member.offspring
    if offspring is None or not offspring.look(now):
        return False
    if member.slate is not None and offspring.peak_bytes:
        member.slate.note_offspring(offspring.peak_bytes, time.monotonic_ns())
    return True


def watch_offspring(member: Member, now: float) -> float:
    """Look at what tasks have started, and say when to do so again.

    Soon after a chunk was sent, then as late again; often while there is something.
    """
    age = now - member.sent_at
    if age < LOOK_SECONDS:
        return member.sent_at + LOOK_SECONDS
    if look_at_offspring(member, now):
        return now + LOOK_SECONDS
    return now + min(age, STOPPED_LOOK_SECONDS)


def put_wall(member: Member, group: OwnGroup, size: int | None) -> None:
    """Have the limit of a worker's group be its wall for the chunk that comes, None for no wall.

    That counts what is in use; where the worker is not in it, it bounds itself as others do.
    """
    group.bound(size)
    if group.is_in_use and member.slate is not None:
        member.slate.set_wall(0)


def shift_wall(member: Member, size: int) -> None:
    """Move the wall of a worker that has a chunk."""
    if member.group is not None and member.group.is_in_use:
        member.group.move(size)
    elif member.slate is not None:
        base = member.slate.set_wall(size)
        if base and member.pid:
            move_wall(member.pid, base + size)


def has_outgrown(member: Member, status: int | None) -> bool:
    """Say whether the kernel has killed a worker at the limit of its own control group."""
    if member.group is None or member.is_killed or not is_sigkill(status):
        return False
    return member.group.has_killed() and member.group.was_full()


def most_of(member: Member, peak_bytes: int | None) -> int | None:
    """Return the most that a worker had, with all that its tasks had started where that is told."""
    most = None if member.group is None else member.group.peak_bytes()
    return max((one for one in (most, peak_bytes) if one is not None), default=None)


def has_hit_wall(member: Member, status: int | None) -> bool:
    """Say whether a worker has ended for its wall."""
    if status is None or member.slate is None or member.order is None:
        return False
    is_told = member.order.wall_bytes is not None and member.slate.is_hit()
    return is_told and os.waitstatus_to_exitcode(status) == EXIT_WALLED


def is_sigkill(status: int | None) -> bool:
    """Say whether a worker was killed by SIGKILL."""
    return status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def last_words(member: Member, status: int | None) -> str:
    """Return the last line of what a worker has written down that ended by itself."""
    if status is None or member.slate is None or not os.WIFEXITED(status):
        return ""
    if os.WEXITSTATUS(status) != FAILED:
        return ""
    lines = read_stack(member.slate.stack).splitlines()
    return f" ({lines[-1]})" if lines else ""


def describe(status: int | None) -> str:
    """Write a wait status as people say it: `"signal 9"`, `"exit 3"`."""
    if status is None:
        return "an unknown cause"
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"
