"""Frames over a socket or in shared memory, written by one process and read by another.

What a worker sends is foreign bytes: a task may write to its worker's socket, fork, or overwrite
memory. Each frame carries the format's version, a key that only the two ends know, its number in
order, all lengths, and a checksum over these, its head and a short body; the long body of a worker
has one of its own, since a pickle is a program: one flipped bit may have the reader fill gigabytes.
Nothing is reserved before it has come, and nothing reaches `marshal` that the other end has not
written by that key, since `marshal` may crash on other bytes. All that is wrong is a
NoMessageError. Imports little, since every worker imports it.
"""

import _socket
import marshal
import os
import sys
from binascii import crc32
from collections import deque
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from typing import Any, NoReturn

    from adaptive_exec.levels.arena import Piece, Receipts, SharedPiece

    Buffer = bytes | bytearray | memoryview

FORMAT = b"ae\x00\x02"
"""What a frame begins with: two letters and the version of the format."""
KEY_BYTES = 8
"""Bytes of the key; random ones pass for another's once in 2^64."""
HEAD_BYTES_MAX = 64 << 20
"""Bytes of a head; of the 16,384 tasks of the largest chunk it takes 2 MB."""
BUFFERS_MAX = 1 << 24
"""Buffers beside one body: 16 KB each and more, 256 GB together."""
FRAME_BYTES_MAX = 1 << 42
"""Bytes of body and buffers together: 4 TB, above what a host has."""
STEP_BYTES = 1 << 20
"""Bytes that are reserved at most for what has not come yet."""
READ_BYTES_MAX = 64 << 20
"""Bytes that are read of one worker before others have their turn; a socket holds far fewer."""
COVERED_BYTES = 64 * 1024
"""Bytes of a body up to which the frame's checksum covers it: 16 us. Longer ones go beside the
socket."""
SCRATCH_BYTES = 64 * 1024
"""Bytes read at once while small frames come; larger parts are read into their own place."""
ALIGN_BYTES = 64
"""Bytes; buffers in a piece begin at multiples, as Arrow and wide vector instructions want it."""
FROM_PARENT, FROM_WORKER, IN_SLATE, IN_RING = 0, 1 << 30, 2 << 30, 3 << 30
"""Where numbers begin in each direction, so that no frame passes for one of another."""
_NUMBERS = (1 << 30) - 1
"""The largest number of a frame; the two bits above it say where it comes from."""
_FRONT = Struct("<4sIQQII")
"""Format, number, key, bytes of the body, bytes of the head, number of buffers."""
_CHECK = Struct("<I")
PREFIX_BYTES = _FRONT.size + _CHECK.size
_IN_PIECE = 1 << 31
"""Added to the number of buffers where body and buffers are in a piece of memory."""
_LENGTH = Struct("<Q")
_PLACE = Struct("<QQI")
"""The number of a piece, how many of its bytes are used, and the checksum of the body there."""
OPCODES_BYTES_MAX = 128 * 1024
"""Bytes of a piece of a pickle; of several pieces, a longer one is one object's own bytes.
Source: Lib/pickle.py, whose frames end when they have 64 KiB, and hold objects up to that size."""
UNCHECKED = 0
"""In the place of a long body's checksum: nobody asks for it."""


class NoMessageError(ValueError):
    """What came is no message of the other end's: its bytes, their order or what they say."""


def refuse(what: str) -> "NoReturn":
    """Say what came that is no message."""
    raise NoMessageError(what)


class Stamp:
    """What the frames of one direction carry: whose they are, and which comes next.

    Args:
        key: What only the two ends know.
        start: FROM_PARENT, FROM_WORKER or IN_SLATE.

    Attributes:
        count: How many frames there were so far.
    """

    __slots__ = ("_start", "count", "key")

    def __init__(self, key: bytes, start: int) -> None:
        self.key = int.from_bytes(key, "little")
        self._start = start
        self.count = 0

    def check(self, pieces: "Sequence[Buffer]") -> int:
        """Return the checksum of a long body in pieces, or UNCHECKED.

        Only a worker's is asked for, and only where it is mostly opcodes: 0.25 ms for 1 MB at each
        end, where these take 3 ms and more, and the bytes of a long text 0.1.
        """
        if self._start != FROM_WORKER:
            return UNCHECKED
        sizes = list(map(len, pieces))
        objects_bytes = sum(size for size in sizes if size > OPCODES_BYTES_MAX)
        if len(sizes) > 1 and 2 * objects_bytes > sum(sizes):
            return UNCHECKED
        check = UNCHECKED
        for piece in pieces:
            check = crc32(piece, check)
        return check

    @property
    def number(self) -> int:
        """The number of the next frame."""
        return self._start | self.count & _NUMBERS

    def take(self) -> int:
        """Give the number of the next frame to one that is written."""
        number = self.number
        self.count += 1
        return number


class Frame:
    """One message: a head of plain facts, a body of pickles, and buffers beside it.

    Attributes:
        missing: The number of the piece that holds body and buffers, where its descriptor was lost;
            else 0.
        lengths: Bytes of the body and of each buffer, of one whose piece is missing.
        check: The checksum of a long body, or UNCHECKED.
    """

    __slots__ = ("body", "buffers", "check", "head", "lengths", "missing")

    def __init__(
        self,
        head: "tuple[Any, ...]",
        body: "Buffer",
        buffers: "Sequence[Buffer]",
        missing: int = 0,
        lengths: "Sequence[int]" = (),
        *,
        check: int = UNCHECKED,
    ) -> None:
        self.check = check
        self.head = head
        self.body = body
        self.buffers = buffers
        self.missing = missing
        self.lengths = lengths

    def fill(self, memory: memoryview) -> None:
        """Take body and buffers from the bytes of their piece.

        Raises:
            NoMessageError: They are not as many as the frame said, or the body is another.
        """
        places = lay_out(self.lengths)
        if sum(places[-1]) != memory.nbytes:
            refuse(f"a piece of {memory.nbytes} bytes, not {sum(places[-1])}")
        body, *buffers = (memory[at : at + size] for at, size in places)
        if self.check != UNCHECKED and crc32(body) != self.check:
            refuse("a piece with a body whose checksum is wrong")
        self.body, self.buffers, self.missing = body, buffers, 0

    def let_go(self) -> None:
        """Refer to body and buffers no more."""
        self.body, self.buffers = b"", ()


def lay_out(lengths: "Iterable[int]") -> "list[tuple[int, int]]":
    """Lay body and buffers one after the other; return where each begins, with its length."""
    places, at = [], 0
    for length in lengths:
        places.append((at, length))
        at += -(-length // ALIGN_BYTES) * ALIGN_BYTES
    return places


def check_head(head: "tuple[Any, ...]", types: "Container[tuple[type, ...]]") -> None:
    """See to it that a head has fields of the right types, in one of the ways that are told.

    Raises:
        NoMessageError: It has not.
    """
    if tuple(map(type, head)) not in types:
        refuse(f"a head of ({', '.join(type(field).__name__ for field in head)})")


# writing


def frame_parts(
    stamp: Stamp,
    head: "tuple[Any, ...]",
    body: "Buffer" = b"",
    buffers: "Iterable[Buffer]" = (),
    *,
    check: int = UNCHECKED,
) -> "list[Buffer]":
    """Write a frame as parts that are sent one after the other; a long body has its checksum."""
    views = [memoryview(item).cast("B") for item in buffers]
    rest = marshal.dumps(head)
    if views:
        rest = b"".join(_LENGTH.pack(view.nbytes) for view in views) + rest
    if len(body) <= COVERED_BYTES:
        return [_write_front(stamp, rest, body, (len(views), len(body))), body, *views]
    covered = _CHECK.pack(check)
    front = _write_front(stamp, rest, covered, (len(views), len(body)))
    return [front + covered, body, *views]


def frame_beside(
    stamp: Stamp,
    head: "tuple[Any, ...]",
    lengths: "Sequence[int]",
    piece: tuple[int, int],
    *,
    check: int = UNCHECKED,
) -> bytes:
    """Write a frame whose body and buffers, of these lengths, are in a piece: number and bytes."""
    rest = b"".join(map(_LENGTH.pack, lengths[1:])) + marshal.dumps(head)
    place = _PLACE.pack(*piece, check)
    return _write_front(stamp, rest, place, (len(lengths) - 1 | _IN_PIECE, lengths[0])) + place


def _write_front(stamp: Stamp, rest: bytes, covered: "Buffer", counts: tuple[int, int]) -> bytes:
    buffers, body_bytes = counts
    head_bytes = len(rest) - _LENGTH.size * (buffers & ~_IN_PIECE)
    front = _FRONT.pack(FORMAT, stamp.take(), stamp.key, body_bytes, head_bytes, buffers)
    check = crc32(rest, crc32(front))
    return front + _CHECK.pack(crc32(covered, check) if covered else check) + rest


def write_message(key: bytes, message: "tuple[Any, ...]") -> bytes:
    """Write a message that is a datagram of its own, between parent and zygote."""
    return bytes(frame_parts(Stamp(key, FROM_PARENT), message)[0])


# reading


class _Front:
    """A frame's prefix, whose fields are within their bounds.

    Attributes:
        count: How many buffers there are.
        is_beside: Whether body and buffers are in a piece.
        head_bytes: Bytes of the head.
        body_bytes: Bytes of the body.
        size: Bytes of all that the checksum covers, the prefix included.
    """

    __slots__ = ("body_bytes", "count", "head_bytes", "is_beside", "size")

    def __init__(self, memory: "Buffer", at: int, stamp: Stamp) -> None:
        form, number, key, body_bytes, head_bytes, count = _FRONT.unpack_from(memory, at)
        if form != FORMAT or key != stamp.key or number != stamp.number:
            refuse(_say_what_is_wrong(form, key == stamp.key))
        self.is_beside = bool(count & _IN_PIECE)
        self.count = count & ~_IN_PIECE
        if head_bytes > HEAD_BYTES_MAX or self.count > BUFFERS_MAX or body_bytes > FRAME_BYTES_MAX:
            refuse(f"a frame of {head_bytes}, {body_bytes} bytes and {count} buffers")
        self.head_bytes, self.body_bytes = head_bytes, body_bytes
        self.size = PREFIX_BYTES + self.count * _LENGTH.size + head_bytes
        if self.is_beside:
            self.size += _PLACE.size
        else:
            self.size += body_bytes if body_bytes <= COVERED_BYTES else _CHECK.size


def _say_what_is_wrong(form: bytes, is_ours: bool) -> str:  # noqa: FBT001  # of one caller
    if form[:2] != FORMAT[:2]:
        return "bytes that begin no frame"
    if form != FORMAT:
        return f"a frame of version {form[2:].hex()}, not {FORMAT[2:].hex()}"
    return "a frame that is not the next one" if is_ours else "a frame of somebody else's"


def _read_covered(
    front: _Front, memory: memoryview, stamp: Stamp
) -> "tuple[tuple[Any, ...], list[int], memoryview]":
    """Return the head, the buffers' lengths, and what else the checksum covers.

    Raises:
        NoMessageError: The checksum is another.
    """
    check = _CHECK.unpack_from(memory, _FRONT.size)[0]
    if crc32(memory[PREFIX_BYTES:], crc32(memory[: _FRONT.size])) != check:
        refuse("a frame whose checksum is wrong")
    stamp.count += 1
    at = PREFIX_BYTES
    lengths = [_LENGTH.unpack_from(memory, at + one * 8)[0] for one in range(front.count)]
    if front.body_bytes + sum(lengths) > FRAME_BYTES_MAX:
        refuse(f"a frame of {front.body_bytes + sum(lengths)} bytes")
    at += front.count * _LENGTH.size
    end = at + front.head_bytes
    try:
        head = marshal.loads(memory[at:end])
    except (ValueError, EOFError, TypeError) as error:
        refuse(f"a head that cannot be read ({error})")
    if head.__class__ is not tuple or not head or head[0].__class__ is not int:
        refuse("a head without a kind")
    return head, lengths, memory[end:]


def read_frames(memory: "Buffer", stamp: Stamp) -> "Iterator[Frame]":
    """Read frames without buffers that lie one after the other in memory.

    Their bodies are copies.

    Args:
        memory: Bytes that nobody changes meanwhile.
        stamp: What the frames carry.

    Raises:
        NoMessageError: Something else is there.
    """
    view, at = memoryview(memory), 0
    while at < view.nbytes:
        if view.nbytes - at < PREFIX_BYTES:
            refuse("a frame that is cut off")
        front = _Front(view, at, stamp)
        if front.size > view.nbytes - at:
            refuse("a frame that is cut off")
        if front.is_beside or front.count or front.body_bytes > COVERED_BYTES:
            refuse("a frame that is not wholly here")
        head, _, body = _read_covered(front, view[at : at + front.size], stamp)
        yield Frame(head, bytes(body), ())
        at += front.size


def whole_bytes(memory: bytes) -> int:
    """Return how many bytes of memory, from its begin, are frames that are wholly there.

    Nothing of them is checked but that they are not longer than small frames are.
    """
    at = 0
    while len(memory) - at >= PREFIX_BYTES:
        _, _, _, body_bytes, head_bytes, count = _FRONT.unpack_from(memory, at)
        size = PREFIX_BYTES + head_bytes + body_bytes
        if count or size > 2 * COVERED_BYTES:
            refuse("a frame that is not wholly here")
        if at + size > len(memory):
            break
        at += size
    return at


def read_message(key: bytes, datagram: bytes) -> "tuple[Any, ...]":
    """Read a message that is a datagram of its own.

    Raises:
        NoMessageError: It is none.
    """
    frames = list(read_frames(datagram, Stamp(key, FROM_PARENT)))
    if len(frames) != 1 or frames[0].body:
        refuse(f"a datagram with {len(frames)} messages")
    return frames[0].head


class Outgoing:
    """What still has to go out over a socket; the parent's never blocks."""

    def __init__(self, link: "_socket.socket") -> None:
        self._link = link
        self._parts: deque[memoryview | Piece | SharedPiece] = deque()
        self._pieces = 0

    def put(self, parts: "Iterable[Buffer]") -> None:
        """Add a frame's parts behind what waits already."""
        for part in parts:
            view = memoryview(part)
            if view.nbytes:
                self._parts.append(view)

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
        stamp: What the frames carry.

    Attributes:
        fault: Why nothing is read any more; None while all is well.
    """

    def __init__(self, link: "_socket.socket", receipts: "Receipts", stamp: Stamp) -> None:
        self.fault: NoMessageError | None = None
        self._link = link
        self._receipts = receipts
        self._stamp = stamp
        self._frames: deque[Frame] = deque()
        self._descriptors: deque[int] = deque()
        self._held = bytearray()
        self._front: _Front | None = None
        self._long: _Long | None = None
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))

    def receive(self) -> "deque[Frame]| None":
        """Wait for frames on a blocking socket; None at its end.

        Returns:
            Complete frames, to be taken out of it.

        Raises:
            NoMessageError: Something else came.
        """
        while not self._frames:
            if self.fault is not None:
                raise self.fault
            if not self._read_once()[0]:
                return None
        return self._frames

    def read(self, flags: int = 0) -> "tuple[list[Frame], bool]":
        """Read what is there on a non-blocking socket, or with the flag MSG_DONTWAIT.

        Where something came that is no frame `fault` says so, and nothing is read from then on.

        Returns:
            The complete frames, and whether the other end is gone.
        """
        is_gone = False
        try:
            is_gone = self._read_all(flags)
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

    def _read_all(self, flags: int) -> bool:
        came_bytes = 0
        while self.fault is None and came_bytes < READ_BYTES_MAX:
            count, is_drained = self._read_once(flags)
            came_bytes += count
            if is_drained:
                return count == 0
        return False

    def _read_once(self, flags: int = 0) -> "tuple[int, bool]":
        """Read once; return how many bytes came, and whether no more are there now."""
        long = self._long
        try:
            if long is not None and long.wanted >= SCRATCH_BYTES:
                with long.room() as target:
                    count, is_drained = self._read_into(target, flags)
                self._end_long(long.add(count))
                return count, is_drained
            count, is_drained = self._read_into(self._scratch, flags)
            came = self._scratch[:count]
            while came.nbytes:
                came = self._take(came)
            self._look_at_descriptors()
        except NoMessageError as error:
            self.fault = error.with_traceback(None)  # whose frames hold what came
            return 1, False
        return count, is_drained

    def _read_into(self, target: memoryview, flags: int) -> "tuple[int, bool]":
        count, ancillary, came, _ = self._link.recvmsg_into(
            [target], _RIGHTS_BYTES, flags | _CLOSE_ON_EXEC
        )
        if ancillary or came & _socket.MSG_CTRUNC:
            # None: this process may have no more
            self._descriptors.extend(read_rights(ancillary) or [-1])
            return count, False  # a read ends behind a descriptor, whatever follows
        return count, count < target.nbytes

    def _look_at_descriptors(self) -> None:
        """Each rides with the first byte of its frame, of which at most one is not here in full."""
        if len(self._descriptors) > 1:
            refuse("descriptors without a frame")

    def _take(self, came: memoryview) -> memoryview:
        """Take the next part of what came; return the rest."""
        if self._long is not None:
            size = min(came.nbytes, self._long.wanted)
            self._end_long(self._long.copy(came[:size]))
            return came[size:]
        if not self._held and came.nbytes >= PREFIX_BYTES:
            front = _Front(came, 0, self._stamp)
            if front.size <= came.nbytes:
                self._open(front, came[: front.size])
                return came[front.size :]
            self._front = front
        return self._hold(came)

    def _hold(self, came: memoryview) -> memoryview:
        """Keep the begin of a frame until what the checksum covers is here."""
        size = (self._front.size if self._front else PREFIX_BYTES) - len(self._held)
        self._held += came[:size]
        if came.nbytes < size:
            return came[size:]
        if self._front is None:
            self._front = _Front(self._held, 0, self._stamp)
        if len(self._held) == self._front.size:
            front, self._front = self._front, None
            held, self._held = self._held, bytearray()
            self._open(front, memoryview(held))
        return came[size:]

    def _open(self, front: _Front, memory: memoryview) -> None:
        """Read what the checksum covers; the frame is complete unless long parts follow."""
        head, lengths, rest = _read_covered(front, memory, self._stamp)
        if front.is_beside:
            number, size, check = _PLACE.unpack(rest)
            wanted = [front.body_bytes, *lengths]
            self._open_beside(Frame(head, b"", (), number, wanted, check=check), size)
            return
        if front.body_bytes > COVERED_BYTES:
            frame = Frame(head, b"", (), check=_CHECK.unpack(rest)[0])
            self._long = _Long(frame, [front.body_bytes, *lengths], has_body=True)
        elif lengths:
            self._long = _Long(Frame(head, bytes(rest), ()), lengths, has_body=False)
        else:
            self._frames.append(Frame(head, bytes(rest), ()))
            return
        self._end_long(self._long.go_on())

    def _open_beside(self, frame: Frame, size: int) -> None:
        """Take body and buffers from the piece whose descriptor came with the frame."""
        if not self._descriptors:
            refuse("a frame without its descriptor")
        if not frame.missing or size != sum(lay_out(frame.lengths)[-1]):
            refuse(f"a piece of {size} bytes that does not fit its frame")
        descriptor = self._descriptors.popleft()
        if descriptor >= 0:
            try:
                memory = self._receipts.open(descriptor, frame.missing, size)
            except ValueError as error:
                refuse(str(error))
            frame.fill(memory)
        self._frames.append(frame)

    def _end_long(self, frame: "Frame | None") -> None:
        if frame is not None:
            self._long = None
            self._frames.append(frame)


class _Long:
    """Long parts of a frame, which grow as their bytes come."""

    __slots__ = (
        "_check",
        "_checked",
        "_filled",
        "_frame",
        "_has_body",
        "_lengths",
        "_part",
        "_parts",
    )

    def __init__(self, frame: Frame, lengths: "list[int]", *, has_body: bool) -> None:
        self._frame = frame
        self._lengths = deque(lengths)
        self._has_body = has_body
        self._parts: list[bytearray] = []
        self._part = bytearray()
        self._filled = 0
        self._check, self._checked = UNCHECKED, 0

    @property
    def wanted(self) -> int:
        """Bytes that the present part still lacks."""
        return self._lengths[0] - self._filled

    def room(self) -> memoryview:
        """Return where the next bytes go; to be released before more are added."""
        if self._filled == len(self._part):
            self._part += bytes(min(STEP_BYTES, self.wanted))
        return memoryview(self._part)[self._filled :]

    def add(self, count: int) -> Frame | None:
        """Note that so many bytes were read into that room; return the frame once it is whole."""
        self._filled += count
        if self._has_body and not self._parts and self._frame.check != UNCHECKED:
            self._look_at_body()
        return None if self.wanted else self.go_on()

    def _look_at_body(self) -> None:
        """Reckon with what has come of the body; bit by bit, so that none holds the reader up."""
        with memoryview(self._part) as view:
            self._check = crc32(view[self._checked : self._filled], self._check)
        self._checked = self._filled
        if not self.wanted and self._check != self._frame.check:
            refuse("a body whose checksum is wrong")

    def copy(self, came: memoryview) -> Frame | None:
        """Add bytes that were read elsewhere."""
        while came.nbytes:
            with self.room() as room:
                size = min(came.nbytes, room.nbytes)
                room[:size] = came[:size]
            came = came[size:]
            self._filled += size
        return self.add(0)

    def go_on(self) -> Frame | None:
        """Go on to the next part that wants bytes; return the frame when none is left."""
        while self._lengths and not self.wanted:
            self._lengths.popleft()
            self._parts.append(self._part)
            self._part, self._filled = bytearray(), 0
        if self._lengths:
            return None
        if self._has_body:
            self._frame.body = self._parts.pop(0)
        self._frame.buffers = self._parts
        return self._frame


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
