"""What the tasks of workers say: heard through memory that each shares with us, and said here.

It is taken when a worker rings, at most every HEAR_SECONDS, and always before its results are; said
in a lane that may be held up. Decides nothing.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from adaptive_exec.levels.base import ChunkOrder, Outlet
from adaptive_exec.levels.frames import NoMessageError
from adaptive_exec.levels.member import Member
from adaptive_exec.levels.ring import Ear, Said, name_spill
from adaptive_exec.levels.starter import Relayed, Seat
from adaptive_exec.levels.task_folders import temporary_folder
from adaptive_exec.levels.waiter import Waiter
from adaptive_exec.program.captured import Captured
from adaptive_exec.program.voice import utter

HEAR_SECONDS: Final = 0.02
"""Seconds at least between two times that what a worker's tasks say is taken, unless it is much."""
SAID_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of a worker's that were taken and not passed on; then its tasks wait, and use a file."""


class Hearing:
    """The parent's side of what all workers' tasks say.

    Args:
        outlet: Where it is said.
        waiter: What a worker's ring wakes.
        members: The workers, by id.
        guard: Does a step for a worker, which is condemned where it breaks the rules.
        condemn: Ends a worker whose bytes are no messages, with the reason.
    """

    def __init__(
        self,
        outlet: Outlet,
        waiter: Waiter,
        members: Mapping[int, Member],
        *,
        guard: Callable[[Member, Callable[[Member], None]], None],
        condemn: Callable[[Member, str], None],
    ) -> None:
        self._outlet = outlet
        self._waiter = waiter
        self._members = members
        self._guard = guard
        self._condemn = condemn
        self._bell = -1

    def open(self) -> Relayed:
        """Make what workers wake us by; where none is to be had, this looks by itself."""
        if self._bell < 0 and hasattr(os, "eventfd"):
            try:
                self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._waiter.watch(self._bell, self._on_bell)
            except OSError:
                self._bell = -1
        return Relayed(self._bell, temporary_folder())

    def close(self) -> None:
        """Be woken no more."""
        if self._bell >= 0:
            self._waiter.forget(self._bell)
            os.close(self._bell)
            self._bell = -1

    def let_go(self) -> None:
        """In a child of this process: close what is the parent's."""
        if self._bell >= 0:
            os.close(self._bell)

    @staticmethod
    def listen(member: Member, seat: Seat, relayed: Relayed | None) -> None:
        """Be there for what a worker's tasks say, from its begin."""
        if relayed is not None and seat.slate is not None:
            path = name_spill(relayed.folder, os.getpid(), seat.key)
            member.ear = Ear(seat.slate, seat.key, path)

    def hear(self, member: Member, *, wholly: bool = True) -> None:
        """Take what a worker's tasks have said and have it said here.

        Args:
            member: The worker.
            wholly: All of it, since results follow; else not while much is not passed on yet.
        """
        ear = member.ear
        if ear is None or not (wholly or ear.unpassed_bytes < SAID_BYTES_MAX):
            return
        taken = ear.take()
        if taken is None:
            return
        member.heard_at = time.monotonic()
        order = member.order
        batch = None if order is None else order.work.batch
        kept = _Kept(self._outlet.captured(batch), batch, order)
        self._outlet.hear(batch, partial(self._pass_on, member, ear, taken, kept))

    def _pass_on(
        self, member: Member, ear: Ear, taken: tuple[bytes, int, int, int], kept: "_Kept"
    ) -> None:
        """Say what was said, in a thread that may be held up."""
        try:
            ear.open(taken, kept.pass_on)
        except (NoMessageError, OSError, ValueError) as error:
            text = f"it said what is no message ({error})"
            self._outlet.in_turn(partial(self._condemn_one, member, text))

    def _condemn_one(self, member: Member, fault: str) -> None:
        if self._members.get(member.worker) is member:
            self._condemn(member, fault)

    def _on_bell(self, bits: int) -> None:
        """Workers have something to say; it may become more before it is taken."""
        del bits
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, 8)
        now = time.monotonic()
        for member in list(self._members.values()):
            if member.ear is None or not member.ear.has_something():
                continue
            if now >= member.heard_at + HEAR_SECONDS or member.ear.is_half_full():
                self._guard(member, partial(self.hear, wholly=False))
            else:
                self._outlet.look_by(member.heard_at + HEAR_SECONDS)


class _Kept:
    """Passes on what a task of a chunk says, and keeps it where that is asked for."""

    def __init__(
        self, captured: Captured | None, batch: int | None, order: ChunkOrder | None
    ) -> None:
        self._captured = None if order is None else captured
        self._batch = batch
        self._tasks = () if order is None else range(order.start, order.start + len(order.items))

    def pass_on(self, said: Said) -> None:
        if self._captured is not None and said.batch == self._batch and said.index in self._tasks:
            self._captured.keep(said.kind, said.index, said.body)
        utter(said.kind, said.index, said.body)
