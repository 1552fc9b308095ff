"""Where work comes in: to look whether it may, to enter it and to tell of it are one step.

Two doors lead through one lock: the outer one for what callers bring, closed by a shutdown, by an
end at once, by a failed driver and by the interpreter's exit; the inner one for what was let in
before and goes on as another batch, closed when the driver has ended. In a forked child both are
closed. What has come through a door is ended by the driver, whatever happens. Knows nothing of
what comes through.
"""

import os
import threading
from types import TracebackType

from adaptive_exec.core.lifecycle import EXECUTOR, ExecutorEvent, ExecutorState, after
from adaptive_exec.engine.lifetime import exit_began


class Gate:
    """Who may come in now; use its doors in a `with` statement.

    The lock is held for a few lines, never while anything waits or code of the user runs. It may be
    taken again by the thread that has it: garbage may be collected at any line, and its finalizers
    are anybody's code.
    """

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self._state: ExecutorState = "open"
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self.outer = Door(self, is_inner=False)
        self.inner = Door(self, is_inner=True)

    @property
    def state(self) -> ExecutorState:
        """What is let in: everything, nothing from outside, nothing."""
        return self._state

    @property
    def is_foreign(self) -> bool:
        """True in a process that was forked from the one that made this gate."""
        return self._pid != os.getpid()

    def see(self, event: ExecutorEvent) -> None:
        """Take in what happened to the executor; who is at a door now is through before."""
        with self._lock:
            self._state = after(EXECUTOR, self._state, event)

    def check(self, *, is_inner: bool = False) -> None:
        """Raise unless something may come in now.

        Raises:
            RuntimeError: It may not.
            DriverError: The driver has failed.
        """
        if self.is_foreign:
            message = "this executor was made in another process; make a new one after a fork"
            raise RuntimeError(message)
        if self.failure is not None:
            raise self.failure
        if self._state == "open" and not exit_began.is_set():
            return
        if is_inner and self._state != "ended":
            return
        what = "interpreter shutdown" if self._state == "open" else "shutdown"
        message = f"cannot schedule new futures after {what}"
        raise RuntimeError(message)

    def let_go(self) -> None:
        """In a forked child: forget a lock that another thread may have held."""
        self._lock = threading.RLock()

    def take(self, *, is_inner: bool) -> None:
        """Take the lock for one who may come in; raise for one who may not."""
        if self.is_foreign:  # its lock may be held by a thread that is not here
            self.check()
        self._lock.acquire()
        try:
            self.check(is_inner=is_inner)
        except BaseException:
            self._lock.release()
            raise

    def give(self) -> None:
        """Give the lock back."""
        self._lock.release()


class Door:
    """One way through a gate; entering raises where it is closed."""

    __slots__ = ("_gate", "_is_inner")

    def __init__(self, gate: Gate, *, is_inner: bool) -> None:
        self._gate = gate
        self._is_inner = is_inner

    def __enter__(self) -> None:
        self._gate.take(is_inner=self._is_inner)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gate.give()
