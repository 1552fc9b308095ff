"""How far a zygote has come, and what it said last where it did not come far.

Until it speaks on its socket, what it writes to standard error goes into a file, from which the
cause is read if it ends. Decides nothing.
"""

import os

from adaptive_exec.core.starts import Setback
from adaptive_exec.levels.interpreter import WORDS_BYTES, last_words, tells_of_refusal
from adaptive_exec.levels.originals import lift
from adaptive_exec.levels.slate import make_memory_file


class Boot:
    """The first steps of one zygote.

    Args:
        has_words: Whether what it says first is kept.

    Attributes:
        words: The file that it speaks into at first; -1 where there is none.
    """

    def __init__(self, *, has_words: bool = True) -> None:
        self.words = _open_words() if has_words else -1
        self._threads: list[str] = []
        self._left_open: list[str] = []
        self._has_booted = self._has_loaded = False

    def note_booted(self, threads: list[str]) -> None:
        """It is there, with these threads beside its main one, and will end if there are some."""
        self._threads = threads
        self._has_booted = not threads
        if self._has_booted:
            self.drop()

    def note_loaded(self, threads: list[str], left_open: list[str]) -> None:
        """It has loaded what it was to load, which has left these threads and open files."""
        self._threads, self._left_open = threads, left_open
        self._has_loaded = not threads and not left_open

    def setback(self, cause: str, *, may_load_less: bool) -> Setback | None:
        """Say why it never was of use, once it is lost; None where it was."""
        if self._threads:
            where = "what was loaded" if self._has_booted else "every interpreter"
            names = ", ".join(self._threads)
            error = f"{where} starts a thread, after which nothing may be forked: {names}"
            return Setback("threads", error, is_certain=True, skips_bare=not self._has_booted)
        if self._left_open:
            names = ", ".join(self._left_open)
            error = f"what was loaded leaves open what each worker is to have of its own: {names}"
            return Setback("open", error, is_certain=True)
        if self._has_loaded:
            return None
        words = self._read()
        said = last_words(words)
        error = f"the starter of workers ended by {cause}" + (f": {said}" if said else "")
        if self._has_booted:
            return Setback("load", error, is_certain=may_load_less)
        is_passing = tells_of_refusal(words) or cause.startswith("signal")
        return Setback("boot", error, is_passing=is_passing, is_certain=True, skips_bare=True)

    def drop(self) -> None:
        """Let go of the file."""
        if self.words >= 0:
            os.close(self.words)
            self.words = -1

    def _read(self) -> str:
        if self.words < 0:
            return ""
        size = os.fstat(self.words).st_size
        words = os.pread(self.words, WORDS_BYTES, max(0, size - WORDS_BYTES))
        return words.decode(errors="replace")


def _open_words() -> int:
    """Make a file for what an interpreter says that cannot begin; -1 where it says it as ever."""
    try:
        return lift(make_memory_file(0))
    except OSError:
        return -1
