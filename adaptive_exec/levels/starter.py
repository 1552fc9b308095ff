"""How process workers come to be: the small interface behind which the zygote and loky stand.

A starter gives a worker a socket and a slate and says how it fares; it does not know of chunks.
"""

import socket
from dataclasses import dataclass
from typing import Protocol

from adaptive_exec.levels.slate import Slate


@dataclass(frozen=True, slots=True)
class Seat:
    """What the parent holds of a worker that was ordered.

    Attributes:
        link: Our end of its socket, non-blocking.
        slate: Memory shared with it; None where there is none, then results come over the socket alone.
    """

    link: socket.socket
    slate: Slate | None


class StarterEvents(Protocol):
    """What a starter reports, to the process runner, in the driver's thread."""

    def on_started(self, worker: int, pid: int) -> None:
        """A worker is there."""

    def on_refused(self, worker: int, error: str) -> None:
        """A worker that was ordered cannot be had."""

    def on_ended(self, worker: int, status: int | None) -> None:
        """A worker has ended, with a wait status as `os.waitpid` gives it; None when unknown."""

    def on_lost(self, cause: str) -> None:
        """The starter itself is gone, and its workers with it."""

    def on_closed(self) -> None:
        """The starter has ended as it was told."""


class Starter(Protocol):
    """Starts and kills worker processes."""

    functions: frozenset[int]
    """Ids of the functions that every worker has from its birth."""
    should_be_bare: bool
    """True once it is clear that the next starter must not load the function beforehand."""

    def start(self, worker: int) -> Seat:
        """Order a worker; on_started or on_refused answers.

        Raises:
            OSError: A descriptor, a process or memory was refused.
        """

    def kill(self, worker: int) -> None:
        """Kill a worker with all it has started; on_ended answers."""

    def quit(self) -> None:
        """End once the last worker has ended; on_closed answers."""

    def abandon(self) -> None:
        """Kill everything at once, without a word."""

    def tick(self, now: float) -> float | None:
        """Look after bounds; return when to look again, None for never."""
