"""Functions, arguments and results as bytes, and frames of them over a socket.

Everything travels by pickle protocol 5; what refers to `__main__` or plain pickle refuses travels
by cloudpickle. Each task is packed by itself, so that one that cannot be packed harms nobody else
and shares nothing with another. Imports little, since every worker imports it. Decides nothing.
"""

import _socket
import marshal
import os
import sys
from collections import deque
from struct import Struct

from adaptive_exec.levels.by_value import dump_by_value
from adaptive_exec.levels.pickles import PickleBuffer, Pickler, dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from adaptive_exec.levels.arena import Piece, Receipts, SharedPiece

    Buffer = bytes | bytearray | memoryview

PROTOCOL = 5
"""Pickle's protocol with out-of-band buffers (PEP 574), in every Python since 3.8."""
BUFFER_BYTES = 16 * 1024
"""Bytes from which a buffer (an array) travels beside the pickle, without a copy."""
LONG_BYTES = 64 * 1024
"""Bytes from which an object inside a pickle is passed on as it is, not copied into the pickle's
bytes. Source: the size of a pickle's frame."""
ALIGN_BYTES = 64
"""Bytes; buffers in a piece begin at multiples, as Arrow and wide vector instructions want it."""
SCRATCH_BYTES = 32 * 1024
"""Bytes read at once while small frames come; larger pieces are read into their own place."""
PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
"""Types that share nothing and can always be packed, so that many go into one pickle.

0.05 us a task, not 1.5.
"""
MAIN = b"__main__"

FUNCTION, CHUNK, END, TRIM, FORGET = 1, 2, 3, 10, 11
"""Kinds of frames to a worker."""
HELLO, RESULTS, UNLOADED = 4, 5, 6
"""Kinds of frames from a worker."""
RELEASED, RESEND, RESENT = 7, 8, 9
"""Kinds of frames about pieces of memory, in both directions: `(RELEASED, released, kept)`,
`(RESEND, number)` of one whose descriptor was lost, `(RESENT, number)` with its content."""
VALUE, ERROR, STAND_IN, SKIPPED = 0, 1, 2, 3
"""What a task's bytes are.

Its value, its exception, the facts of one that cannot travel, nothing.
"""

_PREFIX = Struct("<IIQ")
"""Bytes of the head, number of buffers, bytes of the body."""
_IN_PIECE = 1 << 31
"""Added to the number of buffers where body and buffers are in a piece of memory."""
_LENGTH = Struct("<Q")
_PLACE = Struct("<QQ")
"""The number of a piece, and how many of its bytes are used."""


class Packed:
    """The bytes of some tasks' arguments or results, in the order of the tasks.

    Attributes:
        lengths: Bytes of each task's pickle in the body, -1 for one that could not be packed; None
            when the body is one pickle of all tasks' objects.
        pieces: Those pickles, a long one as several.
        buffers: Large buffers of all tasks, in order.
        counts: How many buffers each task has; None while none has any.
        size: Bytes of all of it.
    """

    __slots__ = ("buffers", "counts", "lengths", "pieces", "size")

    def __init__(self) -> None:
        self.lengths: list[int] | None = []
        self.pieces: list[bytes] = []
        self.buffers: list[Buffer] = []
        self.counts: list[int] | None = None
        self.size = 0

    def add(self, value: object) -> None:
        """Pack one more task.

        Raises:
            Exception: Whatever the value's own pickling raises; nothing is added then.
        """
        mark = len(self.buffers)
        try:
            pieces = _pack(value, self.buffers)
        except BaseException:
            del self.buffers[mark:]
            raise
        length = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        count = len(self.buffers) - mark
        if count:
            self.size += sum(map(len, self.buffers[mark:]))
        self.size += length
        self.pieces += pieces
        self._append(count, length)

    def skip(self) -> None:
        """Add a task that has no bytes."""
        self._append(0, -1)

    @classmethod
    def of_plain(cls, values: object) -> "Packed":
        """Pack a list of PLAIN values, or a range, as one pickle."""
        packed = cls()
        packed.lengths = None
        packed.pieces = _dump(values, None)
        packed.size = sum(map(len, packed.pieces))
        return packed

    @classmethod
    def of_bytes(cls, piece: bytes) -> "Packed":
        """Take what is packed already."""
        packed = cls()
        packed.pieces.append(piece)
        packed.size = len(piece)
        return packed

    def _append(self, count: int, length: int) -> None:
        assert self.lengths is not None, "one pickle of all is not added to"
        if count and self.counts is None:
            self.counts = [0] * len(self.lengths)
        if self.counts is not None:
            self.counts.append(count)
        self.lengths.append(length)


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

    def take(self, load: "Callable[..., Any]" = loads) -> "Any":
        """Return the next task's object.

        Args:
            load: What unpickles: called with the bytes, and with `buffers` where there are any.

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
        return load(piece, buffers=own) if own else load(piece)

    def skip(self) -> None:
        """Pass over a task without bytes."""
        self._next += 1


def are_plain(values: "Iterable[object]") -> bool:
    """Say whether all values are of PLAIN types."""
    return PLAIN.issuperset(map(type, values))


def pack(value: object) -> bytes:
    """Pickle one object with all its buffers.

    Raises:
        Exception: Whatever the object's own pickling raises.
    """
    return b"".join(_pack(value, None))


def pack_apart(value: object) -> "tuple[list[bytes], list[Buffer]]":
    """Pickle one object, as pieces of a pickle and the large buffers beside it.

    Buffers are not copied: they change when the object does.

    Raises:
        Exception: Whatever the object's own pickling raises.
    """
    buffers: list[Buffer] = []
    return _pack(value, buffers), buffers


def _keeper(buffers: "list[Buffer] | None") -> "Callable[[PickleBuffer], bool] | None":
    if buffers is None:
        return None

    def keep(buffer: PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < BUFFER_BYTES:
            return True
        buffers.append(raw)
        return False

    return keep


def _pack(value: object, buffers: "list[Buffer] | None") -> list[bytes]:
    """Pickle one object; large buffers are added to those beside it, where there are any."""
    if value.__class__ in PLAIN:
        return _dump(value, None)
    mark = 0 if buffers is None else len(buffers)
    try:
        pieces = _dump(value, _keeper(buffers))
    except Exception as error:  # noqa: BLE001  # a __reduce__ may raise anything; cloudpickle may do better
        return _pack_by_value(value, buffers, mark, error)
    for piece in pieces:
        if MAIN in piece:
            return _pack_by_value(value, buffers, mark, None)
    return pieces


def _dump(value: object, keep: "Callable[[PickleBuffer], bool] | None") -> list[bytes]:
    """Pickle an object; where the last one was long, in pieces, so that long parts are not copied.

    That saves half of the time for long ones and costs 1 us for others, so the last one decides.
    """
    if not _was_long[0]:
        piece = dumps(value, PROTOCOL, buffer_callback=keep)
        _was_long[0] = len(piece) >= LONG_BYTES
        return [piece]
    stream = _Pieces()
    Pickler(stream, PROTOCOL, buffer_callback=keep).dump(value)
    _was_long[0] = len(stream.pieces) > 1
    return stream.pieces


class _Pieces:
    """A file that keeps what is written to it, without a copy."""

    __slots__ = ("pieces", "write")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.write = self.pieces.append


_was_long = [False]


def _pack_by_value(
    value: object, buffers: "list[Buffer] | None", mark: int, refused: BaseException | None
) -> list[bytes]:
    stream = _Pieces()
    if buffers is not None:
        del buffers[mark:]
    try:
        dump_by_value(stream, value, PROTOCOL, _keeper(buffers))
    except ImportError as missing:
        if missing.name != "cloudpickle":
            raise
        if refused is not None:
            raise refused from None
        return [dumps(value, PROTOCOL)]
    except Exception:
        if refused is not None:
            raise refused from None
        raise
    return stream.pieces


class Frame:
    """One message: a head of plain facts, a body of pickles, and buffers beside it.

    Attributes:
        missing: The number of the piece that holds body and buffers, where its descriptor was lost;
            else 0.
        lengths: Bytes of the body and of each buffer, of one whose piece is missing.
    """

    __slots__ = ("body", "buffers", "head", "lengths", "missing")

    def __init__(
        self,
        head: "tuple[Any, ...]",
        body: "Buffer",
        buffers: "Sequence[Buffer]",
        missing: int = 0,
        lengths: "Sequence[int]" = (),
    ) -> None:
        self.head = head
        self.body = body
        self.buffers = buffers
        self.missing = missing
        self.lengths = lengths

    def fill(self, memory: memoryview) -> None:
        """Take body and buffers from the bytes of their piece."""
        body, *buffers = (memory[at : at + size] for at, size in lay_out(self.lengths))
        self.body, self.buffers, self.missing = body, buffers, 0

    def let_go(self) -> None:
        """Refer to body and buffers no more."""
        self.body, self.buffers = b"", ()


def frame_parts(
    head: "tuple[Any, ...]", body: "Buffer" = b"", buffers: "Iterable[Buffer]" = ()
) -> "list[Buffer]":
    """Write a frame as parts that are sent one after the other."""
    facts = marshal.dumps(head)
    views = [memoryview(item).cast("B") for item in buffers]
    lengths = b"".join(_LENGTH.pack(view.nbytes) for view in views)
    return [_PREFIX.pack(len(facts), len(views), len(body)) + lengths + facts, body, *views]


def frame_beside(
    head: "tuple[Any, ...]", lengths: "Sequence[int]", piece: "Piece | SharedPiece"
) -> bytes:
    """Write a frame whose body and buffers, of these lengths, are in a piece."""
    facts = marshal.dumps(head)
    prefix = _PREFIX.pack(len(facts), len(lengths) - 1 | _IN_PIECE, lengths[0])
    sizes = b"".join(map(_LENGTH.pack, lengths[1:]))
    return prefix + sizes + facts + _PLACE.pack(piece.number, piece.size)


def lay_out(lengths: "Iterable[int]") -> "list[tuple[int, int]]":
    """Lay body and buffers one after the other; return where each begins, with its length."""
    places, at = [], 0
    for length in lengths:
        places.append((at, length))
        at += -(-length // ALIGN_BYTES) * ALIGN_BYTES
    return places


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
        self._parts: deque[memoryview | Piece | SharedPiece] = deque()
        self._pieces = 0

    def put(self, parts: "Iterable[Buffer]") -> None:
        """Add a frame's parts behind what waits already."""
        self._parts.extend(view for view in (memoryview(part) for part in parts) if view.nbytes)

    def put_beside(self, frame: bytes, piece: "Piece | SharedPiece") -> None:
        """Add a frame whose first byte the descriptor of a piece is to ride with."""
        self._parts.append(piece)
        self._parts.append(memoryview(frame))
        self._pieces += 1

    def flush(self) -> bool:
        """Send what the socket takes; return True when nothing is left.

        Raises:
            OSError: The other end is gone.
        """
        while self._parts:
            try:
                sent = self._send_beside() if self._pieces else self._send()
            except (BlockingIOError, InterruptedError):
                return False
            self._drop(sent)
        return True

    def close(self) -> None:
        """Refer to what was not sent no more."""
        self._parts.clear()
        self._pieces = 0

    def _send(self) -> int:
        return self._link.sendmsg(list(self._parts)[:_PARTS_AT_ONCE])  # type: ignore[arg-type]  # no pieces among them

    def _send_beside(self) -> int:
        """Send what is before the next piece, or that piece's descriptor with its frame."""
        rights: list[tuple[int, int, bytes]] = []
        views: list[memoryview] = []
        for part in self._parts:
            if isinstance(part, memoryview) and len(views) < _PARTS_AT_ONCE:
                views.append(part)
            elif views or isinstance(part, memoryview):
                break
            else:
                descriptor = part.descriptor.to_bytes(4, sys.byteorder)
                rights.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor))
        sent = self._link.sendmsg(views, rights)
        if rights:
            self._parts.popleft()
            self._pieces -= 1
        return sent

    def _drop(self, sent: int) -> None:
        while sent:
            part = self._parts[0]
            assert isinstance(part, memoryview), "only what was sent is dropped"
            if sent < part.nbytes:
                self._parts[0] = part[sent:]
                return
            sent -= part.nbytes
            self._parts.popleft()


_PARTS_AT_ONCE = 64
"""Parts per sendmsg; far below Linux's IOV_MAX of 1024."""


class Incoming:
    """Puts frames together from what a socket brings.

    Args:
        link: The socket.
        receipts: Maps pieces whose descriptors come along.
    """

    def __init__(self, link: "socket.socket", receipts: "Receipts") -> None:
        self._link = link
        self._receipts = receipts
        self._frames: deque[Frame] = deque()
        self._descriptors: deque[int] = deque()
        self._head_bytes = self._body_bytes = -1
        self._count = 0
        self._place_bytes = 0
        self._fixed = bytearray()
        self._buffers: list[bytearray] = []
        self._targets: deque[memoryview] = deque()
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._expect(bytearray(_PREFIX.size), self._on_prefix)

    def receive(self) -> "deque[Frame] | None":
        """Wait for frames on a blocking socket; None at its end.

        Returns:
            Complete frames, to be taken out of it.
        """
        while not self._frames:
            if not self._read_once()[0]:
                return None
        return self._frames

    def read(self, flags: int = 0) -> "tuple[list[Frame], bool]":
        """Read what is there on a non-blocking socket, or with the flag MSG_DONTWAIT.

        Returns:
            The complete frames, and whether the other end is gone.
        """
        is_gone = False
        try:
            count, is_drained = self._read_once(flags)
            while not is_drained:
                count, is_drained = self._read_once(flags)
            is_gone = count == 0
        except (BlockingIOError, InterruptedError):
            is_gone = False
        except OSError:
            is_gone = True
        frames = list(self._frames)
        self._frames.clear()
        return frames, is_gone

    def close(self) -> None:
        """Close descriptors of frames that did not come in full."""
        while self._descriptors:
            descriptor = self._descriptors.popleft()
            if descriptor >= 0:
                os.close(descriptor)

    def _read_once(self, flags: int = 0) -> "tuple[int, bool]":
        """Read once; return how many bytes came, and whether no more are there now."""
        target = self._targets[0]
        if target.nbytes >= SCRATCH_BYTES:
            count, is_drained = self._read_into(target, flags)
            self._fill(count)
            return count, is_drained
        count, is_drained = self._read_into(self._scratch, flags)
        came = self._scratch[:count]
        while came.nbytes:
            size = min(came.nbytes, self._targets[0].nbytes)
            self._targets[0][:size] = came[:size]
            self._fill(size)
            came = came[size:]
        return count, is_drained

    def _read_into(self, target: memoryview, flags: int) -> "tuple[int, bool]":
        count, ancillary, came, _ = self._link.recvmsg_into(
            [target], _RIGHTS_BYTES, flags | _CLOSE_ON_EXEC
        )
        if ancillary or came & _socket.MSG_CTRUNC:
            found = read_rights(ancillary)
            self._descriptors.append(found[0] if found else -1)  # -1: this process may have no more
            return count, False  # a read ends behind a descriptor, whatever follows
        return count, count < target.nbytes

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
        self._count = count & ~_IN_PIECE
        size = _LENGTH.size * self._count + self._head_bytes
        if count & _IN_PIECE:
            self._expect(bytearray(size + _PLACE.size), self._on_place)
        else:
            self._expect(bytearray(size + self._body_bytes), self._on_body)

    def _sizes(self) -> list[int]:
        return [_LENGTH.unpack_from(self._fixed, at * _LENGTH.size)[0] for at in range(self._count)]

    def _on_place(self) -> None:
        """Take body and buffers from the piece whose descriptor came with the frame."""
        view, at = memoryview(self._fixed), self._count * _LENGTH.size
        head = marshal.loads(view[at : at + self._head_bytes])
        number, size = _PLACE.unpack_from(view, at + self._head_bytes)
        descriptor = self._descriptors.popleft()
        frame = Frame(head, b"", (), number, [self._body_bytes, *self._sizes()])
        self._expect(bytearray(_PREFIX.size), self._on_prefix)
        if descriptor >= 0:
            frame.fill(self._receipts.open(descriptor, number, size))
        self._frames.append(frame)

    def _on_body(self) -> None:
        self._buffers = [bytearray(size) for size in self._sizes()]
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


def read_rights(ancillary: "list[tuple[int, int, bytes]]") -> "list[int]":
    """Return the descriptors that came with a message."""
    found: list[int] = []
    for level, kind, payload in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            found += [
                int.from_bytes(payload[at : at + 4], sys.byteorder)
                for at in range(0, len(payload) - 3, 4)
            ]
    return found


_CLOSE_ON_EXEC: int = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
_RIGHTS_BYTES = _socket.CMSG_SPACE(4) if hasattr(_socket, "CMSG_SPACE") else 0
"""Room for one descriptor; each rides with a message of its own."""
