"""The level beside the ladder: chunks go to the workers of an engine that is there already.

Each place that the run has taken holds one chunk. An answer is known by its place and chunk, so
that one which comes late, after its tasks went elsewhere, is dropped. What an engine is, and how
it is asked, is the affair of `engines` and of one file for each that has more than `submit`.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from adaptive_exec.core.events import (
    ChunkDone,
    FunctionRefused,
    LevelClosed,
    LevelLost,
    PlacesCounted,
    StartRefused,
    Usage,
    WorkerLost,
    WorkerReady,
)
from adaptive_exec.levels.away import DONE, REFUSED, Done
from adaptive_exec.levels.base import CLOSE_SECONDS, CannotStartError, ChunkOrder, Outlet
from adaptive_exec.levels.bundles import is_carried, make_bundle, make_first, open_done
from adaptive_exec.levels.dask_engine import DaskEngine, client_of
from adaptive_exec.levels.engines import Engine, EngineLostError, Opened, PlainEngine, line_of
from adaptive_exec.levels.threads import start_thread
from adaptive_exec.specs import BESIDE

PLACES_PER_SLOT: Final = 2
"""Chunks for each of an engine's slots: one runs, the next is there when it ends."""
LOOK_SECONDS: Final = 1.0
"""Seconds between looks whether an engine is still there that may not be able to tell."""
NO_WORKERS_SECONDS: Final = 10.0
"""Seconds without a worker after which an engine is given up."""


def make_engine(target: Any, wait_seconds: float, first: bytes) -> Engine:
    """Choose how an engine is asked.

    Args:
        target: A client of Dask's, the executor of one, an address, or any other executor.
        wait_seconds: The longest wait for its first answer.
        first: The initializer, packed.
    """
    client = target if isinstance(target, str) else client_of(target)
    if client is None:
        return PlainEngine(target, wait_seconds, first)
    return DaskEngine(client, wait_seconds, first)


class _Out:
    """A chunk that is with an engine.

    Attributes:
        order: The chunk.
        seat: The engine's worker that has it.
        ticket: What the engine knows it by, None while it is being packed.
        holds_slot: Whether it was taken back and may run there all the same.
    """

    __slots__ = ("_is_over", "holds_slot", "order", "pack_seconds", "seat", "sent_bytes", "ticket")

    def __init__(self, order: ChunkOrder, seat: str) -> None:
        self.order = order
        self.seat = seat
        self.ticket: Any = None
        self._is_over = self.holds_slot = False
        self.pack_seconds = 0.0
        self.sent_bytes = 0

    def is_over(self) -> bool:
        """Say whether nobody waits for it any more; asked and told in several threads."""
        return self._is_over

    def end(self) -> None:
        """Wait for it no longer."""
        self._is_over = True


class ClusterRunner:
    """Sends chunks to an engine and takes its answers.

    Args:
        outlet: Where events go.
        target: A client, an address, or an executor.
        wait_seconds: The longest wait for the engine's first answer.
        initializer: Called first in each of its workers, None for none.
        initargs: Its arguments.
        may_repeat: False where no task may run twice.
    """

    def __init__(
        self,
        outlet: Outlet,
        target: Any,
        wait_seconds: float,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        may_repeat: bool = True,
    ) -> None:
        self._may_repeat = may_repeat
        self._outlet = outlet
        self._target = target
        self._wait_seconds = wait_seconds
        self._initializer = initializer, initargs
        self._first = b""
        self._engine: Engine | None = None
        self._opening = 0
        self._open_by: float | None = None
        self._without_since: float | None = None
        self._waiting: list[int] = []
        self._slots: dict[str, int] = {}
        self._held: Counter[str] = Counter()
        self._seats: dict[int, str] = {}
        self._out: dict[int, _Out] = {}
        self._trip_seconds = 0.0
        self._told = 0

    # what the driver asks

    def start(self, workers: Sequence[int]) -> None:
        """Take places; the first opens the engine, apart, and each has its answer then."""
        if self._engine is not None:
            self._seat(workers)
            return
        self._waiting.extend(workers)
        if self._open_by is None:
            self._first = make_first(*self._initializer)
            self._opening += 1
            self._open_by = time.monotonic() + self._wait_seconds + CLOSE_SECONDS
            self._outlet.look_by(self._open_by)
            engine = make_engine(self._target, self._wait_seconds, self._first)
            start_thread(self._open, "adaptive-exec-engine", engine, self._opening)

    def send(self, order: ChunkOrder) -> None:
        """Give a chunk to a place; it is packed apart, since that runs code of the user's."""
        out = self._out[order.worker] = _Out(order, self._seats[order.worker])
        if is_carried(order):
            self._outlet.pack_apart(partial(self._pack, out))
        else:
            self._outlet.in_turn(partial(self._refuse, out, "its function cannot be packed"))

    def retire(self, worker: int) -> None:
        """Let a place go."""
        self._seats.pop(worker, None)

    def kill(self, worker: int) -> None:
        """Take a chunk back; whether it can be cancelled there is the engine's affair."""
        out = self._out.get(worker)
        if out is None:
            return
        is_cancelled = self._cancel(out)
        if not is_cancelled and out.seat in self._slots:
            self._held[out.seat] += 1  # until its answer comes, that slot is not to be had
            out.holds_slot = True
        self._drop(out)
        self._tell_lost(out, "taken back", has_begun=not is_cancelled, blameless=True)
        self._count()

    def move_walls(self, walls: Sequence[tuple[int, int]]) -> None:
        """Nothing: the engine's memory is its own affair."""

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Nothing: its workers take no memory of this host's."""
        return ()

    def times(self) -> tuple[tuple[int, float], ...]:
        """Nothing: nor cores."""
        return ()

    def trim(self) -> None:
        """Nothing."""

    def forget(self, batch: int) -> None:
        """Let the engine let go of what belongs to a batch."""
        if self._engine is not None:
            self._engine.forget(batch)

    def close(self) -> None:
        """Let go of the engine; LevelClosed answers at once."""
        self.abandon()
        self._outlet.post(LevelClosed(time.monotonic(), BESIDE))

    def abandon(self) -> None:
        """Let go of everything at once, without a word."""
        self._opening += 1
        self._open_by = self._without_since = None
        for out in list(self._out.values()):
            self._cancel(out)
        self._out.clear()
        self._seats.clear()
        self._slots.clear()
        self._held.clear()
        self._waiting.clear()
        self._told = 0
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def strike(self) -> None:
        """Cancel what can be cancelled, and wait for nothing."""
        for out in list(self._out.values()):
            self._cancel(out)

    def let_go(self) -> None:
        """Nothing: an engine's threads do not live on in a forked child."""

    def tick(self, now: float) -> float | None:
        """Give up an engine that does not answer, or has had no worker for long."""
        if self._open_by is not None:
            if now < self._open_by:
                return self._open_by
            wait = self._wait_seconds
            error = TimeoutError(f"no answer of the cluster within {wait:g} s")
            self._refused(self._opening, error)
            self._opening += 1
        if self._engine is None:
            return None
        trouble = self._engine.trouble()
        if self._without_since is not None and now >= self._without_since + NO_WORKERS_SECONDS:
            self._without_since = None
            trouble = trouble or f"no workers for {NO_WORKERS_SECONDS:g} s"
        if trouble:
            self._lose_all(ConnectionError(trouble))
            return None
        return now + LOOK_SECONDS

    # the engine opens

    def _open(self, engine: Engine, opening: int) -> None:
        try:
            opened = engine.open(
                partial(self._later, opening, self._take_slots),
                partial(self._later, opening, self._lose_all),
            )
        except BaseException as error:  # noqa: BLE001  # an engine's own code may raise anything
            engine.close()
            self._outlet.in_turn(partial(self._refused, opening, error))
            return
        self._outlet.in_turn(partial(self._take_engine, opening, engine, opened))

    def _later(self, opening: int, step: Callable[..., None], *args: Any) -> None:
        """Have a step run by the driver, unless the engine was let go of meanwhile."""
        self._outlet.in_turn(partial(self._if_open, opening, partial(step, *args)))

    def _if_open(self, opening: int, step: Callable[[], None]) -> None:
        if opening == self._opening and self._engine is not None:
            step()

    def _refused(self, opening: int, error: BaseException) -> None:
        if opening != self._opening:
            return
        self._open_by = None
        text = line_of(error)
        waiting, self._waiting = self._waiting, []
        for worker in waiting:
            is_lasting = isinstance(error, CannotStartError)
            self._outlet.post(StartRefused(time.monotonic(), BESIDE, worker, text, is_lasting))

    def _take_engine(self, opening: int, engine: Engine, opened: Opened) -> None:
        if opening != self._opening:
            engine.close()
            return
        self._open_by = None
        self._engine = engine
        self._outlet.look_by(time.monotonic() + LOOK_SECONDS)
        self._trip_seconds = opened.trip_seconds
        self._slots = dict(opened.slots)
        self._count()
        waiting, self._waiting = self._waiting, []
        self._seat(waiting)

    def _seat(self, workers: Sequence[int]) -> None:
        """Give each worker a place where most are free."""
        for worker in workers:
            taken = Counter(self._seats.values())
            free = {seat: self._room(seat) - taken[seat] for seat in self._slots}
            seat = max(free, key=free.__getitem__, default=None)
            now = time.monotonic()
            if seat is None or free[seat] <= 0:
                self._waiting.append(worker)  # somebody was lost meanwhile, and may come back
                continue
            self._seats[worker] = seat
            self._outlet.post(WorkerReady(now, BESIDE, worker))

    def _room(self, seat: str) -> int:
        return PLACES_PER_SLOT * max(0, self._slots[seat] - self._held[seat])

    def _count(self) -> None:
        """Tell how many places there are, where that has changed."""
        places = sum(map(self._room, self._slots))
        if places != self._told:
            self._told = places
            now = time.monotonic()
            self._outlet.post(PlacesCounted(now, BESIDE, places, self._trip_seconds))
        has_any = bool(self._slots)
        if has_any:
            self._without_since = None
        elif self._without_since is None:
            self._without_since = time.monotonic()
            self._outlet.look_by(self._without_since + NO_WORKERS_SECONDS)

    def _take_slots(self, slots: dict[str, int]) -> None:
        """The engine's workers have changed: who is gone has lost what it had."""
        before, self._slots = self._slots, dict(slots)
        gone = before.keys() - slots.keys()
        for seat in gone:
            del self._held[seat]
        self._count()
        for seat in gone:
            self._lose_seat(seat, before[seat])
        waiting, self._waiting = self._waiting, []
        self._seat(waiting)

    def _lose_seat(self, seat: str, slots: int) -> None:
        """Tell of each place there.

        As many chunks as it had slots are taken for begun; where none may run twice all that were
        handed over, since those before may have ended unheard.
        """
        workers = [worker for worker, one in self._seats.items() if one == seat]
        outs = sorted(
            (self._out[worker] for worker in workers if worker in self._out),
            key=lambda out: out.order.chunk,
        )
        for number, out in enumerate(outs):
            may_have_begun = out.ticket is not None and not self._may_repeat
            self._cancel(out)
            self._drop(out)
            has_begun = number < slots or may_have_begun
            self._tell_lost(out, f"worker {seat} is gone", has_begun=has_begun)
        for worker in workers:
            if self._seats.pop(worker, None) is not None:
                now = time.monotonic()
                self._outlet.post(WorkerLost(now, BESIDE, worker, "gone", blameless=True))

    def _lose_all(self, error: BaseException) -> None:
        """The engine itself is lost, with all that is there."""
        text = line_of(error)
        self._outlet.post(LevelLost(time.monotonic(), BESIDE, text))
        for out in list(self._out.values()):
            self._cancel(out)
            self._drop(out)
            self._tell_lost(out, text, has_begun=True, blameless=True)

    # a chunk's way

    def _pack(self, out: _Out, *, is_whole: bool = False) -> None:
        """Pack and hand over; in a thread of its own for what is the user's."""
        before = time.perf_counter()
        try:
            bundle = make_bundle(out.order, self._first)
        except BaseException as error:  # noqa: BLE001  # an argument's own pickling may raise anything
            text = line_of(error)
            self._outlet.in_turn(partial(self._refuse, out, text))
            return
        out.pack_seconds = time.perf_counter() - before
        out.sent_bytes = len(bundle.items)
        engine = self._engine
        if out.is_over() or engine is None:
            return
        carried = out.order.work.carried
        try:
            out.ticket = engine.submit(
                out.seat, bundle, carried, partial(self._hear, out), is_whole=is_whole
            )
        except BaseException as error:  # noqa: BLE001  # an engine's own code may raise anything
            self._hear(out, error)
            return
        if out.is_over():  # taken back meanwhile
            self._cancel(out)

    def _hear(self, out: _Out, answer: Any) -> None:
        """An answer is here, in whatever thread."""
        self._outlet.in_turn(partial(self._take, out, answer))

    def _take(self, out: _Out, answer: Any) -> None:
        if out.is_over():
            self._take_late(out)
        elif isinstance(answer, BaseException):
            self._take_error(out, answer)
        else:
            kind, content = answer
            if kind == DONE:
                self._take_done(out, content)
            elif kind == REFUSED:
                self._refuse(out, content)
            else:
                self._outlet.pack_apart(partial(self._pack, out, is_whole=True))

    def _take_late(self, out: _Out) -> None:
        """What was taken back has ended after all: its slot is free again, and nobody wants it."""
        if out.holds_slot and self._held[out.seat] > 0:
            out.holds_slot = False
            self._held[out.seat] -= 1
            if self._engine is not None:
                self._count()

    def _take_done(self, out: _Out, done: Done) -> None:
        self._drop(out)
        order = out.order
        size = sum(len(packed) for _, packed in done.outcomes if isinstance(packed, bytes))
        usage = Usage(
            done.tasks,
            done.wall_seconds,
            done.cpu_seconds,
            transport_seconds=out.pack_seconds + done.pack_seconds,
            sent_bytes=out.sent_bytes,
            result_bytes=len(done.values or b"") + size,
            failed_tasks=done.failed,
        )
        self._outlet.put_results(order.chunk, open_done(done))
        self._outlet.post(ChunkDone(time.monotonic(), order.chunk, done.tasks, usage))

    def _refuse(self, out: _Out, text: str) -> None:
        if out.is_over():
            return
        self._drop(out)
        self._outlet.post(FunctionRefused(time.monotonic(), out.order.chunk, text))

    def _take_error(self, out: _Out, error: BaseException) -> None:
        """The engine has lost a chunk, or is lost itself."""
        text = line_of(error)
        judged = self._engine.judge(error) if self._engine is not None else EngineLostError(text)
        self._drop(out)
        if isinstance(judged, EngineLostError):
            self._outlet.post(LevelLost(time.monotonic(), BESIDE, text))
        begun, blameless = judged.has_begun, judged.is_blameless
        self._tell_lost(out, text, has_begun=begun, blameless=blameless)

    def _drop(self, out: _Out) -> None:
        """Wait for a chunk no longer."""
        out.end()
        if self._out.get(out.order.worker) is out:
            del self._out[out.order.worker]

    def _tell_lost(
        self, out: _Out, cause: str, *, has_begun: bool, blameless: bool = False
    ) -> None:
        worker = out.order.worker
        self._seats.pop(worker, None)
        now = time.monotonic()
        self._outlet.post(
            WorkerLost(now, BESIDE, worker, cause, known=not has_begun, blameless=blameless)
        )

    def _cancel(self, out: _Out) -> bool:
        """Cancel a chunk; return whether it has surely not begun."""
        ticket = out.ticket
        if ticket is None:
            return True  # it was not handed over; `_pack` looks once more
        return self._engine is not None and self._engine.cancel(ticket)
