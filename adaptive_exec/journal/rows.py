"""Rows of the journal: the outcomes of neighbours put together, and one of them read back.

Values of plain types go into one pickle for all; others each into its own. Decides nothing.
"""

import marshal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adaptive_exec.config import MIB
from adaptive_exec.journal.store import DONE, FAILED, UNKEPT, Store, StoredRow
from adaptive_exec.journal.values import (
    PLAIN,
    failure_text,
    join_parts,
    pack_failure,
    pack_value,
    parts_of,
    unpack_failure,
    unpack_value,
)

ROW_BYTES_MAX: Final = 16 * MIB
"""Bytes of small values in one row of the journal; SQLite takes a thousand million at most."""

Detail = tuple[float | None, float | None, int | None]
"""Wall seconds, processor seconds and peak bytes of a task; None where unknown."""


@dataclass(frozen=True, slots=True)
class FoundRow:
    """What the journal knows of a task.

    Attributes:
        value: What it returned; None when it failed.
        error: What it raised; None when it has a value.
        detail: What it took.
        level: Where it ran.
        attempt: The how-manieth execution it was.
        size_bytes: Bytes of its value as stored.
        place: The number of its row, and its place there.
    """

    value: Any
    error: BaseException | None
    detail: Detail
    level: str
    attempt: int
    size_bytes: int
    place: tuple[int, int]


@dataclass(frozen=True, slots=True)
class RowPlace:
    """What tasks that came together have in common.

    Attributes:
        function: Id of their function.
        level: Where they ran.
        worker: Which worker there.
        attempt: The how-manieth execution it was.
    """

    function: int
    level: str
    worker: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of neighbours.

    Attributes:
        keys: The key of each, None for one that is not journaled.
        values: The value of each.
        failures: The exceptions of those that failed, by offset.
        details: What each took, None where nobody asked.
        said: What each has said, packed; None where that is not kept.
    """

    keys: Sequence[bytes | None]
    values: Sequence[Any]
    failures: Mapping[int, BaseException]
    details: Sequence[Detail] | None
    said: Sequence[bytes] | None = None


def write_rows(place: RowPlace, ended: Ended, hand_over: Callable[[StoredRow], None]) -> None:
    """Put the outcomes of neighbours into rows.

    Args:
        place: What they have in common.
        ended: The outcomes.
        hand_over: Takes each row.
    """
    keys, values, failures = ended.keys, ended.values, ended.failures
    details = [_UNKNOWN] * len(keys) if ended.details is None else ended.details
    is_short = ended.said is None or sum(map(len, ended.said)) < ROW_BYTES_MAX
    if not failures and None not in keys and PLAIN.issuperset(map(type, values)) and is_short:
        row = _plain_row(place, keys, values, details)
        if row is not None:
            row.said = None if ended.said is None else _spoken(ended.said)
            hand_over(row)
            return
    writer = _RowWriter(place, hand_over, keeps_said=ended.said is not None)
    for offset, key in enumerate(keys):
        if key is not None:
            said = b"" if ended.said is None else ended.said[offset]
            writer.add(key, values[offset], failures.get(offset), details[offset], said)
    writer.flush()


_UNKNOWN: Detail = (None, None, None)


def _spoken(said: Sequence[bytes]) -> list[tuple[int, bytes]]:
    return [(offset, packed) for offset, packed in enumerate(said) if packed]


def _plain_row(
    place: RowPlace, keys: Sequence[bytes | None], values: Sequence[Any], details: Sequence[Detail]
) -> StoredRow | None:
    """Make a row of plain values; None where they are too long to lie in it."""
    body = pack_value(list(values)).body
    if body is None:
        return None
    joined = b"".join(key for key in keys if key is not None)
    facts = marshal.dumps([(*detail, None) for detail in details])
    marks = bytes([DONE]) * len(keys)
    return StoredRow(*_head(place), joined, marks, facts, None, body)


class _RowWriter:
    """Gathers the bytes of neighbours into rows."""

    def __init__(
        self, place: RowPlace, hand_over: Callable[[StoredRow], None], *, keeps_said: bool
    ) -> None:
        self._place = place
        self._hand_over = hand_over
        self._keeps_said = keeps_said
        self._begin()

    def add(
        self, key: bytes, value: Any, error: BaseException | None, detail: Detail, said: bytes
    ) -> None:
        """Add a task's outcome; a value that cannot be stored is marked as such."""
        mark, cause = (DONE, None) if error is None else (FAILED, _cause_of(error))
        try:
            piece = pack_value(value) if error is None else pack_failure(error)
        except Exception as refusal:  # noqa: BLE001  # a value's own pickling may raise anything
            mark, cause = UNKEPT, f"{type(refusal).__name__}: {failure_text(refusal)}"
            piece = pack_value(None)
        self._outlying += [(len(self._marks), part) for part in parts_of(piece.outlying)]
        self._said.append(said)
        self._keys.append(key)
        self._marks.append(mark)
        self._facts.append((*detail, cause))
        self._lengths.append(-1 if piece.body is None else len(piece.body))
        self._pieces.append(piece.body or b"")
        self._bytes += len(piece.body or b"") + len(said)
        if self._bytes >= ROW_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Hand the row over."""
        if not self._keys:
            return
        facts, lengths = marshal.dumps(self._facts), marshal.dumps(self._lengths)
        blobs = (b"".join(self._keys), bytes(self._marks), facts, lengths, b"".join(self._pieces))
        said = _spoken(self._said) if self._keeps_said else None
        self._hand_over(StoredRow(*_head(self._place), *blobs, self._outlying, said))
        self._begin()

    def _begin(self) -> None:
        self._said: list[bytes] = []
        self._keys: list[bytes] = []
        self._marks = bytearray()
        self._facts: list[tuple[Any, ...]] = []
        self._lengths: list[int] = []
        self._pieces: list[bytes] = []
        self._outlying: list[Any] = []
        self._bytes = 0


def _head(place: RowPlace) -> tuple[int, str, int, int]:
    return place.function, place.level, place.worker, place.attempt


def _cause_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {failure_text(error)}"


def prepare(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Make a row quick to read at any offset."""
    _, level, _, attempt, _, _, marks, facts, lengths, body = row
    if lengths is None:
        return level, attempt, marks, marshal.loads(facts), None, unpack_value(body, ()), len(body)
    spans, at = [], 0
    for length in marshal.loads(lengths):
        spans.append((at, length))
        at += max(0, length)
    return level, attempt, marks, marshal.loads(facts), spans, memoryview(body), len(body)


def read_found(store: Store, row: tuple[Any, ...], number: int, offset: int) -> FoundRow:
    """Return what a prepared row knows of the task at an offset.

    Raises:
        Exception: Whatever unpickling raises: it runs the user's code.
    """
    level, attempt, marks, facts, spans, body, body_bytes = row
    detail, place = facts[offset][:3], (number, offset)
    if spans is None:
        size = body_bytes // len(marks)
        return FoundRow(body[offset], None, detail, level, attempt, size, place)
    at, length = spans[offset]
    parts = store.read_outlying(number, offset)
    outlying = join_parts(parts) if parts else []
    piece = None if length < 0 else body[at : at + length]
    size = max(0, length) + sum(map(len, outlying))
    if marks[offset] == FAILED:
        error = unpack_failure(piece, outlying)
        return FoundRow(None, error, detail, level, attempt, size, place)
    return FoundRow(unpack_value(piece, outlying), None, detail, level, attempt, size, place)
