"""Functions, arguments and results as bytes.

Everything travels by pickle protocol 5; what refers to modules that the other side cannot import,
or what plain pickle refuses, as `program/pickling` has it. Each task is packed by itself, so that
one that cannot be packed harms nobody else and shares nothing with another. Imports little, since
every worker imports it. Decides nothing.
"""

from collections import deque

from adaptive_exec.program.c_pickle import Pickler, dumps, loads
from adaptive_exec.program.pickling import Notes, Pieces, dump, keeper
from adaptive_exec.program.places import PLACES
from adaptive_exec.program.spaces import HERE
from adaptive_exec.system.pickles import PROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from adaptive_exec.levels.frames import Frame
    from adaptive_exec.program.c_pickle import PickleBuffer
    from adaptive_exec.program.spaces import Key

    Buffer = bytes | bytearray | memoryview

LONG_BYTES = 64 * 1024
"""Bytes from which an object inside a pickle is passed on as it is, not copied into the pickle's
bytes. Source: the size of a pickle's frame."""
PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
"""Types that share nothing and can always be packed, so that many go into one pickle.

0.05 us a task, not 1.5.
"""
FUNCTION, CHUNK, END, TRIM, FORGET, SETTINGS, NAMES, UNNAME = 1, 2, 3, 10, 11, 12, 13, 14
PART = 15
"""Kinds of frames to a worker; of a function's large buffers each comes as a PART before it."""
HELLO, RESULTS, UNLOADED, ENDING = 4, 5, 6, 20
"""Kinds of frames from a worker; `(ENDING, 0 or 1, names of threads)` where something is left to be
done at its end, and with 1 where the time for that is over."""
RELEASED, RESEND, RESENT = 7, 8, 9
"""Kinds of frames about pieces of memory, in both directions: `(RELEASED, released, kept)`,
`(RESEND, number)` of one whose descriptor was lost, `(RESENT, number)` with its content."""
VALUE, ERROR, STAND_IN, SKIPPED = 0, 1, 2, 3
"""What a task's bytes are.

Its value, its exception, the facts of one that cannot travel, nothing.
"""


class Packed:
    """The bytes of some tasks' arguments or results, in the order of the tasks.

    Attributes:
        lengths: Bytes of each task's pickle in the body, -1 for one that could not be packed; None
            when the body is one pickle of all tasks' objects.
        pieces: Those pickles, a long one as several.
        buffers: Large buffers of all tasks, in order.
        counts: How many buffers each task has; None while none has any.
        size: Bytes of all of it.

    Args:
        gather: In a caller, sees to it that the worker has the names that a task's objects refer
            to; None in a worker, whose caller has them.
    """

    __slots__ = ("_gather", "buffers", "counts", "lengths", "pieces", "size")

    def __init__(self, gather: "Callable[[tuple[Key, ...]], object] | None" = None) -> None:
        self._gather = gather
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
            pieces = _pack(value, self.buffers, self._gather)
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

    @classmethod
    def of_parts(cls, parts: "list[Any]") -> "Packed":
        """Take pickles and buffers that lie beside an empty body."""
        packed = cls()
        packed.pieces.append(b"")
        packed.buffers = parts
        packed.size = sum(map(len, parts))
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


def _pack(
    value: object, buffers: "list[Buffer]", gather: "Callable[[tuple[Key, ...]], object] | None"
) -> list[bytes]:
    """Pickle one object; large buffers are added to those beside it."""
    if value.__class__ in PLAIN:
        return _dump(value, None)
    if PLACES.under_way and PLACES.would_wait():
        return _pack_by_value(value, buffers, gather, None)
    mark = len(buffers)
    try:
        pieces = _dump(value, keeper(buffers))
    except Exception as error:  # noqa: BLE001  # a __reduce__ may raise anything; by value may do better
        del buffers[mark:]
        return _pack_by_value(value, buffers, gather, error)
    for piece in pieces:
        for strange in PLACES.marks:
            if strange in piece:
                del buffers[mark:]
                return _pack_by_value(value, buffers, gather, None)
    return pieces


def _dump(value: object, keep: "Callable[[PickleBuffer], bool] | None") -> list[bytes]:
    """Pickle an object; where the last one was long, in pieces, so that long parts are not copied.

    That saves half of the time for long ones and costs 1 us for others, so the last one decides.
    """
    if not _was_long[0]:
        piece = dumps(value, PROTOCOL, buffer_callback=keep)
        _was_long[0] = len(piece) >= LONG_BYTES
        return [piece]
    stream = Pieces()
    Pickler(stream, PROTOCOL, buffer_callback=keep).dump(value)
    _was_long[0] = len(stream.pieces) > 1
    return stream.pieces


_was_long = [False]


def _pack_by_value(
    value: object,
    buffers: "list[Buffer]",
    gather: "Callable[[tuple[Key, ...]], object] | None",
    refused: BaseException | None,
) -> list[bytes]:
    notes = Notes(is_received=HERE.has if gather is None else None)
    try:
        pieces = dump(value, notes, PROTOCOL, buffers, keeper(buffers))
    except Exception:
        if refused is not None:
            raise refused from None
        raise
    if gather is not None:
        gather((*notes.objects, *notes.looked_up))
    return pieces
