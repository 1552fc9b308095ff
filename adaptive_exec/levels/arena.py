"""Memory files that carry large payloads between parent and worker, instead of the socket.

A sender lays a payload into a piece and passes its descriptor; the receiver maps it privately, so
that it may write into what it got, and nothing is copied. The law is that *no view ever changes*:
pages of a private mapping that were not written to show what is written to the file later. So a
piece is its receiver's until the last view of it is gone, and is used again only when the receiver
has said so. It never says so of what was mapped when it forked, since a child may hold it; and what
a dead receiver held is never used again. What many receivers get, a large function, lies in one
sealed file that they all map. Every failure means that the payload travels in-band.
"""

import mmap
import os
import sys
from _weakref import ref
from collections import deque
from itertools import count
from time import monotonic

ARENA_BYTES_MAX = 256 * 1024 * 1024
"""Bytes of memory files that one process holds for large payloads; what is beyond goes in-band.
Source: own choice, three payloads of 64 MB."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Buffer = bytes | bytearray | memoryview

FROM_BYTES = 64 * 1024
"""Bytes of a payload from which it travels in a piece. Source: a pickle's frame; below it the
socket is as fast (benchmarks/arena.py)."""
SLACK = 16
"""A piece has room for a sixteenth more, so that payloads of nearly one size share it."""
WASTE = 2
"""A piece is used again for payloads down to half its size: a view keeps all of it alive."""
SPARE = 4
"""There has to be address space for so many times a new piece."""
FILES_MAX = 32
"""Pieces, and so descriptors, of an arena."""
FILES_SHARE = 32
"""An arena takes at most one in so many of the descriptors that the process may have."""
IDLE_SECONDS = 1.0
"""Seconds for which a piece that nobody uses is kept; a fresh one of 8 MB takes 5-10 ms."""
_SEALS = 0x2 | 0x4 | 0x10
"""F_SEAL_SHRINK, F_SEAL_GROW (no receiver meets the end of the file), F_SEAL_FUTURE_WRITE (none but
the sender's mapping writes)."""
_SEALS_FOR_GOOD = 0x2 | 0x4 | 0x8
"""F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE: nobody writes to it any more."""
_ADD_SEALS, _GET_SEALS = 1033, 1034
_STEADY = 0x2
"""The seal without which a mapping of a file may lose its pages: who touches them then dies."""
_MAP_FIXED = 0x10
"""Flag of mmap, the same on all processors. Source: Linux,
include/uapi/asm-generic/mman-common.h."""
_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE if hasattr(mmap, "PROT_READ") else 0

REFUSED = (OSError, MemoryError, ValueError, OverflowError, ImportError, AttributeError)
"""What a missing call, descriptor, address space or memory raises."""


class Piece:
    """One memory file, as its sender sees it.

    Attributes:
        number: By which its receiver knows it; a new one each time it is used.
        descriptor: The open file.
        memory: Our mapping of it, the only one that can write.
        size: Bytes of it that are used.
        owner: Its receiver, None while nobody has it.
        free_at: When it was released, monotonic seconds.
    """

    __slots__ = ("descriptor", "free_at", "memory", "number", "owner", "size")

    def __init__(self, descriptor: int, memory: mmap.mmap) -> None:
        self.number = 0
        self.descriptor = descriptor
        self.memory = memory
        self.size = 0
        self.owner: object = None
        self.free_at = 0.0


class Arena:
    """The pieces of one sender.

    Args:
        bytes_max: The most bytes that all of them may have; 0 for none at all.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max if hasattr(os, "memfd_create") else 0
        self._files_max = 0
        self._held_bytes = 0
        self._used: dict[int, Piece] = {}
        self._free: list[Piece] = []  # the longest unused first

    def __bool__(self) -> bool:
        """Say whether pieces can be had at all."""
        return self._bytes_max > 0

    @property
    def has_free(self) -> bool:
        """Whether there are pieces that nobody uses."""
        return bool(self._free)

    @property
    def has_used(self) -> bool:
        """Whether receivers have pieces."""
        return bool(self._used)

    @property
    def held_bytes(self) -> int:
        """Bytes of all pieces."""
        return self._held_bytes

    def write(
        self, owner: object, parts: "Sequence[tuple[int, Buffer]]", size: int
    ) -> Piece | None:
        """Lay a payload into a piece.

        Args:
            owner: Whose the piece is from now on.
            parts: What to lay where.
            size: Bytes from the begin of the first to the end of the last.

        Returns:
            The piece; None when none can be had, then the payload has to travel in-band.
        """
        piece = self._take(size)
        try:
            if piece is None:
                piece = self._make(parts, size)
            else:
                for at, part in parts:
                    piece.memory[at : at + len(part)] = part
        except REFUSED:
            return None
        if piece is None:
            return None
        piece.number, piece.size, piece.owner = next(_numbers), size, owner
        self._used[piece.number] = piece
        return piece

    def find(self, owner: object, number: int) -> Piece | None:
        """Return a piece that a receiver has."""
        piece = self._used.get(number)
        return piece if piece is not None and piece.owner is owner else None

    def release(self, owner: object, numbers: "Iterable[int]") -> None:
        """Take back pieces of which the receiver has no view, so that they may be used again."""
        for number in numbers:
            piece = self.find(owner, number)
            if piece is not None:
                del self._used[number]
                piece.owner, piece.free_at = None, monotonic()
                self._free.append(piece)

    def drop(self, owner: object, numbers: "Iterable[int] | None" = None) -> None:
        """Leave pieces to their receiver for ever; all that it has without `numbers`."""
        if numbers is None:
            numbers = [number for number, piece in self._used.items() if piece.owner is owner]
        for number in numbers:
            piece = self.find(owner, number)
            if piece is not None:
                del self._used[number]
                self._let_go(piece)

    def trim(self, now: float) -> float | None:
        """Let go of pieces that were not used for a while; return when to look again."""
        while self._free and self._free[0].free_at + IDLE_SECONDS <= now:
            self._let_go(self._free.pop(0))
        return self._free[0].free_at + IDLE_SECONDS if self._free else None

    def close(self) -> None:
        """Let go of all pieces; views that receivers have stay good."""
        for piece in [*self._free, *self._used.values()]:
            self._let_go(piece)
        self._free.clear()
        self._used.clear()

    def _take(self, size: int) -> Piece | None:
        """Take the smallest free piece that fits."""
        fitting = [one for one in self._free if size <= len(one.memory) <= WASTE * size]
        if not fitting:
            return None
        piece = min(fitting, key=lambda one: len(one.memory))
        self._free.remove(piece)
        return piece

    def _make(self, parts: "Sequence[tuple[int, Buffer]]", size: int) -> Piece | None:
        capacity = -(-(size + size // SLACK) // mmap.PAGESIZE) * mmap.PAGESIZE
        if not self._make_room(capacity):
            return None
        mmap.mmap(-1, SPARE * capacity).close()  # fails where little would be left for all else
        piece = make_piece(parts, capacity)
        self._held_bytes += capacity
        _open.add(self)
        return piece

    def _make_room(self, size: int) -> bool:
        if not self._files_max:
            self._files_max = min(FILES_MAX, _open_files_max() // FILES_SHARE)
        if size > self._bytes_max or not self._files_max:
            return False
        while not self._has_room(size) and self._free:
            self._let_go(self._free.pop(0))
        return self._has_room(size)

    def _has_room(self, size: int) -> bool:
        count = len(self._used) + len(self._free)
        return self._held_bytes + size <= self._bytes_max and count < self._files_max

    def _let_go(self, piece: Piece) -> None:
        self._held_bytes -= len(piece.memory)
        descriptor, piece.descriptor = (
            piece.descriptor,
            -1,
        )  # in this order: another thread may fork
        os.close(descriptor)  # the memory goes with the last that refers to it: a message under way
        if not self._held_bytes:
            _open.discard(self)

    def let_go_in_child(self) -> None:
        """Close the descriptors in a forked child; the mappings are not its affair."""
        for piece in [*self._free, *self._used.values()]:
            if piece.descriptor >= 0:
                os.close(piece.descriptor)
        self._free.clear()
        self._used.clear()
        self._bytes_max = self._held_bytes = 0


class SharedPiece:
    """A memory file that any number of receivers map, and nobody writes to again.

    It goes with the last that refers to it: this object, a message under way, a mapping.

    Attributes:
        descriptor: The open file.
        size: Bytes of it.
    """

    __slots__ = ("descriptor", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        _shared.add(descriptor)

    def read(self) -> memoryview:
        """Return its bytes, for a receiver that can take no descriptor."""
        return memoryview(_read_all(self.descriptor, self.size))

    def __del__(self) -> None:
        if self.descriptor in _shared:  # else a forked child has closed it
            _shared.discard(self.descriptor)
            os.close(self.descriptor)


def next_number() -> int:
    """Return a number by which a receiver is to know a piece."""
    return next(_numbers)


def share(parts: "Sequence[tuple[int, Buffer]]", size: int) -> SharedPiece | None:
    """Lay a payload into a file for many receivers; None when none is to be had.

    Args:
        parts: What to lay where.
        size: Bytes from the begin of the first to the end of the last.
    """
    descriptor = -1
    try:
        import fcntl  # not on every system

        descriptor = os.memfd_create("adaptive-exec-piece", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, size)
        for at, part in parts:
            _write_all(descriptor, at, part)
        fcntl.fcntl(descriptor, _ADD_SEALS, _SEALS_FOR_GOOD)
    except REFUSED:
        if descriptor >= 0:
            os.close(descriptor)
        return None
    return SharedPiece(descriptor, size)


def make_piece(parts: "Sequence[tuple[int, Buffer]]", capacity: int) -> Piece:
    """Make a memory file with a payload in it.

    Filled by `write`, which fails where a mapping would end the process (no memory left under
    strict accounting), and is faster, since it need not clear the pages first.

    Raises:
        OSError: There is no descriptor, no memory, no address space, or no such call.
    """
    import fcntl  # not on every system

    descriptor = os.memfd_create("adaptive-exec-piece", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, capacity)
        end = 0
        for at, part in parts:
            _write_all(descriptor, at, part)
            end = at + len(part)
        if end < capacity:
            os.posix_fallocate(descriptor, end, capacity - end)
        memory = map_file(descriptor, capacity, mmap.MAP_SHARED)
        fcntl.fcntl(descriptor, _ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return Piece(descriptor, memory)


def _write_all(descriptor: int, at: int, part: "Buffer") -> None:
    rest = memoryview(part)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        at += written
        rest = rest[written:]


class Receipts:
    """The pieces that one receiver has mapped, and which of them it has no view of any more."""

    def __init__(self) -> None:
        self._views: dict[int, Any] = {}
        self._released: deque[int] = deque()
        self._kept: deque[int] = deque()

    def open(self, descriptor: int, number: int, size: int) -> memoryview:
        """Map a piece, or read it where it cannot be mapped, and close its descriptor.

        Returns:
            Its bytes, ours to write to. The piece is released once nothing refers to them.

        Raises:
            MemoryError: There is no memory to read it into either.
            ValueError: It is no piece of that size.
        """
        forks = _forks[0]
        try:
            if not _is_piece(descriptor, size):  # a task may have put another file in its place
                message = f"a descriptor that is no piece of {size} bytes"
                raise ValueError(message)
            try:
                memory = map_file(descriptor, size, mmap.MAP_PRIVATE)
            except REFUSED:
                content = _read_all(descriptor, size)
                self._released.append(number)
                return memoryview(content)
        finally:
            os.close(descriptor)

        def on_end(_: object) -> None:
            del self._views[number]
            (self._released if forks == _forks[0] else self._kept).append(number)

        self._views[number] = ref(memory, on_end)
        return memoryview(memory)

    def mapped_bytes(self) -> int:
        """Bytes of all mappings with views."""
        memories = [view() for view in list(self._views.values())]
        return sum(len(memory) for memory in memories if memory is not None)

    def take(self) -> tuple[list[int], list[int]]:
        """Return the numbers of pieces to give back, and of those to keep for ever; each once."""
        return _drain(self._released), _drain(self._kept)

    def __bool__(self) -> bool:
        """Say whether there is something to take."""
        return bool(self._released or self._kept)


def _is_piece(descriptor: int, size: int) -> bool:
    """Say whether a file has so many bytes, and will have them for ever."""
    import fcntl  # not on every system

    try:
        seals = fcntl.fcntl(descriptor, _GET_SEALS)
    except OSError:
        return False
    return bool(seals & _STEADY) and os.fstat(descriptor).st_size >= size


def _drain(numbers: "deque[int]") -> list[int]:
    return [numbers.popleft() for _ in range(len(numbers))]


def _read_all(descriptor: int, size: int) -> bytearray:
    content = bytearray(size)
    view, at = memoryview(content), 0
    while at < size:
        count = os.preadv(descriptor, [view[at:]], at)
        if not count:
            raise MemoryError(size)
        at += count
    return content


def map_file(descriptor: int, size: int, flags: int) -> mmap.mmap:
    """Map a file without holding a descriptor of it, as `mmap` does before Python 3.13.

    There an anonymous mapping gives its place to the file's, and its object owns that.

    Raises:
        OSError: It cannot be mapped.
    """
    if sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, size, flags, _READ_WRITE, trackfd=False)
    if _abandoned:
        raise OSError(38, "no mapping without a descriptor")
    import _ctypes  # `ctypes` costs 2 ms more

    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE)
    byte, word = _types()
    address = _ctypes.addressof(byte.from_buffer(memory))
    arguments = (word(address), word(size), _READ_WRITE, flags | _MAP_FIXED, descriptor, word(0))
    if _ctypes.call_function(_mmap_function(), arguments) == -1:
        _abandoned.append(memory)
        raise OSError(12, "a mapping cannot be replaced")
    return memory


def _types() -> "tuple[Any, Any]":
    """Return C's byte and machine word."""
    if not _made_types:
        import _ctypes

        simple: Any = _ctypes._SimpleCData  # noqa: SLF001  # `ctypes` makes its types of it
        _made_types.append(type("Byte", (simple,), {"_type_": "B"}))
        _made_types.append(type("Word", (simple,), {"_type_": "P"}))
    return _made_types[0], _made_types[1]


def _mmap_function() -> int:
    import _ctypes

    return _ctypes.dlsym(_ctypes.dlopen(None, 0), "mmap")  # type: ignore[arg-type]  # None is this program


def _open_files_max() -> int:
    limit = os.sysconf("SC_OPEN_MAX")
    return limit if limit >= 0 else FILES_MAX * FILES_SHARE


_abandoned: "list[mmap.mmap]" = []
"""A mapping that could not be replaced, one at most: whether its place is still ours is not known,
so it is not given back."""
_made_types: "list[Any]" = []
_forks = [0]
"""How often this process has forked."""
_open: "set[Arena]" = set()
"""Arenas of this process that hold pieces."""
_shared: set[int] = set()
"""Descriptors of shared pieces."""
_numbers = count(1)
"""Of pieces."""


def _before_fork() -> None:
    """From here on a child may have views of what is mapped now."""
    _forks[0] += 1


def _in_child() -> None:
    for arena in _open:
        arena.let_go_in_child()
    _open.clear()
    while _shared:
        os.close(_shared.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
