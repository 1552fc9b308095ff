"""Wait for descriptors, a wake-up from another thread, or a time: whichever comes first.

Without descriptors to watch it needs none of its own (a lock); with them it needs one (an eventfd,
else a pipe's two).
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from time import sleep
from typing import Any, Final

from adaptive_exec.levels.originals import READ, WRITE, make_poll

SHARED_SECONDS: Final = 0.001
"""Seconds that who comes while another thread waits lets pass. Source: own choice; it happens only
as the driver's thread begins beside a caller who has driven until then."""
_ONE = (1).to_bytes(8, "little")


class Waiter:
    """Where the driver's thread sleeps. One thread waits; any thread may wake it."""

    def __init__(self) -> None:
        self._bell = threading.Lock()
        self._bell.acquire()
        self._asleep = False
        self._rung = False
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._poll: Any = None
        self._wake_read = self._wake_write = -1
        self._ringing = threading.RLock()  # a finalizer may wake while its own thread does

    def watch(self, descriptor: int, handler: Callable[[int], None]) -> None:
        """Call `handler(bits)` when a descriptor is readable or at its end.

        Args:
            descriptor: What to watch.
            handler: Gets poll's event bits.

        Raises:
            OSError: No descriptor is left for the wake-up.
        """
        if self._poll is None:
            self._open_bell()
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, READ)
        self.wake()

    def descriptors(self) -> set[int]:
        """Return what is watched, and its own."""
        return {*self._handlers, self._wake_read, self._wake_write}

    def want_write(self, descriptor: int, *, wanted: bool) -> None:
        """Also wait for room to write, or no longer."""
        if descriptor in self._handlers:
            self._poll.modify(descriptor, READ | WRITE if wanted else READ)
            self.wake()

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more."""
        if self._handlers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def wake(self) -> None:
        """End the present or next wait at once; from any thread."""
        if self._rung:
            return
        self._rung = True
        if self._asleep:
            self._ring()
        elif self._poll is None:
            with suppress(RuntimeError):  # it was rung already and nobody has waited since
                self._bell.release()

    def wait(self, seconds: float) -> list[tuple[Callable[[int], None], int]]:
        """Wait for something to happen.

        Args:
            seconds: The longest wait.

        Returns:
            The handlers that are due, each with its event bits.
        """
        poll = self._poll
        if poll is None:
            self._bell.acquire(timeout=max(0.0, seconds))
            self._rung = False
            return []
        self._asleep = True
        try:
            ready = poll.poll(0 if self._rung else max(0.0, seconds) * 1000)
        except RuntimeError:  # another thread waits there, and takes what comes
            sleep(min(max(0.0, seconds), SHARED_SECONDS))
            return []
        self._asleep = False
        self._rung = False
        return [(self._handlers[fd], bits) for fd, bits in ready if fd in self._handlers]

    def close(self) -> None:
        """Give the descriptors back."""
        self._handlers.clear()
        self._poll = None
        with self._ringing:
            for descriptor in {self._wake_read, self._wake_write} - {-1}:
                os.close(descriptor)
            self._wake_read = self._wake_write = -1

    def let_go(self) -> None:
        """In a forked child: close the descriptors without a lock that another thread may hold."""
        for descriptor in {self._wake_read, self._wake_write} - {-1}:
            os.close(descriptor)
        self._wake_read = self._wake_write = -1
        self._poll = None
        self._asleep = False
        self._ringing = threading.RLock()

    def _ring(self) -> None:
        with self._ringing:
            if self._wake_write < 0:
                return
            try:
                os.write(self._wake_write, _ONE)
            except BlockingIOError:
                return  # it rings already

    def _open_bell(self) -> None:
        if hasattr(os, "eventfd"):
            self._wake_read = self._wake_write = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self._wake_read, self._wake_write = os.pipe()
            os.set_blocking(self._wake_read, False)
            os.set_blocking(self._wake_write, False)
        self._handlers[self._wake_read] = self._answer_bell
        poll = make_poll()
        poll.register(self._wake_read, READ)
        self._poll = poll

    def _answer_bell(self, bits: int) -> None:
        del bits
        with suppress(BlockingIOError):  # it was read already
            os.read(self._wake_read, 4096)
