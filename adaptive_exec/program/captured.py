"""What tasks have said, kept for whoever asks what became of them, and for the journal.

Filled by the thread that says it in the caller, packed by the one that writes the journal, taken by
the one that takes results. Of what is longer than its bound the beginning is kept.
"""

import marshal
from collections.abc import Sequence
from logging import LogRecord

from adaptive_exec.program.voice import unpack_record
from adaptive_exec.program.words import ERR, ERR_BYTES, OUT, OUT_BYTES, RECORD

Said = tuple[str, str, tuple[LogRecord, ...]]
"""What a task wrote to its standard output, to its standard error, and its log records."""


class Captured:
    """What the tasks of one batch have said.

    Args:
        characters_max: Characters that are kept of each stream of a task, and of its records.
        is_taken: Whether somebody takes it with the results; else it is kept for the journal.
    """

    def __init__(self, characters_max: int, *, is_taken: bool = True) -> None:
        self._characters_max = characters_max
        self.is_taken = is_taken
        self._texts: dict[tuple[int, str], list[str]] = {}
        self._records: dict[int, list[bytes]] = {}
        self._recalled: dict[int, bytes] = {}
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
                    self._records.setdefault(index, []).append(body)

    def take(self, index: int) -> Said:
        """Return what a task has said, and keep it no longer."""
        out, err = ("".join(self._texts.get((index, name), ())) for name in ("stdout", "stderr"))
        records = self._records.get(index, ())
        self._drop(index)
        return out, err, _unpack_records(index, records)

    def _drop(self, index: int) -> None:
        for name in ("stdout", "stderr", "log"):
            self._texts.pop((index, name), None)
            self._counts.pop((index, name), None)
        self._records.pop(index, None)

    def pack(self, index: int) -> bytes:
        """Return what a task has said for the journal; nothing of one that was silent."""
        out, err = ("".join(self._texts.get((index, name), ())) for name in ("stdout", "stderr"))
        records = list(self._records.get(index, ()))
        if not self.is_taken:
            self._drop(index)
        return marshal.dumps((out, err, records)) if out or err or records else b""

    def put(self, index: int, packed: bytes) -> None:
        """Keep what the journal has of a task."""
        self._recalled[index] = packed

    def take_recalled(self, index: int) -> Said | None:
        """Return what a task had said when it ran, None where that was not kept."""
        packed = self._recalled.pop(index, None)
        return None if packed is None else unpack_said(packed, index)

    def _keep_text(self, index: int, name: str, text: str) -> None:
        if self._has_room(index, name, len(text)):
            self._texts.setdefault((index, name), []).append(text)

    def _has_room(self, index: int, name: str, size: int) -> bool:
        count = self._counts.get((index, name), 0) + size
        self._counts[index, name] = count
        return count <= self._characters_max


def unpack_said(packed: bytes, index: int = -1) -> Said:
    """Return what was packed for the journal.

    Args:
        packed: By `Captured.pack`.
        index: The task's number, for its records.
    """
    if not packed:
        return "", "", ()
    out, err, records = marshal.loads(packed)
    return out, err, _unpack_records(index, records)


def _unpack_records(index: int, records: Sequence[bytes]) -> tuple[LogRecord, ...]:
    return tuple(unpack_record(index, record) for record in records)
