"""What tasks have said, kept for whoever asks what became of them.

Filled by the thread that says it in the caller, taken by the one that takes results. Of what is
longer than its bound the beginning is kept.
"""

from logging import LogRecord

from adaptive_exec.program.voice import unpack_record
from adaptive_exec.program.words import ERR, ERR_BYTES, OUT, OUT_BYTES, RECORD


class Captured:
    """What the tasks of one batch have said.

    Args:
        characters_max: Characters that are kept of each stream of a task, and of its records.
    """

    def __init__(self, characters_max: int) -> None:
        self._characters_max = characters_max
        self._texts: dict[tuple[int, str], list[str]] = {}
        self._records: dict[int, list[LogRecord]] = {}
        self._counts: dict[tuple[int, str], int] = {}

    def keep(self, kind: int, index: int, body: bytes) -> None:
        """Keep one thing that a task has said."""
        match kind:
            case _ if kind in (OUT, OUT_BYTES):
                self._keep_text(index, "stdout", body.decode("utf-8", "replace"))
            case _ if kind in (ERR, ERR_BYTES):
                self._keep_text(index, "stderr", body.decode("utf-8", "replace"))
            case _ if kind == RECORD:
                record = unpack_record(index, body)
                if self._has_room(index, "log", len(str(record.msg))):
                    self._records.setdefault(index, []).append(record)

    def take(self, index: int) -> tuple[str, str, tuple[LogRecord, ...]]:
        """Return what a task has said, and keep it no longer."""
        out, err = ("".join(self._texts.pop((index, name), ())) for name in ("stdout", "stderr"))
        for name in ("stdout", "stderr", "log"):
            self._counts.pop((index, name), None)
        return out, err, tuple(self._records.pop(index, ()))

    def _keep_text(self, index: int, name: str, text: str) -> None:
        if self._has_room(index, name, len(text)):
            self._texts.setdefault((index, name), []).append(text)

    def _has_room(self, index: int, name: str, size: int) -> bool:
        count = self._counts.get((index, name), 0) + size
        self._counts[index, name] = count
        return count <= self._characters_max
