"""Workers for explored orders: threads that speak as worker processes do, behind the real runner.

Driver, gate, lanes, waiter, `levels/process` and both ends of the channel are the real ones; what
is made is the starter and what a worker does with a chunk. A process cannot be scheduled, and its
words are all that the parent ever sees of it: they come late, in any order, and not at all.
"""

import itertools
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from adaptive_exec.levels import waiter, ways
from adaptive_exec.levels.arena import Arena
from adaptive_exec.levels.channel import Channel
from adaptive_exec.levels.starter import Seat
from adaptive_exec.levels.wire import CHUNK, END, RESULTS, Packed
from tests.races.baton import Baton

KEY = b"made key"
NOBODY = 1 << 30
"""Above all process numbers that there are."""
USAGE = (1, 0.001, 0.001, 0.0, 0, (None, None, None, None))
KILLED, CRASHED = 9, 11

LIVES = "lives"
REFUSED = "is refused"
STILLBORN = "dies before it is there"
CRASHES = "crashes in its first chunk"
LEAVES = "dies after its first chunk"
HALF = "crashes half through its first chunk"
LOST = "takes the starter with it in its first chunk"
FOUL = "sends what is no message in its first chunk"
FATES = [LIVES, REFUSED, STILLBORN, CRASHES, LEAVES, HALF, LOST, FOUL]


class Poll:
    """`select.poll`, whose wait is a point; what is watched are real sockets."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._real = select.poll()
        self.register, self.modify = self._real.register, self._real.modify
        self.unregister = self._real.unregister

    def poll(self, milliseconds: float) -> list[tuple[int, int]]:
        self._baton.point("poll")
        self._baton.block("poll", lambda: bool(self._real.poll(0)), milliseconds / 1000)
        return self._real.poll(0)


def make_workers(threads: SimpleNamespace, baton: Baton, fates: Iterator[str]) -> None:
    """Have process levels that are opened from now on get made workers.

    Args:
        threads: What stands in for `threading`.
        baton: Whose threads they are.
        fates: What becomes of each worker, by its begin.
    """
    waiter.make_poll = lambda: Poll(baton)

    def make_starter(events: Any, watcher: Any, *_: Any, **__: Any) -> Starter:
        return Starter(events, watcher, threads, baton, fates)

    ways.ZygoteStarter = make_starter


def once(fate: str) -> Iterator[str]:
    """The first worker has a fate; those after it live."""
    return itertools.chain([fate], itertools.repeat(LIVES))


class Starter:
    """Behind the interface of `levels/starter`."""

    def __init__(
        self,
        events: Any,
        watcher: Any,
        threads: SimpleNamespace,
        baton: Baton,
        fates: Iterator[str],
    ) -> None:
        self.functions: set[int] = set()
        self.names: dict[Any, int] = {}
        self.should_be_bare = False
        self.inherited_bytes = 0
        self.has_company = True
        self._events, self._waiter, self._threads = events, watcher, threads
        self._baton, self._fates = baton, fates
        self._there: set[int] = set()
        self._killed: set[int] = set()
        self._is_quitting = False
        self._control, self._words = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        watcher.watch(self._control.fileno(), self._hear)

    def start(self, worker: int) -> Seat:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._there.add(worker)
        made = Made(worker, theirs, self, next(self._fates))
        self._threads.Thread(target=made.live, name=f"worker-{worker}").start()
        return Seat(ours, None, KEY)

    def kill(self, worker: int) -> None:
        self._killed.add(worker)

    def strike(self) -> None:
        self._killed |= self._there

    def abandon(self) -> None:
        self.strike()
        self._close()

    def quit(self) -> None:
        self._is_quitting = True
        self.tell("quits", 0)

    def setback(self, cause: str) -> None:
        return None

    def tick(self, now: float) -> None:
        return None

    def wait_until(self, at: float) -> None: ...

    def forget(self, number: int) -> None: ...

    def let_go(self) -> None:
        self._control.close()
        self._words.close()

    # what its workers say

    def tell(self, what: str, worker: int, status: int = 0) -> None:
        with suppress(OSError):  # it was abandoned
            self._words.send(f"{what} {worker} {status}".encode())

    def is_killed(self, worker: int) -> bool:
        return worker in self._killed

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        self._baton.point(what)
        self._baton.block(what, ready, None)

    def _hear(self, bits: int) -> None:
        while self._control.fileno() >= 0:
            try:
                words = self._control.recv(100).decode().split()
            except BlockingIOError:
                return
            self._on_word(words[0], int(words[1]), int(words[2]))

    def _on_word(self, what: str, worker: int, status: int) -> None:
        if what == "started":
            self._events.on_started(worker, NOBODY + worker)
        elif what == "refused":
            self._there.discard(worker)
            self._events.on_refused(worker, "OSError: no room")
        elif what == "lost":
            self.abandon()
            self._events.on_lost("signal 9")
            return
        elif what == "ended":
            self._there.discard(worker)
            self._events.on_ended(worker, status, None)
        if self._is_quitting and not self._there and self._control.fileno() >= 0:
            self._close()
            self._events.on_closed()

    def _close(self) -> None:
        if self._control.fileno() >= 0:
            self._waiter.forget(self._control.fileno())
        self.let_go()


class Made:
    """One worker: hears chunks, and answers 1 for each task, as far as its fate lets it."""

    def __init__(self, worker: int, link: socket.socket, starter: Starter, fate: str) -> None:
        self._worker, self._link, self._starter, self._fate = worker, link, starter, fate

    def live(self) -> None:
        if self._fate == REFUSED:
            self._link.close()
            self._starter.tell("refused", self._worker)
            return
        if self._fate != STILLBORN:
            self._starter.tell("started", self._worker)
        channel = Channel(self._link, Arena(0), KEY, is_worker=True)
        status = CRASHED
        while self._fate != STILLBORN:
            self._starter.wait("a worker listens", self._has_something)
            if self._starter.is_killed(self._worker):
                status = KILLED
                break
            frames, is_gone = channel.read()
            if is_gone or END in [frame.head[0] for frame in frames]:
                status = 0
                break
            chunks = [frame.head for frame in frames if frame.head[0] == CHUNK]
            if not all(self._answer(channel, head) for head in chunks):
                break
        self._starter.wait("a worker ends", lambda: True)
        channel.close()
        self._link.close()
        self._starter.tell("ended", self._worker, status)

    def _has_something(self) -> bool:
        poll = select.poll()
        poll.register(self._link.fileno(), select.POLLIN)
        return self._starter.is_killed(self._worker) or bool(poll.poll(0))

    def _answer(self, channel: Channel, head: tuple[Any, ...]) -> bool:
        """Answer a chunk; False where the worker dies of it."""
        chunk, detailed, start, count = head[1], head[4], head[5], head[7]
        if self._fate == CRASHES:
            return False
        if self._fate == LOST:
            self._starter.tell("lost", self._worker)
            return False
        if self._fate == FOUL:
            with suppress(OSError):
                self._link.send(b"\xff" * 64)
            self._fate = LIVES  # until it is killed for it
            return True
        halves = [count] if count == 1 else [count // 2, count]
        done = 0
        for stop in halves:
            tasks = stop - done
            details = [(0.001, 0.001, None)] * tasks if detailed else None
            usage = (count, *USAGE[1:]) if stop == count else None
            if self._fate == HALF and usage is not None:
                return False
            said = (RESULTS, chunk, start + done, tasks, None, None, None, details, usage)
            channel.put(said, Packed.of_plain([1] * tasks))
            with suppress(OSError):
                channel.flush()
            self._starter.wait("a worker has answered", lambda: True)
            done = stop
        return self._fate != LEAVES
