"""How process workers come to be: the small interface behind which the zygote and loky stand.

A starter gives a worker a socket and a slate and says how it fares; it does not know of chunks.
"""

import _socket
import os
from typing import NamedTuple, Protocol

from adaptive_exec.core.starts import Setback
from adaptive_exec.levels.inner import unset_variables
from adaptive_exec.levels.ring import name_spill
from adaptive_exec.levels.slate import SLATE_BYTES, Slate, make_memory_file
from adaptive_exec.program.spaces import Facts, Key

_QUIET_ARROW = ("JE_ARROW_MALLOC_CONF", "background_thread:false")


class Terms(NamedTuple):
    """What every worker is started with.

    Attributes:
        first: The packed `(initializer, initargs)`, None for none.
        main: What is to be known of the caller's `__main__`.
        names: What the initializer and functions need of the caller's modules: facts and parts.
        inner_threads: Threads that numeric libraries may use in each worker.
        publish_seconds: How long finished results may be held back.
        arena_bytes: The most bytes of shared memory that a worker's large results may have.
        relayed: How what tasks say comes to the parent, None where it does not.
        hash_seed: The seed of hashes of texts, None where the user's environment has it.
        left_work_seconds: How long what tasks have left in threads is waited for at a worker's end.
        settings: What the program has set, packed.
    """

    first: bytes | None
    main: Facts
    names: list[tuple[tuple[Key, int, int, bool], list[bytes]]]
    inner_threads: int
    publish_seconds: float
    arena_bytes: int
    left_work_seconds: float
    hash_seed: int | None = None
    settings: bytes = b""
    relayed: "Relayed | None" = None

    def spill_path(self, key: bytes) -> str:
        """Return the file of a worker that says more than is heard; `""` where nothing is."""
        return "" if self.relayed is None else name_spill(self.relayed.folder, os.getpid(), key)


class Relayed(NamedTuple):
    """How what tasks say comes to the parent.

    Attributes:
        bell: A descriptor by which workers wake the parent; -1 where it looks by itself.
        folder: Where a worker may put what is not heard in time.
    """

    bell: int
    folder: str


def versions_of(terms: Terms) -> dict[Key, int]:
    """Return the versions of the names that workers are started with."""
    return {key: version for (key, version, _, _), _ in terms.names}


class Seat(NamedTuple):
    """What the parent holds of a worker that was ordered.

    Attributes:
        link: Our end of its socket, non-blocking.
        slate: Memory shared with it; None where there is none, then results come over the socket
            alone.
        key: What only this worker and we know, so that nobody else speaks for it.
        pid: Its process, 0 while that is not known.
    """

    link: _socket.socket
    slate: Slate | None
    key: bytes
    pid: int = 0


class StarterEvents(Protocol):
    """What a starter reports, to the process runner, in the driver's thread."""

    def on_started(self, worker: int, pid: int) -> None:
        """A worker is there."""

    def on_refused(self, worker: int, error: str) -> None:
        """A worker that was ordered cannot be had."""

    def on_ended(self, worker: int, status: int | None, peak_bytes: int | None) -> None:
        """A worker has ended.

        Args:
            worker: Its id.
            status: Its wait status as `os.waitpid` gives it, None when unknown.
            peak_bytes: The most memory it held at any time, None when unknown.
        """

    def on_lost(self, cause: str) -> None:
        """The starter itself is gone, and its workers with it."""

    def on_closed(self) -> None:
        """The starter has ended as it was told."""


class Starter(Protocol):
    """Starts and kills worker processes."""

    functions: set[int]
    """Ids of the functions that every worker has from its birth."""
    names: dict[Key, int]
    """Versions of the names that every worker has from its birth."""
    inherited_bytes: int
    """Memory of its own that the caller had when it was forked; it is not the workers'."""
    has_company: bool
    """Whether workers are copies of a process in which more was loaded than this package."""
    should_be_bare: bool
    """True once it is clear that the next starter must not load the function beforehand."""

    def start(self, worker: int) -> Seat:
        """Order a worker; on_started or on_refused answers.

        Raises:
            OSError: A descriptor, a process or memory was refused.
        """

    def kill(self, worker: int, *, is_there: bool = False) -> None:
        """Kill a worker with all it has started; on_ended answers.

        Args:
            worker: Which.
            is_there: True where it is known that its process is there.
        """

    def wait_until(self, at: float) -> None:
        """Have patience with the end: a worker has something left to do."""

    def setback(self, cause: str) -> Setback | None:
        """Say why it never was of use, once it is lost; None where it was.

        Args:
            cause: How its process ended.
        """

    def forget(self, number: int) -> None:
        """Have no worker that is started from now on begin with this function."""

    def quit(self) -> None:
        """End once the last worker has ended; on_closed answers."""

    def abandon(self) -> None:
        """Kill everything at once, without a word."""

    def strike(self) -> None:
        """Kill everything, from any thread: change nothing, wait for nothing."""

    def let_go(self) -> None:
        """In a forked child: close descriptors, touch nothing else."""

    def tick(self, now: float) -> float | None:
        """Look after bounds; return when to look again, None for never."""


def make_slate() -> tuple[int, Slate | None]:
    """Make shared memory for a worker; where that is refused the worker goes without."""
    try:
        descriptor = make_memory_file(SLATE_BYTES)
    except OSError:
        return -1, None
    try:
        return descriptor, Slate(descriptor, SLATE_BYTES)
    except (OSError, ValueError):
        os.close(descriptor)
        return -1, None


def cap_inner_threads(count: int) -> dict[str, str]:
    """Name the variables that hold numeric libraries in a worker to `count` threads.

    What the user has set wins.
    """
    wanted = dict.fromkeys(unset_variables(), str(count))
    return wanted if _QUIET_ARROW[0] in os.environ else {**wanted, _QUIET_ARROW[0]: _QUIET_ARROW[1]}
