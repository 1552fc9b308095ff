"""The other starter: workers from loky's process context, where no zygote can be had, or by choice.

Each worker is a fresh interpreter, so a start takes longer and shares no memory with another. Does
not know of chunks.
"""

import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

from adaptive_exec.config import CLOSE_SECONDS, SLATE_BYTES
from adaptive_exec.levels.pickles import loads
from adaptive_exec.levels.slate import Slate
from adaptive_exec.levels.starter import (
    Seat,
    StarterEvents,
    Terms,
    cap_inner_threads,
    kill_group,
    make_slate,
)
from adaptive_exec.levels.waiter import Waiter
from adaptive_exec.levels.worker import Worker, end_process
from adaptive_exec.levels.zygote_main import be_expendable, prctl

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class LokyStarter:
    """Starts workers with `loky.backend`'s processes.

    Args:
        events: Whom to tell.
        waiter: Where the processes' ends are watched.
        terms: What every worker is started with.

    Raises:
        ImportError: loky is not installed.
    """

    functions: frozenset[int] = frozenset()
    should_be_bare = False

    def __init__(self, events: StarterEvents, waiter: Waiter, terms: Terms) -> None:
        from loky.backend import get_context  # 30 ms, only for this starter

        self._context = get_context("loky")
        self._events = events
        self._waiter = waiter
        self._terms = terms
        self._processes: dict[int, Any] = {}
        self._deadline: float | None = None
        self._quitting = False

    def start(self, worker: int) -> Seat:
        """Order a worker; its hello answers."""
        from multiprocessing.connection import Connection  # 10 ms, only for this starter

        ours, theirs = socket.socketpair()
        slate_file, slate = make_slate()
        ends = [Connection(theirs.detach())]
        if slate is not None:
            ends.append(Connection(slate_file))
        try:
            process = self._context.Process(
                target=serve,
                args=(ends, self._terms, os.getpid()),
                env=cap_inner_threads(self._terms.inner_threads),
            )
            process.start()
        except Exception as error:
            ours.close()
            # loky reports EMFILE as UnboundLocalError and others as TypeError: by origin, all mean
            # a refused start
            message = f"{type(error).__name__}: {error}"
            raise OSError(message) from error
        finally:
            for end in ends:
                end.close()
        self._processes[worker] = process
        self._waiter.watch(process.sentinel, lambda bits: self._on_end(worker, bits))
        ours.settimeout(0)
        return Seat(ours, slate)

    def kill(self, worker: int) -> None:
        """Kill a worker with all it has started; on_ended answers."""
        process = self._processes.get(worker)
        if process is not None:
            kill_group(process.pid)

    def quit(self) -> None:
        """End once the last worker has ended; on_closed answers."""
        self._quitting = True
        self._deadline = time.monotonic() + CLOSE_SECONDS
        self._close_if_done()

    def abandon(self) -> None:
        """Kill everything at once, without a word."""
        for process in self._processes.values():
            self._waiter.forget(process.sentinel)
            kill_group(process.pid)
            process.join(CLOSE_SECONDS)
        self._processes.clear()

    def let_go(self) -> None:
        """Nothing: loky's own descriptors are its own affair."""

    def tick(self, now: float) -> float | None:
        """Kill workers that do not end within their bound."""
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            for process in self._processes.values():
                kill_group(process.pid)
        return self._deadline

    def _on_end(self, worker: int, bits: int) -> None:
        del bits
        process = self._processes.pop(worker)
        self._waiter.forget(process.sentinel)
        kill_group(process.pid)
        process.join(CLOSE_SECONDS)
        code = process.exitcode
        process.close()
        status = None if code is None else -code if code < 0 else code << 8
        self._events.on_ended(worker, status, None)
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._quitting and not self._processes:
            self._deadline = None
            self._events.on_closed()


def serve(ends: "list[Connection]", terms: Terms, parent: int) -> None:
    """Be a worker (in the new process).

    Args:
        ends: Our end of the socket and, where there is one, the slate's memory file.
        terms: What every worker is started with.
        parent: The parent's pid.
    """
    os.setpgid(0, 0)
    prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    be_expendable()
    link = socket.socket(fileno=os.dup(ends[0].fileno()))
    slate = Slate(ends[1].fileno(), SLATE_BYTES) if len(ends) > 1 else None
    for end in ends:
        end.close()
    worker = Worker(link, slate, {}, terms.publish_seconds)
    if worker.greet(None if terms.first is None else loads(terms.first)):
        worker.serve()
    end_process()
