"""Takes a snapshot again and again in a thread of its own and posts each one.

The interval can be changed from any thread at any moment; how long it should be is decided
elsewhere. Every wait has a bound, and the thread never keeps the interpreter from ending.
"""

import _thread
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from adaptive_exec.core.snapshot import HostSnapshot

INTERVAL_SECONDS: Final = 1.0
"""Seconds between snapshots unless told otherwise. Source: docs/design.md, memory governor."""
INTERVAL_SECONDS_MIN: Final = 0.05
"""Seconds; a snapshot of 0.2 ms then takes 0.4 % of one core."""
INTERVAL_SECONDS_MAX: Final = 5.0
"""Seconds; the newest snapshot is never older, however calm the host."""
STOP_SECONDS: Final = 2.0
"""Seconds that `stop` waits for the thread; a snapshot takes 0.2 ms, a swapping host more."""


class Probe(Protocol):
    """Whatever takes a snapshot; `HostProbe` does."""

    def take(self, now: float | None = None) -> HostSnapshot:
        """Read everything once."""
        ...


class Sampler:
    """A thread that probes.

    Args:
        probe: Takes the snapshots.
        post: Called with each snapshot, from the sampler's thread.
        interval_seconds: Seconds between snapshots, bounded by INTERVAL_SECONDS_MIN and
            INTERVAL_SECONDS_MAX.

    Attributes:
        failures: How often a snapshot could not be taken or posted.
    """

    def __init__(
        self,
        probe: Probe,
        post: Callable[[HostSnapshot], object],
        *,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self.failures = 0
        self._probe = probe
        self._post = post
        self._interval_seconds = _bounded(interval_seconds)
        self._changed = threading.Condition(threading.Lock())
        self._stopping = False
        self._thread_id: int | None = None
        self._ended = _thread.allocate_lock()

    def start(self) -> None:
        """Start the thread; once only.

        Raises:
            RuntimeError: The host grants no thread.
        """
        assert self._thread_id is None, "a sampler starts once"
        self._ended.acquire()
        try:
            # Not threading.Thread: its start() waits for ever if the new thread dies of a
            # MemoryError at its birth.
            self._thread_id = _thread.start_new_thread(self._run, ())
        except BaseException:
            self._ended.release()
            raise

    def set_interval(self, seconds: float) -> None:
        """Change the interval, the present one included.

        Args:
            seconds: Seconds between snapshots; beyond the bounds the nearest bound counts.
        """
        with self._changed:
            self._interval_seconds = _bounded(seconds)
            self._changed.notify_all()

    def stop(self, *, timeout_seconds: float = STOP_SECONDS) -> bool:
        """Stop the thread and wait for its end.

        Args:
            timeout_seconds: The longest wait; the sampler's own thread never waits.

        Returns:
            Whether the thread has ended; True where it never started.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if _thread.get_ident() == self._thread_id:
            return False
        ended = self._ended.acquire(timeout=timeout_seconds)
        if ended:
            self._ended.release()
        return ended

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._sample()
                self._wait(time.monotonic())
        finally:
            self._ended.release()

    def _sample(self) -> None:
        try:
            self._post(self._probe.take())
        except Exception:  # noqa: BLE001  # a MemoryError while reading, an inbox that is closed: the next look counts
            self.failures += 1

    def _wait(self, since: float) -> None:
        with self._changed:
            while not self._stopping:
                left = since + self._interval_seconds - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)


def _bounded(seconds: float) -> float:
    return min(max(seconds, INTERVAL_SECONDS_MIN), INTERVAL_SECONDS_MAX)
