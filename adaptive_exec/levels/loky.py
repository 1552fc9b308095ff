"""The other starter: workers from loky's process context, where no zygote can be had, or by choice.

Each worker is a fresh interpreter, so a start takes longer and shares no memory with another. Does
not know of chunks.
"""

import _socket
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple

from adaptive_exec.core.starts import Setback
from adaptive_exec.levels.base import CLOSE_SECONDS, CannotStartError
from adaptive_exec.levels.frames import KEY_BYTES
from adaptive_exec.levels.interpreter import find_interpreter
from adaptive_exec.levels.offspring import HOUSEHOLD
from adaptive_exec.levels.originals import make_pair, open_socket
from adaptive_exec.levels.slate import SLATE_BYTES, Slate, make_memory_file
from adaptive_exec.levels.starter import (
    Seat,
    StarterEvents,
    Terms,
    cap_inner_threads,
    make_slate,
    versions_of,
)
from adaptive_exec.levels.threads import wait_aside
from adaptive_exec.levels.waiter import Waiter
from adaptive_exec.levels.worker import Worker, serve_to_the_end
from adaptive_exec.levels.zygote_main import be_expendable, watch
from adaptive_exec.program.applied import Applied
from adaptive_exec.program.c_pickle import dumps, loads
from adaptive_exec.program.family import adopt_tools, read_family, tell_of_parent
from adaptive_exec.program.generators import find_generators, reseed
from adaptive_exec.program.hashes import keep_hash_seed, set_hash_seed
from adaptive_exec.program.relay import relay
from adaptive_exec.program.spaces import HERE, start_as
from adaptive_exec.system.pickles import PROTOCOL
from adaptive_exec.system.processes import PR_SET_PDEATHSIG, kill_group, open_pidfd, prctl

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

SMALL_TERMS_BYTES = 16 * 1024
"""Bytes of terms that go through loky's own pipe, with as much again of its own. That takes 64 KiB;
one that is full waits without bound for a child that was killed before it read."""
READ_BYTES = 1 << 20
"""Bytes read at once."""
UNKNOWN_EXIT = 255
"""Exit code that multiprocessing is told where none was kept. Source: its popen_forkserver."""


def load_context() -> Any:
    """Import loky, 30 ms; not for the first time while the interpreter ends, which refuses that.

    Raises:
        ImportError: loky is not installed.
    """
    from loky.backend import get_context

    return get_context("loky")


class LokyStarter:
    """Starts workers with `loky.backend`'s processes.

    Args:
        events: Whom to tell.
        waiter: Where the processes' ends are watched.
        terms: What every worker is started with.

    Raises:
        ImportError: loky is not installed.
    """

    should_be_bare = False
    inherited_bytes = 0
    has_company = False

    def __init__(self, events: StarterEvents, waiter: Waiter, terms: Terms) -> None:
        self.functions: set[int] = set()
        if find_interpreter() != sys.executable:
            message = f"no Python is known to loky, got sys.executable={sys.executable!r}"
            raise CannotStartError(message)
        self.names = versions_of(terms)
        self._context = load_context()
        self._events = events
        self._waiter = waiter
        self._terms = terms
        self._processes: dict[int, Any] = {}
        self._deadline: float | None = None
        self._patient_until = 0.0
        self._quitting = False

    def start(self, worker: int) -> Seat:
        """Order a worker; its hello answers."""
        from multiprocessing.connection import Connection  # 10 ms, only for this starter

        ours, theirs = make_pair(_socket.SOCK_STREAM)
        key = os.urandom(KEY_BYTES)
        slate_file, slate = make_slate()
        ends = [Connection(theirs.detach())]
        if slate is not None:
            ends.append(Connection(slate_file))
            if self._terms.relayed is not None and self._terms.relayed.bell >= 0:
                ends.append(Connection(os.dup(self._terms.relayed.bell)))
        terms: Connection | bytes = b""
        try:
            terms = lay_down(dumps(self._terms, PROTOCOL))
            process = self._context.Process(
                target=serve,
                args=(ends, terms, read_family(), key, self._terms.spill_path(key)),
                env={
                    **cap_inner_threads(self._terms.inner_threads),
                    **set_hash_seed(self._terms.hash_seed),
                },
            )
            with _with_what_is_asked_for():
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
            if not isinstance(terms, bytes):
                terms.close()
        pidfd = open_pidfd(process.pid)
        seen_by = process.sentinel if pidfd < 0 else pidfd
        HOUSEHOLD.add(process.pid)
        self._processes[worker] = _Started(process, seen_by, pidfd)
        self._waiter.watch(seen_by, lambda bits: self._on_end(worker, bits))
        return Seat(ours, slate, key, process.pid)

    def kill(self, worker: int, *, is_there: bool = False) -> None:
        """Kill a worker with all it has started; on_ended answers."""
        del is_there  # it is our own child, and so there until it is waited for
        started = self._processes.get(worker)
        if started is not None:
            kill_group(started.process.pid)

    def wait_until(self, at: float) -> None:
        """Have patience with the end: a worker has something left to do."""
        self._patient_until = max(self._patient_until, at)

    def setback(self, cause: str) -> Setback | None:  # noqa: ARG002  # of the interface
        """Never: there is no process but the workers'."""
        return None

    def forget(self, number: int) -> None:
        """Nothing: workers are born without functions."""

    def quit(self) -> None:
        """End once the last worker has ended; on_closed answers."""
        self._quitting = True
        self._deadline = time.monotonic() + CLOSE_SECONDS
        self._close_if_done()

    def abandon(self) -> None:
        """Kill everything at once, without a word."""
        from multiprocessing.connection import wait  # loaded since the first start

        for started in self._processes.values():
            self._waiter.forget(started.seen_by)
            kill_group(started.process.pid)
            wait([started.seen_by], CLOSE_SECONDS)
            _reap(started.process)
            started.close()
        self._processes.clear()

    def strike(self) -> None:
        """Kill everything, from any thread: change nothing, wait for nothing."""
        for started in list(self._processes.values()):
            kill_group(started.process.pid)

    def let_go(self) -> None:
        """In a forked child: close our descriptors; loky's own are its own affair."""
        for started in self._processes.values():
            started.close()

    def tick(self, now: float) -> float | None:
        """Kill workers that do not end within their bound."""
        if self._deadline is None:
            return None
        due_at = max(self._deadline, self._patient_until)
        if now < due_at:
            return due_at
        self._deadline = None
        for started in self._processes.values():
            kill_group(started.process.pid)
        return None

    def _on_end(self, worker: int, bits: int) -> None:
        del bits
        started = self._processes.pop(worker)
        self._waiter.forget(started.seen_by)
        kill_group(started.process.pid)
        status, peak_bytes = _reap(started.process)
        started.close()
        self._events.on_ended(worker, status, peak_bytes)
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._quitting and not self._processes:
            self._deadline = None
            self._events.on_closed()


class _Started(NamedTuple):
    """A worker's process, and the descriptor that tells of its end.

    That is a pidfd where there is one: what the worker forked may hold the sentinel, a pipe, open.
    """

    process: Any
    seen_by: int
    pidfd: int

    def close(self) -> None:
        """Give the pidfd back; the sentinel goes with the process, which loky cannot close."""
        HOUSEHOLD.discard(self.process.pid)
        if self.pidfd >= 0:
            os.close(self.pidfd)


def _reap(process: Any) -> tuple[int | None, int | None]:
    """Return the wait status of an ended process and the most memory it held; None if unknown."""
    popen = process._popen  # noqa: SLF001  # its own poll() throws the memory away
    if popen.returncode is not None or not hasattr(os, "wait4"):
        process.join(CLOSE_SECONDS)
        return _status(process.exitcode), None
    try:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    except ChildProcessError:  # SIGCHLD is ignored, or another thread was faster
        code = process.exitcode
        popen.returncode = UNKNOWN_EXIT if code is None else code
        process.join(0)
        return _status(code), None
    if not pid:
        process.join(CLOSE_SECONDS)
        if process.exitcode is None:  # it stands in the kernel, or waits for a core
            wait_aside(lambda: process.join(0) or process.exitcode)
        return _status(process.exitcode), None
    popen.returncode = os.waitstatus_to_exitcode(status)
    process.join(0)
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return status, usage.ru_maxrss * unit_bytes


def _status(code: int | None) -> int | None:
    return None if code is None else -code if code < 0 else code << 8


def lay_down(text: bytes) -> "Connection | bytes":
    """Put what a worker is to read where it need not be awaited: a small text, or a file.

    Args:
        text: What is to be read.

    Raises:
        OSError: There is no room for a file.
    """
    if len(text) <= SMALL_TERMS_BYTES or os.name != "posix":
        return text
    from multiprocessing.connection import Connection

    try:
        descriptor = make_memory_file(0)
    except OSError:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    written = 0
    try:
        while written < len(text):
            written += os.write(descriptor, memoryview(text)[written:])
    except OSError:
        os.close(descriptor)
        raise
    return Connection(descriptor)


def pick_up(laid: "Connection | bytes") -> bytes:
    """Read what `lay_down` has put there; the file is closed."""
    if isinstance(laid, bytes):
        return laid
    parts: list[bytes] = []
    at = 0
    while part := os.pread(laid.fileno(), READ_BYTES, at):
        parts.append(part)
        at += len(part)
    laid.close()
    return b"".join(parts)


@contextmanager
def _with_what_is_asked_for() -> Iterator[None]:
    """Have `sys.argv` and streams that can be flushed, which a start of loky's asks for."""
    held = {name: getattr(sys, name, None) for name in ("argv", "stdout", "stderr")}
    lacking = [name for name in ("stdout", "stderr") if getattr(held[name], "closed", True)]
    is_wordless = held["argv"] is None
    for name in lacking:
        setattr(sys, name, StringIO())
    if is_wordless:
        sys.argv = [""]
    try:
        yield
    finally:
        for name in lacking:
            setattr(sys, name, held[name])
        if is_wordless:
            del sys.argv


def serve(  # noqa: PLR0915  # a line for each thing to be set up
    ends: "list[Connection]",
    laid: "Connection | bytes",
    family: dict[str, Any],
    key: bytes,
    spill_path: str,
) -> None:
    """Be a worker (in the new process).

    Args:
        ends: Our end of the socket and, where there is one, the slate's memory file, and the bell.
        laid: What every worker is started with, as `lay_down` returned it.
        family: What the parent said of itself.
        key: What only this worker and the parent know.
        spill_path: The file for what is not heard in time; `""` where nothing is relayed.
    """
    terms: Terms = loads(pick_up(laid))
    keep_hash_seed(terms.hash_seed)
    parent = family["pid"]
    os.setpgid(0, 0)
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a program may hand down that it is ignored
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent_fd = open_pidfd(parent)
    if os.getppid() != parent:
        os._exit(1)
    _end_group_with(parent, parent_fd)
    be_expendable()
    tell_of_parent(parent)
    adopt_tools(family)
    link = open_socket(os.dup(ends[0].fileno()))
    slate_file = os.dup(ends[1].fileno()) if len(ends) > 1 else -1
    slate = Slate(slate_file, SLATE_BYTES) if len(ends) > 1 else None
    bell = os.dup(ends[2].fileno()) if len(ends) > 2 else -1  # noqa: PLR2004  # the third
    for end in ends:
        end.close()
    if spill_path:
        relay.install()
    relay.mute()
    program = Applied()
    program.take_early(loads(terms.settings))
    program.load(lambda: start_as(terms.main, terms.names))
    first = None if terms.first is None else loads(terms.first)
    program.take_late()
    reseed(find_generators(spare=(first and first[1], HERE.shared())))
    relay.unmute()
    worker = Worker(
        link,
        slate,
        {},
        terms.publish_seconds,
        terms.arena_bytes,
        key=key,
        left_work_seconds=terms.left_work_seconds,
        slate_file=slate_file,
        program=program,
        bell=bell,
        spill_path=spill_path,
    )
    serve_to_the_end(worker, first, greets=True)


def _end_group_with(parent: int, parent_fd: int) -> None:
    """See to it that what tasks start ends with the parent, also where the parent is killed.

    The kernel ends the worker alone. The watcher is no child of the worker, whose tasks may wait
    for children of their own; it is in its group, so that it ends with that.
    """
    try:
        first = os.fork()
    except (AttributeError, OSError):
        return  # where no process is to be had, none is left for tasks to start
    if first:
        os.waitpid(first, 0)
    elif os.fork():
        os._exit(0)
    else:
        try:
            watch(parent, parent_fd)
        finally:
            kill_group(os.getpgrp())
    if parent_fd >= 0:
        os.close(parent_fd)
