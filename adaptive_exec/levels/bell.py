"""Wakes the thread that waits for results, whatever signal handlers raise in it meanwhile.

A `threading.Condition` takes and gives its lock in Python code: an exception that a signal handler
raises between the two leaves the lock taken, and whoever rings next waits for ever. Here every step
is one call into C. Does not say what there is to see.
"""

import contextlib
import threading


class Bell:
    """Rung from any thread; one ring wakes one wait, now or the next."""

    def __init__(self) -> None:
        self._quiet = threading.Lock()
        self._quiet.acquire()

    def ring(self) -> None:
        """Wake who waits, or who waits next; never waits itself."""
        if self._quiet.locked():
            with contextlib.suppress(RuntimeError):  # somebody else rang at the same moment
                self._quiet.release()

    def wait(self, seconds: float) -> None:
        """Wait for a ring.

        Args:
            seconds: At most this long, 0 or more.
        """
        self._quiet.acquire(timeout=seconds)
