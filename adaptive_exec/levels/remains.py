"""What a worker leaves on the disk, for when it and its parent are killed at once.

With a journal, each group of finished results is appended to a file beside it before the next task
begins; what the parent has not written by then is taken up from there by the next run. A kill costs
nothing that the kernel has taken. Which chunk was begun stands there, too, so that the next run
knows which task ran. Two files take turns, so that what was written long ago, and is in the journal
by now, makes room. Imports little: every worker imports it. Decides nothing.
"""

import marshal
import os
from binascii import crc32
from time import monotonic

from adaptive_exec.levels.current import LASTING_SUFFIX, NAME_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from adaptive_exec.levels.current import Place
    from adaptive_exec.levels.wire import Packed

LEFT = "-left-"
"""What such a file's name has between the journal's and the worker's number."""
MARK = b"aEl2"
"""Beginning of each record."""
RECORD_BYTES_MAX = 1 << 20
"""Bytes of results in a record; larger ones would double what they cost, and are left to the
parent, who writes them at once."""
TURN_BYTES = 1 << 18
"""Bytes from which a file makes room for the other."""
TURN_SECONDS = 2.0
"""Seconds that it is kept at least: twenty times as long as a result waits for the journal."""
_TOKEN_BYTES = 4
"""Random bytes in a file's name."""
_LENGTH_BYTES = 4
"""Bytes of the length of a record, and of its checksum."""
_HEAD_BYTES = len(MARK) + 2 * _LENGTH_BYTES
"""The mark, the length of the record, its checksum."""


class Remains:
    """A worker's files, made when there is something to put in them."""

    def __init__(self) -> None:
        self._pid = 0
        self._paths: list[str] = []
        self._files: list[int] = []
        self._now = self._chunks = 0
        self._bytes = 0
        self._began = 0.0

    def begin(self, place: "Place") -> None:
        """Note that a chunk begins."""
        self._note(place, place.names)

    def end(self, place: "Place") -> None:
        """Note that it is over, and nothing runs."""
        self._note(place, b"")

    def _note(self, place: "Place", names: bytes) -> None:
        if self._pid and self._pid != os.getpid():
            return
        self._chunks += 1
        self._keep(place, marshal.dumps((self._chunks, names)))

    def add(self, place: "Place", span: range, packed: "Packed", facts: "tuple[Any, ...]") -> None:
        """Append finished results.

        Args:
            place: The chunk that they are of.
            span: Which tasks they are of.
            packed: The results.
            facts: Their statuses and details, as they are sent to the parent.
        """
        if packed.size > RECORD_BYTES_MAX or (self._pid and self._pid != os.getpid()):
            return  # what a task forked does not speak for the worker
        first, end = (NAME_BYTES * (at - place.start) for at in (span.start, span.stop))
        buffers = [bytes(buffer) for buffer in packed.buffers]
        body = b"".join(packed.pieces)
        record = marshal.dumps((
            place.names[first:end],
            place.attempt,
            packed.lengths,
            packed.counts,
            *facts,
            body,
            buffers,
        ))
        self._keep(place, record)

    def _keep(self, place: "Place", record: bytes) -> None:
        try:
            self._write(place.base.removesuffix(LASTING_SUFFIX), record)
        except OSError:  # a full disk: what is lost with us and the parent is run again
            self.remove()
            self._pid = -1

    def _write(self, journal: str, record: bytes) -> None:
        if not self._pid:
            self._open(journal)
        if self._bytes > TURN_BYTES and monotonic() - self._began > TURN_SECONDS:
            self._now ^= 1
            os.ftruncate(self._files[self._now], 0)
            self._bytes, self._began = 0, monotonic()
        self._bytes += os.write(
            self._files[self._now],
            b"".join((MARK, _number(len(record)), _number(crc32(record)), record)),
        )

    def _open(self, journal: str) -> None:
        import fcntl  # 0.2 ms, only where there is a journal; `system.locks` takes 1 ms

        self._pid = os.getpid()
        self._began = monotonic()
        token = os.urandom(_TOKEN_BYTES).hex()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        for turn in (0, 1):
            path = f"{journal}{LEFT}{self._pid}-{token}-{turn}"
            self._files.append(os.open(path, flags, 0o600))
            self._paths.append(path)
            fcntl.flock(self._files[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove the files: the parent has what stands in them."""
        for path, file in zip(self._paths, self._files, strict=False):
            try:
                os.unlink(path)
                os.close(file)
            except OSError:  # the folder was removed
                pass
        self._paths, self._files, self._pid = [], [], 0


def _number(value: int) -> bytes:
    return value.to_bytes(_LENGTH_BYTES, "little")


def read_records(content: bytes) -> "Iterator[tuple[Any, ...]]":
    """Yield the whole records of a file; of one that was being written nothing.

    Yields:
        Keys, attempt, lengths, counts, statuses, details, body, buffers; or of a chunk that began
        its number and keys, none where it was over.
    """
    at = 0
    while content[at : at + len(MARK)] == MARK:
        head = content[at + len(MARK) : at + _HEAD_BYTES]
        length = int.from_bytes(head[:_LENGTH_BYTES], "little")
        record = content[at + _HEAD_BYTES : at + _HEAD_BYTES + length]
        if len(record) < length or _number(crc32(record)) != head[_LENGTH_BYTES:]:
            return  # cut off, or a disk that failed: other bytes than ours may crash `marshal`
        try:
            yield marshal.loads(record)
        except (ValueError, EOFError, TypeError):  # another version of Python
            return
        at += _HEAD_BYTES + length
