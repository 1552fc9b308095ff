"""The executor in an event loop: results one by one, with no more input taken than is on its way.

Takes from the input, hands calls over and waits, all in the loop's own thread; decides nothing.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, Final

END: Final = object()
"""Stands for the end of an input."""


async def hand_out(
    submit: Callable[[Any], Awaitable["Future[Any]"]],
    source: Iterable[Any] | AsyncIterable[Any],
    width: int,
    let_go: Callable[[list["Future[Any]"]], None],
) -> AsyncIterator[Any]:
    """Yield the results of calls in the order of their arguments.

    Args:
        submit: Hands an argument over.
        source: Where arguments come from.
        width: Most arguments taken whose result was not yielded.
        let_go: Told of calls that have begun and that nobody waits for any more.
    """
    line = _Line(submit, _taker(source), width)
    try:
        while line.is_open:
            await line.advance()
            while line.waiting and line.waiting[0].done():
                yield line.take().result()
        line.tell()
    finally:
        if begun := line.cancel():
            let_go(begun)


class _Line:
    """Calls on their way, in order, and the item that is waited for."""

    def __init__(
        self,
        submit: Callable[[Any], Awaitable["Future[Any]"]],
        take: Callable[[], Coroutine[Any, Any, Any]],
        width: int,
    ) -> None:
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self._calls: deque[Future[Any]] = deque()
        self._submit = submit
        self._take = take
        self._width = width
        self._pull: asyncio.Task[Any] | None = None
        self._is_over = False
        self._error: BaseException | None = None

    @property
    def is_open(self) -> bool:
        """True while results may come."""
        return bool(self.waiting) or not self._is_over

    async def advance(self) -> None:
        """Wait for the first result or the next item, and hand that over."""
        if self._pull is None and not self._is_over and len(self.waiting) < self._width:
            self._pull = asyncio.ensure_future(self._take())
        heads: list[asyncio.Future[Any]] = [] if self._pull is None else [self._pull]
        if self.waiting:
            heads.append(self.waiting[0])
        await asyncio.wait(heads, return_when=asyncio.FIRST_COMPLETED)
        if self._pull is None or not self._pull.done():
            return
        pulled, self._pull = self._pull, None
        self._error = pulled.exception()
        if self._error is not None or pulled.result() is END:
            self._is_over = True
        else:
            self._calls.append(await self._submit(pulled.result()))
            self.waiting.append(asyncio.wrap_future(self._calls[-1]))

    def take(self) -> "asyncio.Future[Any]":
        """Take the first result out of the line."""
        self._calls.popleft()
        return self.waiting.popleft()

    def tell(self) -> None:
        """Raise the input's own error, when all that came before it is through."""
        if self._error is not None:
            raise self._error

    def cancel(self) -> "list[Future[Any]]":
        """Let go of everything that has not ended; return what has begun."""
        if self._pull is not None:
            self._pull.cancel()
        for one in self.waiting:
            one.cancel()
        return [call for call in self._calls if not (call.cancel() or call.done())]


def _taker(source: Iterable[Any] | AsyncIterable[Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
    if isinstance(source, AsyncIterable):
        items = aiter(source)

        async def take_later() -> Any:
            return await anext(items, END)

        return take_later
    ready = iter(source)

    async def take_now() -> Any:
        return next(ready, END)

    return take_now
