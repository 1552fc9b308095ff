"""Lanes: what may be held up (users' callbacks, disks, logs) runs beside the driver.

The driver's thread reads memory, judges and kills, so it may wait for nobody. What it hands over
runs in lanes: the steps of one lane run one after the other, in the order in which they came; a
lane that hangs holds up no other. Threads are started when there is something to do and shared by
all lanes; one more is there only while another is held up. Decides nothing, and knows nothing of
what steps do.
"""

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from adaptive_exec.levels.bell import Bell
from adaptive_exec.levels.threads import begin_thread

LISTEN_SECONDS: Final = 0.25
"""Seconds; the longest a caller's thread waits at a stretch. A signal in the very moment before a
wait does not end it (CPython notes it and goes to sleep), so Ctrl-C may be as late as this."""
LANE_BOOT_SECONDS: Final = 0.5
"""Seconds a lane's thread gets to boot before another one is started instead; it takes 0.1 ms, and
one that finds no memory while it boots never does."""
LANE_IDLE_SECONDS: Final = 1.0
"""Seconds after which a thread that finds no lane with something to do ends."""

Step = Callable[[], object]

OBSERVE: Final = "observe"
"""Log lines and `on_event`."""
CALL_BACK: Final = "call-back"
"""Callbacks of futures."""
UNPACK: Final = "unpack"
"""Results of submitted calls that are objects of the user's own."""
PACK: Final = "pack"
"""Arguments that are objects of the user's own."""
RECORD: Final = "record"
"""The journal, tasks' folders, and deliveries that wait for them."""
SAY: Final = "say"
"""What tasks have said, and deliveries that come behind it."""
TRADE: Final = "trade"
"""The ledger."""
TIDY: Final = "tidy"
"""Garbage collection for want of memory."""
NAMES: Final = (OBSERVE, CALL_BACK, UNPACK, PACK, RECORD, SAY, TRADE, TIDY)
WIDE: Final = {UNPACK: 4, PACK: 4}
"""Lanes of which there are several, since their steps need no order: one that hangs holds up those
behind it only. A fifth object that hangs while it is packed or unpacked waits for one of them."""

_FUTURES_LOGGER = logging.getLogger("concurrent.futures")


class _Lane:
    """Steps that wait, and the token of the thread that works them off."""

    __slots__ = ("steps", "token")

    def __init__(self) -> None:
        self.steps: deque[Step] = deque()
        self.token = threading.Lock()

    @property
    def is_idle(self) -> bool:
        return not self.steps and not self.token.locked()

    def load(self) -> int:
        """Return how many steps are here, the one that runs among them."""
        return len(self.steps) + self.token.locked()


class Lanes:
    """The lanes of one driver.

    No lock is held while a step runs, and none is waited for, so that also a finalizer may put
    something in, whatever it interrupted.

    Args:
        name: Short name of the executor, in the names of the threads.
        on_error: Told of what a step raised; may be called from any lane.
    """

    def __init__(self, name: str, on_error: Callable[[BaseException], None]) -> None:
        self._name = name
        self._on_error = on_error
        self._lanes = {name: [_Lane() for _ in range(WIDE.get(name, 1))] for name in NAMES}
        self._all = [lane for lanes in self._lanes.values() for lane in lanes]
        self._ready: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        self._free: set[int] = set()
        self._threads: set[int] = set()
        self._booting: dict[object, float] = {}

    def put(self, name: str, step: Step) -> None:
        """Have a step run after those of its lane that came before; never waits.

        Where no thread can be started it runs here and now.
        """
        lanes = self._lanes[name]
        self._put(lanes[0] if len(lanes) == 1 else min(lanes, key=_Lane.load), step)

    def _put(self, lane: "_Lane", step: Step) -> None:
        lane.steps.append(step)
        if lane.token.acquire(blocking=False):
            self._ready.put(lane)
            self._see_to_threads()

    def waiting(self, name: str) -> int:
        """Return how many steps of a lane have not begun."""
        return sum(len(lane.steps) for lane in self._lanes[name])

    def tend(self) -> float | None:
        """See to it that lanes that stand still get a thread.

        Returns:
            Seconds after which to do so again, None for never.
        """
        if self._ready.empty():
            return None
        self._see_to_threads()
        return LANE_BOOT_SECONDS

    def is_own_thread(self) -> bool:
        """Say whether the calling thread is one of ours."""
        return threading.get_ident() in self._threads

    def end(self, future: "Future[Any]", step: Step) -> None:
        """End a future; its callbacks run in their lane, so that none holds up the calling thread.

        Args:
            future: Any future of `concurrent.futures`.
            step: Sets its result or exception, or cancels it.
        """
        with future._condition:  # noqa: SLF001  # a lock that may be taken twice; so since 3.2
            callbacks = future._done_callbacks  # type: ignore[attr-defined]  # noqa: SLF001  # as above
            if future.done() or not callbacks:  # those of one cancelled before were called
                step()
                return
            future._done_callbacks = []  # type: ignore[attr-defined]  # noqa: SLF001  # as above
            try:
                step()
            finally:
                if not future.done():
                    future._done_callbacks = callbacks  # type: ignore[attr-defined]  # noqa: SLF001  # as above
                    callbacks = []
            for function in callbacks:  # before a waiter sees the end
                self.put(CALL_BACK, partial(_call_back, function, future))

    def is_idle(self) -> bool:
        """Say whether everything that was put in is done."""
        return all(lane.is_idle for lane in self._all)

    def settle(self, seconds: float, *names: str) -> bool:
        """Wait until what was put into lanes until now is done, and what that has put into others.

        Args:
            seconds: The longest wait.
            names: The lanes, none for all.

        Returns:
            False when some of it is not.
        """
        if self.is_own_thread():
            return True
        deadline = time.monotonic() + seconds
        chosen = [lane for name in names for lane in self._lanes[name]] if names else self._all
        # twice: what is said may be recorded then, and delivered behind what is said by then
        return all(self._settle(lane, deadline) for lane in (*chosen, *chosen))

    def _settle(self, lane: _Lane, deadline: float) -> bool:
        if lane.is_idle:
            return True
        bell = Bell()
        is_done: list[bool] = []

        def mark() -> None:
            is_done.append(True)
            bell.ring()

        self._put(lane, mark)
        while not is_done:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.tend()
            bell.wait(min(left, LISTEN_SECONDS))
        return True

    def when_done(self, step: Step) -> None:
        """Run a step, once or twice, when all that was put in until now is done."""
        busy = [lane for lane in self._all if not lane.is_idle]
        if not busy:
            step()
            return
        left = list(busy)

        def count_down() -> None:
            left.pop()
            if not left:
                step()

        for lane in busy:
            self._put(lane, count_down)

    def close(self) -> None:
        """Let idle threads end; what still comes gets one for a while."""
        for _ in range(len(self._threads) + len(self._booting)):
            self._ready.put(_END)

    # threads

    def _see_to_threads(self) -> None:
        """Start a thread where a lane waits and none is free; where none can be had, work here."""
        now = time.monotonic()
        coming = sum(now - since < LANE_BOOT_SECONDS for since in list(self._booting.values()))
        if self._ready.qsize() <= len(self._free) + coming:
            return
        if len(self._threads) + coming >= len(self._all):
            return
        token = object()
        self._booting[token] = now
        try:
            begin_thread(self._serve, f"adaptive-exec-lane-{self._name}", token)
        except (RuntimeError, MemoryError):
            self._booting.pop(token, None)
            if not self._threads:
                self._work_here()

    def _work_here(self) -> None:
        while True:
            try:
                lane = self._ready.get_nowait()
            except queue.Empty:
                return
            self._work_off(lane)

    def _serve(self, token: object) -> None:
        me = threading.get_ident()
        self._threads.add(me)
        self._booting.pop(token, None)
        try:
            while (lane := self._next(me)) is not None:
                self._work_off(lane)
                del lane
        finally:
            self._free.discard(me)
            self._threads.discard(me)

    def _next(self, me: int) -> _Lane | None:
        """Wait for a lane with something to do; None when this thread is to end."""
        while True:
            self._free.add(me)
            try:
                lane = self._ready.get(timeout=LANE_IDLE_SECONDS)
            except queue.Empty:
                self._free.discard(me)
                if self._ready.empty():  # else one came in while this thread counted as free
                    return None
                continue
            self._free.discard(me)
            return None if lane is _END else lane

    def _work_off(self, lane: _Lane) -> None:
        """Run a lane's steps; its token is held, and let go where nothing is left."""
        while lane.steps or not self._let_go(lane):
            try:
                lane.steps.popleft()()
            except BaseException as error:  # noqa: BLE001  # users' code; the next step is another's
                self._tell(error)

    def _tell(self, error: BaseException) -> None:
        """Tell of what a step raised; a log that cannot be written must not end the lane, too."""
        with contextlib.suppress(Exception):  # a handler of the user's, a stream that was closed
            self._on_error(error)

    @staticmethod
    def _let_go(lane: _Lane) -> bool:
        """Leave a lane; False when something came in meanwhile that nobody else has taken on."""
        lane.token.release()
        return not (lane.steps and lane.token.acquire(blocking=False))


_END: Final = _Lane()


def _call_back(function: Callable[[Future[Any]], object], future: "Future[Any]") -> None:
    try:
        function(future)
    except BaseException:  # as `concurrent.futures` does; nobody is left to raise it to
        _FUTURES_LOGGER.exception("exception calling callback for %r", future)
