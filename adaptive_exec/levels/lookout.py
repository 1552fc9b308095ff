"""What is looked for while workers are busy or end: what is past its time, and what stands still.

Each look returns when the next is due. What is found is told, never decided.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from adaptive_exec.core.events import TaskOverdue, TasksUnbegun, WorkerStalled
from adaptive_exec.core.lifecycle import STAY, after
from adaptive_exec.levels.base import (
    CLOSE_SECONDS,
    STOPPED_LOOK_SECONDS,
    TICK_SECONDS,
    ChunkOrder,
    Outlet,
)
from adaptive_exec.levels.frames import refuse
from adaptive_exec.levels.member import Member
from adaptive_exec.levels.slate import CUT_SECONDS, Slate

SINCE_AHEAD_SECONDS: Final = 60.0
"""Seconds by which a task's time may begin after now: UNPACK_GRACE_NS of `levels/worker`, twice."""


class Lookout:
    """Looks after one level's workers.

    Args:
        level: Its name.
        outlet: Where is told what was found.
        condemn: Ends a worker that breaks the rules, with the reason.
        kill: Kills a worker.
    """

    def __init__(
        self,
        level: str,
        outlet: Outlet,
        *,
        condemn: Callable[[Member, str], None],
        kill: Callable[[int], None],
    ) -> None:
        self._level = level
        self._outlet = outlet
        self._condemn = condemn
        self._kill = kill

    def find_overdue(self, member: Member) -> None:
        """Tell of a task that has run longer than it may."""
        order, slate = member.order, member.slate
        if (
            order is None
            or slate is None
            or order.work.timeout_seconds is None
            or member.is_overdue
        ):
            return
        index = member.running()
        ran_seconds = (time.monotonic_ns() - slate.running_since_ns()) / 1e9
        if ran_seconds < -SINCE_AHEAD_SECONDS and index is not None:
            refuse(f"a task that begins in {-ran_seconds:.0f} s")
        if index is None or ran_seconds <= order.work.timeout_seconds or slate.running() != index:
            return
        member.is_overdue = True
        self._outlet.post(TaskOverdue(time.monotonic(), order.chunk, index, ran_seconds))

    def look_again_at(self, member: Member, now: float) -> float:
        """Say when to look at a busy worker again; of a single task there is nothing to read."""
        order = member.order
        if order is None:
            return now + STOPPED_LOOK_SECONDS
        if order.cut_seconds and member.slate is not None:
            return self._take_back(member, order, member.slate, now)
        is_single = len(order.items) == 1 and order.work.timeout_seconds is None
        return now + (STOPPED_LOOK_SECONDS if is_single else TICK_SECONDS)

    def _take_back(self, member: Member, order: ChunkOrder, slate: Slate, now: float) -> float:
        """Take back what stands behind a task that runs for long, or in too long a chunk.

        It may be that a submitted call waits for those behind it.

        Returns:
            When to look at this worker again.
        """
        if member.cut_at is None:
            if now < member.sent_at + order.cut_seconds:
                return now + TICK_SECONDS
            slate.cut()
            member.cut_at = time.monotonic()
        if now < member.cut_at + CUT_SECONDS:
            return member.cut_at + CUT_SECONDS
        running = member.running()  # None where it has not begun, or is about to say it is through
        if running is not None and running + 1 != member.told_stop:
            member.told_stop = running + 1
            self._outlet.post(TasksUnbegun(time.monotonic(), order.chunk, running + 1))
        return now + TICK_SECONDS

    def find_stopped(self, member: Member, now: float) -> None:
        """Notice, once a second, a worker that was stopped by a signal, busy or not yet so."""
        if now < member.look_at or member.offspring is None:
            return
        member.look_at = now + STOPPED_LOOK_SECONDS
        if member.offspring.is_stopped():
            cause = "stopped by a signal"
            self._outlet.post(WorkerStalled(time.monotonic(), self._level, member.worker, cause))

    def wait_for_end(self, member: Member, now: float) -> float:
        """A worker has closed its socket: it must end within a bound, or is killed."""
        if now - member.closed_at >= CLOSE_SECONDS:
            self._condemn(member, "it closed its socket and did not end")
            member.closed_at = now
        return member.closed_at + CLOSE_SECONDS

    def hurry(self, member: Member, now: float) -> float:
        """A worker that was told to end has a bound for it; then SIGTERM, then it is killed."""
        due_at = member.retired_at + CLOSE_SECONDS
        is_urged = member.stay != "leaving"
        due_at = max(due_at, member.left_until) + CLOSE_SECONDS * is_urged
        if now < due_at:
            return due_at
        if is_urged or not member.pid:
            self._kill(member.worker)
        else:
            member.stay = after(STAY, member.stay, "urged")
            with contextlib.suppress(OSError):
                os.kill(member.pid, signal.SIGTERM)
        return now + CLOSE_SECONDS
