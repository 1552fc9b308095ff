"""The part of a journal that one batch reads and writes: its tasks' keys, fates and outcomes.

Tells equal tasks apart by how many came before; what has no key is run and not journaled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adaptive_exec.journal.book import RUN, Book
from adaptive_exec.journal.keys import numbered_key, task_key
from adaptive_exec.journal.rows import Ended, FoundRow, RowPlace, write_rows

_FUNCTIONS_KEPT: Final = 64
"""Functions whose names are kept: reading the source of one takes a millisecond."""


@dataclass(slots=True)
class Admitted:
    """What is to be done with tasks that have just arrived.

    Attributes:
        keys: The key of each, None for one that has none and is not journaled.
        fates: RUN, KNOWN or AWAY for each.
        found: The results of those KNOWN, by their offset.
        unkeyed: Why the first one without a key has none; None when all have one.
    """

    keys: list[bytes | None]
    fates: list[int]
    found: dict[int, FoundRow]
    unkeyed: str | None = None


class Section:
    """The part of a journal that one batch reads and writes.

    Args:
        book: The journal.
    """

    def __init__(self, book: Book) -> None:
        book.refresh()
        self.book = book
        self._functions: dict[int, tuple[Callable[..., Any], int, bytes]] = {}
        self._seen: set[int] = set()
        self._counts: dict[int, int] = {}

    def know(self, function: Callable[..., Any]) -> tuple[int, bytes]:
        """Return id and digest of a function; entered into the journal the first time.

        Raises:
            JournalError: Its source has changed since its results were written.
            TypeError: It has no content that a key could be made of.
        """
        known = self._functions.get(id(function))  # it is held, so that its id stays its own
        if known is None or known[0] is not function:
            known = (function, *self.book.enter_function(function))
            if len(self._functions) >= _FUNCTIONS_KEPT:
                self._functions.clear()
            self._functions[id(function)] = known
        return known[1:]

    def admit(
        self, function: Callable[..., Any], tasks: Sequence[Any], content: Callable[[Any], Any]
    ) -> Admitted:
        """Say what is to be done with tasks that have just arrived.

        Args:
            function: Their function.
            tasks: The tasks.
            content: Returns what a task's key is made of; what raises has no key.

        Returns:
            Keys, fates, and what is known.
        """
        unkeyed: str | None = None
        keys: list[bytes | None] = []
        if self.book.trouble:
            return Admitted([None] * len(tasks), [RUN] * len(tasks), {})
        try:
            _, digest = self.know(function)
        except TypeError as error:
            return Admitted([None] * len(tasks), [RUN] * len(tasks), {}, str(error))
        for task in tasks:
            try:
                keys.append(self._number(task_key(digest, content(task))))
            except Exception as error:  # noqa: BLE001  # the user's key function may raise anything
                unkeyed = unkeyed or f"{type(error).__name__}: {error}"
                keys.append(None)
        fates, found = self.book.admit(keys)
        return Admitted(keys, fates, found, unkeyed)

    def record(
        self, function: Callable[..., Any], ended: Ended, *, level: str, worker: int, attempt: int
    ) -> None:
        """Put the outcomes of neighbours into the group that is written next.

        Args:
            function: Their function.
            ended: Their outcomes.
            level: Where they ran.
            worker: Which worker there.
            attempt: The how-manieth execution it was.
        """
        if self.book.trouble or not any(ended.keys):
            return
        number, _ = self.know(function)
        write_rows(RowPlace(number, level, worker, attempt), ended, self.book.add)

    def _number(self, key: bytes) -> bytes:
        """Tell equal tasks apart by how many came before."""
        short = int.from_bytes(key[:8], "little")
        if short not in self._seen:
            self._seen.add(short)
            return key
        count = self._counts[short] = self._counts.get(short, 0) + 1
        return numbered_key(key, count)
