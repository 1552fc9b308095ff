"""Dask as an engine: each chunk goes to a worker that was chosen here, and is never moved there.

So it is known which chunk was with a worker that is gone, Dask itself runs nothing twice, and a
large function goes to each worker once, from worker to worker. Results come from the workers, not
through the scheduler. All of it is done in the client's own loop; nothing here waits for that.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from adaptive_exec.levels.away import Bundle, greet, run_packed
from adaptive_exec.levels.base import CLOSE_SECONDS, CannotStartError, Carried
from adaptive_exec.levels.bundles import differs
from adaptive_exec.levels.engines import (
    Answered,
    Changed,
    ChunkLostError,
    EngineLostError,
    Lost,
    Opened,
    line_of,
)
from adaptive_exec.levels.threads import start_thread
from adaptive_exec.program.c_pickle import dumps
from adaptive_exec.system.pickles import PROTOCOL

WATCH_SECONDS: Final = 0.25
"""Seconds between looks at the scheduler and its workers; a look takes 1 ms."""
ANSWER_SECONDS: Final = 10.0
"""Seconds after which a scheduler that does not answer is lost."""
DIRECT_BYTES: Final = 1 << 20
"""Bytes of arguments from which they go to their worker past the scheduler."""
_numbers = itertools.count()


def client_of(target: object) -> Any:
    """Return the client that a target is, or is the executor of; None where it is neither."""
    kind = type(target)
    if kind.__module__.partition(".")[0] != "distributed":
        return None
    if kind.__name__ == "ClientExecutor":
        return getattr(target, "_client", None)
    return target if hasattr(target, "scheduler_info") else None


class _Ticket:
    """A chunk on its way through Dask."""

    __slots__ = ("future", "is_cancelled", "work")

    def __init__(self) -> None:
        self.future: Any = None
        self.is_cancelled = False
        self.work: Future[None] | None = None


class DaskEngine:
    """A scheduler and its workers.

    Args:
        target: A client, which stays its owner's, or the address of a scheduler.
        wait_seconds: The longest wait for its first answer, and for a first worker.
        first: The initializer, packed.
    """

    def __init__(self, target: Any, wait_seconds: float, first: bytes) -> None:
        self._target = target
        self._is_ours = isinstance(target, str)
        self._wait_seconds = wait_seconds
        self._first = first
        self._client: Any = None
        self._is_closed = False
        self._slots: dict[str, int] = {}
        self._strange: dict[str, str] = {}
        self._greeting: dict[str, asyncio.Task[None]] = {}
        self._trip_seconds = 0.0
        self._carried: dict[str, Any] = {}
        self._batches: dict[int, set[str]] = {}
        self._lock: asyncio.Lock | None = None

    # from other threads

    def open(self, changed: Changed, lost: Lost) -> Opened:
        """Connect, and have every worker greet."""
        deadline = time.monotonic() + self._wait_seconds
        self._client = self._connect()
        seen = self._call(self._look()).result(self._wait_seconds)
        while not seen and time.monotonic() < deadline:
            time.sleep(WATCH_SECONDS)
            seen = self._call(self._look()).result(self._wait_seconds)
        if not seen:
            message = f"the cluster has no workers within {self._wait_seconds:g} s"
            raise CannotStartError(message)
        self._call(self._greet_first(seen)).result(2 * self._wait_seconds)
        if not self._slots:
            message = "; ".join(sorted(set(self._strange.values()))) or "no worker has answered"
            raise CannotStartError(message)
        opened = Opened(dict(self._slots), self._trip_seconds)
        self._call(self._watch(changed, lost, opened.slots))
        return opened

    def submit(
        self,
        seat: str,
        bundle: Bundle,
        carried: Carried | None,
        answered: Answered,
        *,
        is_whole: bool,  # noqa: ARG002  # a large function always goes along, by reference
    ) -> object:
        """Have a chunk run at one worker."""
        ticket = _Ticket()
        is_apart = carried is not None and carried.is_large
        step = self._run(ticket, seat, bundle, carried if is_apart else None, answered)
        ticket.work = self._call(step)
        return ticket

    def cancel(self, ticket: Any) -> bool:
        """Have a chunk not run; whether it had begun is not known here."""
        ticket.is_cancelled = True
        if not self._is_closed:
            self._call(self._release(ticket))
        return False

    def judge(self, error: BaseException) -> ChunkLostError:
        """Say what an exception means: the scheduler is lost, or one chunk is."""
        if isinstance(error, ChunkLostError):
            return error
        text = line_of(error)
        if self._client.status != "running":
            return EngineLostError(text, is_blameless=True)
        return ChunkLostError(text)

    def trouble(self) -> str:
        """Say that the client was closed: its loop, which would tell, may have ended with it."""
        status = self._client.status
        return f"the client is {status}" if status in {"closing", "closed"} else ""

    def forget(self, batch: int) -> None:
        """Let workers let go of a batch's large function."""
        keys = self._batches.pop(batch, set())
        kept = set[str]().union(*self._batches.values())
        for key in keys - kept:
            future = self._carried.pop(key, None)
            if future is not None:
                self._call(_drop(future))

    def close(self) -> None:
        """Let go of all that is there; a client of our own is closed."""
        if self._is_closed:
            return
        self._is_closed = True
        self._carried.clear()
        if self._client is None or self._client.status == "closed":
            return
        self._call(self._stop_greeting())
        if self._is_ours:  # waits for its own threads, so in one of ours
            with suppress(RuntimeError, MemoryError):
                start_thread(self._client.close, "adaptive-exec-engine-end", CLOSE_SECONDS)

    # in the client's loop

    def _connect(self) -> Any:
        if not self._is_ours:
            if self._target.asynchronous:
                message = "the client is asynchronous; give its scheduler's address instead"
                raise CannotStartError(message)
            if self._target.status != "running":
                message = f"the client is {self._target.status}"
                raise CannotStartError(message)
            return self._target
        import distributed

        make: Any = distributed.Client
        wait = self._wait_seconds
        return make(self._target, timeout=wait, set_as_default=False, name="adaptive-exec")

    def _call(self, step: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Have something done in the client's loop."""
        try:
            return asyncio.run_coroutine_threadsafe(step, self._client.loop.asyncio_loop)
        except RuntimeError as error:  # the loop is closed
            step.close()
            done: Future[Any] = Future()
            done.set_exception(error)
            return done

    async def _look(self) -> dict[str, int]:
        """Ask the scheduler who is there, with how many threads."""
        look = self._client.scheduler.ncores()
        return dict(await asyncio.wait_for(look, ANSWER_SECONDS))

    async def _greet_first(self, seen: dict[str, int]) -> None:
        """Wait until one worker has greeted, or none will."""
        self._greet_new(seen)
        while self._greeting and not self._slots:
            await asyncio.wait(self._greeting.values(), return_when=asyncio.FIRST_COMPLETED)
            self._greeting = {
                seat: task for seat, task in self._greeting.items() if not task.done()
            }

    def _greet_new(self, seen: dict[str, int]) -> None:
        """Have those workers greet that have not yet."""
        known = self._slots.keys() | self._strange.keys() | self._greeting.keys()
        for seat in seen.keys() - known:
            self._greeting[seat] = asyncio.ensure_future(self._greet(seat, seen[seat]))

    async def _greet(self, seat: str, slots: int) -> None:
        """Have a worker greet, twice: the first time it may have to import much."""
        trip_seconds = self._trip_seconds
        for first in (self._first, b""):
            before = time.monotonic()
            future = self._client.submit(greet, first, **self._where(seat))
            try:
                greeting = await asyncio.wait_for(self._result(future), self._wait_seconds)
                trouble = differs(greeting)
            except BaseException as error:  # noqa: BLE001  # whatever the worker lacks, or its end
                trouble = f"worker {seat}: {line_of(error)}"
            if trouble:
                self._strange[seat] = trouble
                return
            trip_seconds = time.monotonic() - before
        self._slots[seat] = slots
        self._trip_seconds = min(trip_seconds, self._trip_seconds or trip_seconds)

    async def _watch(self, changed: Changed, lost: Lost, told: dict[str, int]) -> None:
        """Look who is there, until the end."""
        client = self._client
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self._is_closed:
                return
            try:
                if client.status != "running":
                    message = f"the client is {client.status}"
                    raise ConnectionError(message)  # noqa: TRY301  # it ends as what the look may raise
                seen = await self._look()
            except BaseException as error:  # noqa: BLE001  # by origin: all that a look raises is its loss
                if not self._is_closed:
                    lost(error)
                return
            self._follow(seen)
            if self._slots != told:
                told = dict(self._slots)
                changed(told)

    def _follow(self, seen: dict[str, int]) -> None:
        """Note who has come and who is gone."""
        for seat in [seat for seat in self._greeting if seat not in seen]:
            self._greeting.pop(seat).cancel()
        self._greeting = {seat: one for seat, one in self._greeting.items() if not one.done()}
        self._slots = {seat: slots for seat, slots in self._slots.items() if seat in seen}
        self._strange = {seat: why for seat, why in self._strange.items() if seat in seen}
        self._greet_new(seen)

    async def _run(
        self,
        ticket: _Ticket,
        seat: str,
        bundle: Bundle,
        carried: Carried | None,
        answered: Answered,
    ) -> None:
        try:
            answer = await self._ask(ticket, seat, bundle, carried)
        except BaseException as error:  # noqa: BLE001  # whatever Dask makes of a loss
            if ticket.is_cancelled and ticket.future is not None:
                await self._wait_until_free(seat)
            answered(error)
        else:
            answered(answer)
        finally:
            ticket.future = None

    async def _wait_until_free(self, seat: str) -> None:
        """Wait until a worker answers again that had something which was taken back."""
        future = self._client.submit(greet, **self._where(seat))
        while seat in self._slots and future.status == "pending" and not self._is_closed:  # noqa: ASYNC110  # nobody tells of all three
            await asyncio.sleep(WATCH_SECONDS)

    async def _ask(
        self, ticket: _Ticket, seat: str, bundle: Bundle, carried: Carried | None
    ) -> Any:
        body: Any = b""
        if carried is not None:
            body = await self._spread(bundle.batch, carried)
        packed: Any = dumps(bundle, PROTOCOL)
        if len(packed) > DIRECT_BYTES:
            packed = await self._scatter(packed, workers=[seat])
        if ticket.is_cancelled:
            message = "taken back before it was sent"
            raise ChunkLostError(message, has_begun=False, is_blameless=True)
        ticket.future = self._client.submit(run_packed, packed, body, **self._where(seat))
        return await self._result(ticket.future)

    async def _result(self, future: Any) -> Any:
        """Wait for a future, and have its result from its worker, not through the scheduler."""
        await future._state.wait()  # noqa: SLF001  # as `Future.result` does, but for `direct`
        if future.status != "finished":
            return await future._result()  # noqa: SLF001  # raises what it has
        [result] = await self._client._gather([future], errors="raise", direct=True)  # noqa: SLF001  # in its own loop there is no other
        return result

    async def _scatter(self, content: bytes, **where: Any) -> Any:
        """Bring bytes to a worker past the scheduler."""
        scatter = self._client._scatter  # noqa: SLF001  # as above
        [future] = await scatter([content], direct=True, hash=False, **where)
        return future

    async def _spread(self, batch: int, carried: Carried) -> Any:
        """Have a large function there, once; from then on workers take it from each other."""
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            future = self._carried.get(carried.key)
            if future is None or future.status != "finished":
                future = self._carried[carried.key] = await self._scatter(carried.body)
        self._batches.setdefault(batch, set()).add(carried.key)
        return future

    def _where(self, seat: str) -> dict[str, Any]:
        return {
            "key": f"adaptive-exec-{os.getpid()}-{next(_numbers)}-{time.time_ns()}",
            "pure": False,
            "workers": [seat],
            "allow_other_workers": False,
            "retries": 0,
        }

    async def _release(self, ticket: _Ticket) -> None:
        if ticket.future is not None:
            await self._client._cancel([ticket.future], force=True)  # noqa: SLF001  # as above

    async def _stop_greeting(self) -> None:
        for task in self._greeting.values():
            task.cancel()


async def _drop(future: Any) -> None:
    future.release()
