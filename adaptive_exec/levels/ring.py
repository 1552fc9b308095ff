"""What tasks say on its way to the parent: a ring in shared memory, and a file where that is full.

The worker writes frames, which are there when it goes on, so that its death loses none; the parent
takes them out before it takes results that were published later. A parent that does not keep up is
waited for, for a moment, then the rest goes into a file until it has. Decides nothing.
"""

import _thread
import os
import stat
from binascii import crc32
from collections import deque
from time import monotonic, sleep

from adaptive_exec.levels.frames import (
    IN_RING,
    Stamp,
    check_head,
    frame_parts,
    read_frames,
    refuse,
    whole_bytes,
)
from adaptive_exec.levels.slate import RING_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from adaptive_exec.levels.frames import Frame
    from adaptive_exec.levels.slate import Slate

PART_BYTES = 16 * 1024
"""Bytes of a part of what is said; a frame is never longer by much."""
WHOLE_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of one record; longer ones are cut off."""
SPILL_SECONDS = 0.5
"""Seconds for which a worker waits while nobody takes anything out of its ring."""
SPILL_BYTES_MAX = 16 << 30
"""Bytes of the file at most; what is said beyond is lost, and counted."""
READ_BYTES = 1 << 20
"""Bytes that are read of it at once."""
_LOOK_SECONDS = 0.002
"""Seconds between two looks for room in a full ring."""
_SAID, _HEARD, _SPILLED, _UNSPILLED, _BASE = 5, 6, 7, 8, 9
_HEAD = frozenset({(int, int, int, int)})
_WAKE = (1).to_bytes(8, "little")


def name_spill(folder: str, parent: int, key: bytes) -> str:
    """Return the path of a worker's file, which only its parent and it know beforehand."""
    return os.path.join(folder, f"adaptive-exec-said-{parent}-{crc32(key):08x}")


class Mouth:
    """The worker's end.

    Args:
        slate: The memory.
        key: What only the two ends know.
        bell: A descriptor that wakes the parent; -1 where it looks by itself.
        path: The file, should one be needed.
    """

    def __init__(self, slate: "Slate", key: bytes, bell: int, path: str) -> None:
        self._slate = slate
        self._stamp = Stamp(key, IN_RING)
        self._bell = bell
        self._path = path
        self._waiting: deque[tuple[int, int, int, bytes]] = deque()
        self._lock = _thread.allocate_lock()
        self._owner = 0
        self._file = -1
        self._is_spilling = False

    def say(self, kind: int, batch: int, index: int, body: bytes) -> None:
        """Say something, which has reached the memory or the file when this returns.

        A finalizer or handler of a signal may say something in the midst of it.
        """
        self._waiting.append((kind, batch, index, body))
        me = _thread.get_ident()
        if self._owner == me:
            return  # further down the stack somebody is about to take it
        with self._lock:
            self._owner = me
            try:
                while self._waiting:
                    self._put_whole(*self._waiting.popleft())
            finally:
                self._owner = 0

    def _put_whole(self, kind: int, batch: int, index: int, body: bytes) -> None:
        body = body[:WHOLE_BYTES_MAX]
        for at in range(0, max(1, len(body)), PART_BYTES):
            is_last = at + PART_BYTES >= len(body)
            self._put((kind, batch, index, int(not is_last)), body[at : at + PART_BYTES])

    def _put(self, head: "tuple[Any, ...]", body: bytes) -> None:
        count = self._stamp.count
        is_put = False
        try:
            frame = b"".join(frame_parts(self._stamp, head, body))
            is_put = self._lay(frame) or self._spill(frame)
        finally:
            if not is_put:
                self._stamp.count = count

    def _lay(self, frame: bytes) -> bool:
        numbers = self._slate.numbers
        if self._is_spilling:
            if numbers[_UNSPILLED] != numbers[_SPILLED] or numbers[_HEARD] != numbers[_SAID]:
                return False
            self._is_spilling = False
            numbers[_BASE] = numbers[_SPILLED]
            if self._file >= 0:
                os.ftruncate(self._file, 0)
        said, size = numbers[_SAID], len(frame)
        if not self._wait_for_room(said, size):
            self._is_spilling = True
            return False
        ring, at = self._slate.ring, said % RING_BYTES
        first = min(size, RING_BYTES - at)
        ring[at : at + first] = frame[:first]
        if first < size:
            ring[: size - first] = frame[first:]
        numbers[_SAID] = said + size
        held = said - numbers[_HEARD]
        if held <= 0 or held <= RING_BYTES // 2 < held + size:
            self._ring_bell()
        return True

    def _wait_for_room(self, said: int, size: int) -> bool:
        """Wait for room in the ring; False where nobody makes any."""
        numbers = self._slate.numbers
        heard, since = numbers[_HEARD], 0.0
        while said + size - heard > RING_BYTES:
            now = monotonic()
            since = since or now
            if now - since > SPILL_SECONDS:
                return False
            self._ring_bell()
            sleep(_LOOK_SECONDS)
            before, heard = heard, numbers[_HEARD]
            if heard != before:
                since = now
        return True

    def _ring_bell(self) -> None:
        try:
            os.write(self._bell, _WAKE)
        except OSError:
            return  # it rings already, or a task has closed it: the parent looks by itself

    def leave(self) -> None:
        """Leave no file behind, as the parent is gone."""
        if self._file >= 0:
            _unlink(self._path)

    def _spill(self, frame: bytes) -> bool:
        numbers = self._slate.numbers
        if numbers[_SPILLED] - numbers[_BASE] > SPILL_BYTES_MAX:
            return False
        try:
            if self._file < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)
            start = numbers[_SPILLED] - numbers[_BASE]
            view = memoryview(frame)
            while view:
                written = os.pwrite(self._file, view, start)
                start += written
                view = view[written:]
        except OSError:
            return False  # the disk is full: what cannot be kept is lost
        numbers[_SPILLED] += len(frame)
        return True


class Said:
    """One thing that a task has said.

    Attributes:
        kind: What it is; see `program/words`.
        batch: The task's batch, -1 for none.
        index: The task, -1 for none.
        body: The bytes.
    """

    __slots__ = ("batch", "body", "index", "kind")

    def __init__(self, kind: int, batch: int, index: int, body: bytes) -> None:
        self.kind = kind
        self.batch = batch
        self.index = index
        self.body = body


class Ear:
    """The parent's end. `take` is the driver's; `open` belongs to whoever passes on what was said.

    Args:
        slate: The memory.
        key: What only the two ends know.
        path: The file that the worker may write.

    Attributes:
        unpassed_bytes: What was taken and is not passed on yet.
    """

    def __init__(self, slate: "Slate", key: bytes, path: str) -> None:
        self.unpassed_bytes = 0
        self._slate: Slate | None = slate
        self._stamp = Stamp(key, IN_RING)
        self._path = path
        self._heard = 0
        self._unspilled = 0
        self._file = -1
        self._parts: list[bytes] = []

    def has_something(self) -> bool:
        """Say whether there is anything to take."""
        slate = self._slate
        return slate is not None and (
            slate.numbers[_SAID] != self._heard or slate.numbers[_SPILLED] != self._unspilled
        )

    def is_half_full(self) -> bool:
        """Say whether so much is there that the worker may soon have to wait."""
        slate = self._slate
        return slate is not None and slate.numbers[_SAID] - self._heard > RING_BYTES // 2

    def take(self) -> "tuple[bytes, int, int, int] | None":
        """Take out what is there, to be opened later; None for nothing.

        Raises:
            NoMessageError: There cannot be what the worker says.
        """
        slate = self._slate
        if slate is None or not self.has_something():
            return None
        said, heard = slate.numbers[_SAID], self._heard
        if not 0 <= said - heard <= RING_BYTES:
            refuse(f"{said - heard} bytes said in a ring of {RING_BYTES}")
        at, size = heard % RING_BYTES, said - heard
        first = min(size, RING_BYTES - at)
        taken = bytes(slate.ring[at : at + first]) + bytes(slate.ring[: size - first])
        slate.numbers[_HEARD] = self._heard = said
        stop, base = slate.numbers[_SPILLED], slate.numbers[_BASE]
        start = self._unspilled
        if not (base <= start <= stop <= base + SPILL_BYTES_MAX + RING_BYTES):
            refuse(f"{stop - start} bytes said in a file")
        self._unspilled = stop
        self.unpassed_bytes += size + stop - start
        return taken, start, stop, base

    def open(
        self, taken: "tuple[bytes, int, int, int]", pass_on: "Callable[[Said], object]"
    ) -> None:
        """Pass on what was taken, one after the other.

        Raises:
            NoMessageError: It is none of the worker's.
        """
        held, start, stop, base = taken
        try:
            self._open_frames(held, pass_on)
            rest = b""
            for at in range(start, stop, READ_BYTES):
                rest += self._read(at - base, min(READ_BYTES, stop - at))
                rest = rest[self._open_frames(rest, pass_on, is_cut=True) :]
            if rest:
                refuse("a frame in a file that is cut off")
        finally:
            self.unpassed_bytes -= len(held) + stop - start
            slate = self._slate
            if stop > start and slate is not None:
                try:  # noqa: SIM105  # contextlib costs a worker 1 ms
                    slate.numbers[_UNSPILLED] = stop
                except ValueError:
                    pass  # the worker is gone by now, and its memory with it

    def close(self) -> bool:
        """Refer to the memory no more; return whether there is a file to `forget`."""
        self._slate = None
        return bool(self._unspilled)

    def forget(self) -> None:
        """Give the file back; called behind the last `open`."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        elif self._unspilled:
            _unlink(self._path)

    def _open_frames(
        self, held: bytes, pass_on: "Callable[[Said], object]", *, is_cut: bool = False
    ) -> int:
        """Pass on what is in frames; return how many bytes were whole frames."""
        used = whole_bytes(held) if is_cut else len(held)
        for frame in read_frames(held[:used], self._stamp):
            self._open_one(frame, pass_on)
        return used

    def _open_one(self, frame: "Frame", pass_on: "Callable[[Said], object]") -> None:
        check_head(frame.head, _HEAD)
        kind, batch, index, is_more = frame.head
        self._parts.append(bytes(frame.body))
        if len(self._parts) * PART_BYTES > 2 * WHOLE_BYTES_MAX:
            refuse("a record that does not end")
        if not is_more:
            parts, self._parts = self._parts, []
            pass_on(Said(kind, batch, index, b"".join(parts)))

    def _read(self, at: int, size: int) -> bytes:
        if self._file < 0:
            self._file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                refuse("no file where there should be one")
            _unlink(self._path)  # both have it: nothing is left should we be killed
        read = os.pread(self._file, size, at)
        if len(read) != size:
            refuse("a file that is shorter than was said")
        return read


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return  # the other end has done so
