"""Functions, arguments and results as bytes, and frames of them over a socket.

Everything travels by pickle protocol 5; what refers to `__main__` or plain pickle refuses travels
by cloudpickle. Each task is packed by itself, so that one that cannot be packed harms nobody else
and shares nothing with another. Imports little, since every worker imports it. Decides nothing.
"""

import marshal
from collections import deque
from struct import Struct

from adaptive_exec.levels.by_value import dumps_by_value
from adaptive_exec.levels.pickles import PickleBuffer, dumps, loads
from adaptive_exec.levels.plain import pack_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from typing import Any

    Buffer = bytes | bytearray | memoryview

PROTOCOL = 5
"""Pickle's protocol with out-of-band buffers (PEP 574), in every Python since 3.8."""
BUFFER_BYTES = 16 * 1024
"""Bytes from which a buffer (an array) travels beside the pickle, without a copy."""
SCRATCH_BYTES = 32 * 1024
"""Bytes read at once while small frames come; larger pieces are read into their own place."""
PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
"""Types that share nothing and can always be packed, so that many go into one pickle.

0.05 us a task, not 1.5.
"""
MAIN = b"__main__"

FUNCTION, CHUNK, END, TRIM = 1, 2, 3, 7
"""Kinds of frames to a worker."""
HELLO, RESULTS, UNLOADED = 4, 5, 6
"""Kinds of frames from a worker."""
VALUE, ERROR, STAND_IN, SKIPPED = 0, 1, 2, 3
"""What a task's bytes are.

Its value, its exception, the facts of one that cannot travel, nothing.
"""

_PREFIX = Struct("<IIQ")
"""Bytes of the head, number of buffers, bytes of the body."""
_LENGTH = Struct("<Q")


class Packed:
    """The bytes of some tasks' arguments or results, in the order of the tasks.

    Attributes:
        lengths: Bytes of each task's pickle in the body, -1 for one that could not be packed; None
            when the body is one pickle of all tasks' objects.
        pieces: Those pickles.
        buffers: Large buffers of all tasks, in order.
        counts: How many buffers each task has; None while none has any.
    """

    __slots__ = ("buffers", "counts", "lengths", "pieces")

    def __init__(self) -> None:
        self.lengths: list[int] | None = []
        self.pieces: list[bytes] = []
        self.buffers: list[Buffer] = []
        self.counts: list[int] | None = None

    def add(self, value: object) -> None:
        """Pack one more task.

        Raises:
            Exception: Whatever the value's own pickling raises; nothing is added then.
        """
        mark = len(self.buffers)
        try:
            piece = pack(value, self.buffers)
        except BaseException:
            del self.buffers[mark:]
            raise
        self._append(piece, len(self.buffers) - mark, len(piece))

    def skip(self) -> None:
        """Add a task that has no bytes."""
        self._append(b"", 0, -1)

    @classmethod
    def of_plain(cls, values: object) -> "Packed":
        """Pack a list of PLAIN values, or a range, as one pickle."""
        packed = cls()
        packed.lengths = None
        packed.pieces.append(dumps(values, PROTOCOL))
        return packed

    def _append(self, piece: bytes, count: int, length: int) -> None:
        assert self.lengths is not None, "one pickle of all is not added to"
        if count and self.counts is None:
            self.counts = [0] * len(self.lengths)
        if self.counts is not None:
            self.counts.append(count)
        self.lengths.append(length)
        self.pieces.append(piece)

    def size(self) -> int:
        """Bytes of all of it."""
        return sum(map(len, self.pieces)) + sum(memoryview(item).nbytes for item in self.buffers)


class Unpacker:
    """Reads tasks' objects out of a frame, one after the other."""

    __slots__ = ("_at", "_body", "_buffers", "_counts", "_lengths", "_next")

    def __init__(self, lengths: "list[int]", counts: "list[int] | None", frame: "Frame") -> None:
        self._lengths = lengths
        self._counts = counts
        self._body = memoryview(frame.body)
        self._buffers = deque(frame.buffers)
        self._at = 0
        self._next = 0

    def take(self) -> "Any":
        """Return the next task's object.

        Raises:
            BaseException: Whatever unpickling raises; the next task can be taken all the same.
        """
        length = max(0, self._lengths[self._next])
        piece = self._body[self._at : self._at + length]
        own = (
            ()
            if self._counts is None
            else [self._buffers.popleft() for _ in range(self._counts[self._next])]
        )
        self._at += length
        self._next += 1
        return loads(piece, buffers=own) if own else loads(piece)

    def skip(self) -> None:
        """Pass over a task without bytes."""
        self._next += 1


def are_plain(values: "Iterable[object]") -> bool:
    """Say whether all values are of PLAIN types."""
    return PLAIN.issuperset(map(type, values))


def pack(value: object, buffers: "list[Buffer]") -> bytes:
    """Pickle one object; large buffers are appended to `buffers` instead of being copied.

    Raises:
        Exception: Whatever the object's own pickling raises.
    """
    if value.__class__ in PLAIN:
        return dumps(value, PROTOCOL)

    def keep(buffer: PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < BUFFER_BYTES:
            return True
        buffers.append(raw)
        return False

    mark = len(buffers)
    try:
        piece = dumps(value, PROTOCOL, buffer_callback=keep)
    except Exception as error:  # noqa: BLE001  # a __reduce__ may raise anything; cloudpickle may do better
        return _pack_by_value(value, buffers, mark, error)
    return piece if MAIN not in piece else _pack_by_value(value, buffers, mark, None)


def _pack_by_value(
    value: object, buffers: "list[Buffer]", mark: int, refused: BaseException | None
) -> bytes:
    del buffers[mark:]
    try:
        return dumps_by_value(value, PROTOCOL)
    except ImportError as missing:
        if missing.name != "cloudpickle":
            raise
        if refused is not None:
            raise refused from None
        return dumps(value, PROTOCOL)
    except Exception:
        if refused is not None:
            raise refused from None
        raise


def pack_function(function: "Callable[..., Any]") -> bytes | None:
    """Pack a function for processes, None when it cannot be.

    By reference where plain pickle can, by value for lambdas, closures and what lives in
    `__main__`.
    """
    plain = pack_plain(function, PROTOCOL)
    if plain is not None:
        return plain
    try:
        return pack(function, [])
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return None


class Frame:
    """One message: a head of plain facts, a body of pickles, and buffers beside it."""

    __slots__ = ("body", "buffers", "head")

    def __init__(self, head: "tuple[Any, ...]", body: "Buffer", buffers: "list[bytearray]") -> None:
        self.head = head
        self.body = body
        self.buffers = buffers


def frame_parts(
    head: "tuple[Any, ...]", body: bytes = b"", buffers: "Iterable[Buffer]" = ()
) -> "list[Buffer]":
    """Write a frame as parts that are sent one after the other."""
    facts = marshal.dumps(head)
    views = [memoryview(item).cast("B") for item in buffers]
    lengths = b"".join(_LENGTH.pack(view.nbytes) for view in views)
    return [_PREFIX.pack(len(facts), len(views), len(body)) + lengths + facts, body, *views]


def read_frames(memory: memoryview) -> "Iterable[Frame]":
    """Read frames without buffers that lie one after the other in memory.

    Their bodies are copies.
    """
    at = 0
    while at < len(memory):
        head_bytes, _, body_bytes = _PREFIX.unpack_from(memory, at)
        at += _PREFIX.size
        head = marshal.loads(memory[at : at + head_bytes])
        at += head_bytes
        yield Frame(head, bytes(memory[at : at + body_bytes]), [])
        at += body_bytes


class Outgoing:
    """What still has to go out over a socket; the parent's never blocks."""

    def __init__(self, link: "socket.socket") -> None:
        self._link = link
        self._parts: deque[memoryview] = deque()

    def put(self, parts: "Iterable[Buffer]") -> None:
        """Add a frame's parts behind what waits already."""
        self._parts.extend(view for view in (memoryview(part) for part in parts) if view.nbytes)

    def flush(self) -> bool:
        """Send what the socket takes; return True when nothing is left.

        Raises:
            OSError: The other end is gone.
        """
        while self._parts:
            try:
                sent = self._link.sendmsg(list(self._parts)[:_PARTS_AT_ONCE])
            except (BlockingIOError, InterruptedError):
                return False
            self._drop(sent)
        return True

    def _drop(self, sent: int) -> None:
        while sent:
            part = self._parts[0]
            if sent < part.nbytes:
                self._parts[0] = part[sent:]
                return
            sent -= part.nbytes
            self._parts.popleft()


_PARTS_AT_ONCE = 64
"""Parts per sendmsg; far below Linux's IOV_MAX of 1024."""


class Incoming:
    """Puts frames together from what a socket brings."""

    def __init__(self, link: "socket.socket") -> None:
        self._link = link
        self._frames: deque[Frame] = deque()
        self._head_bytes = self._body_bytes = -1
        self._fixed = bytearray()
        self._buffers: list[bytearray] = []
        self._targets: deque[memoryview] = deque()
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._expect(bytearray(_PREFIX.size), self._on_prefix)

    def receive(self) -> Frame | None:
        """Wait for a frame on a blocking socket; None at its end."""
        while not self._frames:
            if not self._read_once()[0]:
                return None
        return self._frames.popleft()

    def read(self) -> "tuple[list[Frame], bool]":
        """Read what is there on a non-blocking socket.

        Returns:
            The complete frames, and whether the other end is gone.
        """
        is_gone = False
        try:
            count, is_drained = self._read_once()
            while not is_drained:
                count, is_drained = self._read_once()
            is_gone = count == 0
        except (BlockingIOError, InterruptedError):
            is_gone = False
        except OSError:
            is_gone = True
        frames = list(self._frames)
        self._frames.clear()
        return frames, is_gone

    def _read_once(self) -> "tuple[int, bool]":
        """Read once; return how many bytes came, and whether no more are there now."""
        target = self._targets[0]
        if target.nbytes >= SCRATCH_BYTES:
            count = self._link.recv_into(target)
            is_drained = count < target.nbytes
            self._fill(count)
            return count, is_drained
        count = self._link.recv_into(self._scratch)
        came = self._scratch[:count]
        while came.nbytes:
            size = min(came.nbytes, self._targets[0].nbytes)
            self._targets[0][:size] = came[:size]
            self._fill(size)
            came = came[size:]
        return count, count < SCRATCH_BYTES

    def _fill(self, count: int) -> None:
        """Note that `count` bytes of the first target are filled."""
        target = self._targets[0]
        if count < target.nbytes:
            self._targets[0] = target[count:]
            return
        self._targets.popleft()
        if not self._targets:
            self._on_full()

    def _expect(self, target: bytearray, then: "Callable[[], None]") -> None:
        self._fixed = target
        self._on_full = then
        self._targets.append(memoryview(target))

    def _on_prefix(self) -> None:
        self._head_bytes, count, self._body_bytes = _PREFIX.unpack(self._fixed)
        self._count = count
        self._expect(
            bytearray(_LENGTH.size * count + self._head_bytes + self._body_bytes), self._on_body
        )

    def _on_body(self) -> None:
        sizes = [
            _LENGTH.unpack_from(self._fixed, at * _LENGTH.size)[0] for at in range(self._count)
        ]
        self._buffers = [bytearray(size) for size in sizes]
        self._body = self._fixed
        self._on_full = self._on_buffers
        self._targets.extend(memoryview(buffer) for buffer in self._buffers if buffer)
        if not self._targets:
            self._on_buffers()

    def _on_buffers(self) -> None:
        at = self._count * _LENGTH.size
        view = memoryview(self._body)
        head = marshal.loads(view[at : at + self._head_bytes])
        self._frames.append(Frame(head, view[at + self._head_bytes :], self._buffers))
        self._expect(bytearray(_PREFIX.size), self._on_prefix)
