"""Hold signals back in the main thread while state is being changed.

Any of a program's own handlers may raise, as Ctrl-C's does, at any instruction, and would leave a
step half done. Other threads are never interrupted. Does not know what the steps are.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, Final, Self

try:  # the C half by itself: `signal` makes enums of all it gets and gives, 15 us each time
    from _signal import getsignal  # type: ignore[import-not-found]
    from _signal import signal as set_signal
except ImportError:
    from signal import getsignal
    from signal import signal as set_signal

_HELD: Final = tuple(
    int(getattr(signal, name))
    for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
"""Signals that programs answer by raising: Ctrl-C, an end that is asked for, a deadline."""


class hold_interrupts:  # noqa: N801  # reads as what it does, `with hold_interrupts():`
    """Hold back what signal handlers would do until the body is through.

    A class and no generator, since it is round every call that comes in: 1.5 us less.
    """

    __slots__ = ("_came", "_handlers")

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._came: list[tuple[int, Any]] = []

    def __enter__(self) -> Self:
        if threading.get_ident() == threading.main_thread().ident:
            try:
                self._begin()
            except BaseException:  # what a handler raised before it was held
                self._end()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._handlers:
            self._end()

    @contextlib.contextmanager
    def let_through(self) -> Iterator[None]:
        """Let signals be handled as ever for a while: the user's code runs."""
        if not self._handlers:
            yield
            return
        self._end()
        try:
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        """Note signals from here on instead of handling them."""
        for number in _HELD:
            handler = getsignal(number)
            if callable(handler):
                self._handlers[number] = handler  # noted first: from here on it is put back
                set_signal(number, self._note)

    def _end(self) -> None:
        """Handle signals as before, those that came meanwhile first."""
        handlers = dict(self._handlers)
        _put_back(self._handlers)
        came, self._came = self._came, []
        for number, frame in came:
            handlers[number](number, frame)

    def _note(self, number: int, frame: Any) -> None:
        self._came.append((number, frame))


def _put_back(handlers: dict[int, Any]) -> None:
    """Set handlers again, all of them, whatever the first of them raises at once."""
    if handlers:
        number, handler = handlers.popitem()
        try:
            set_signal(number, handler)
        finally:
            _put_back(handlers)
