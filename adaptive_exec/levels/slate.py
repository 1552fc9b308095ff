"""A piece of memory that a worker shares with its parent: which task runs, and what is finished.

The worker writes, the parent reads, at any time and also after the worker's death, so that a dead
worker's finished results are kept and the task that was running is known. Results of one chunk lie
in one half, of the next in the other, so that the parent may still read the last while the worker
fills the next. Behind them a worker that crashes writes its stack. Decides nothing.
"""

import mmap
import os

from adaptive_exec.levels.frames import refuse
from adaptive_exec.program.last_words import STACK_BYTES

SLATE_BYTES = 384 * 1024
"""Bytes of shared memory per worker for published results and what tasks say."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

HEADER_BYTES = 128
"""Bytes before the two halves: sixteen numbers of 8 bytes, two cache lines."""
RING_BYTES = 128 * 1024
"""Bytes of what tasks say that the parent has not heard yet; see `levels/ring`."""
CUT_SECONDS = 0.002
"""Seconds after which one process sees for sure what the other has written; it takes less than a
microsecond."""
CUT = 4
"""The number that says that no more tasks of a chunk shall begin."""
_NO_CALL = (1, 38)
"""EPERM, ENOSYS: what a call gives that a sandbox or an older kernel has not."""
_MEMORY_FOLDERS = ("/dev/shm", "/run/shm", "/tmp")  # noqa: S108  # the file never has a name
_RUNNING, _SINCE, _FILLED, _WALL, _WALL_BASE, _HIT = 0, 1, 2, 10, 11, 12
_OFFSPRING, _SEEN_AT = 13, 14


class Slate:
    """The shared piece.

    Args:
        descriptor: An open memory file of `size` bytes; may be closed once this is made.
        size: Bytes.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._map = mmap.mmap(descriptor, size)
        self._bytes = memoryview(self._map)
        self.numbers = self._bytes[:HEADER_BYTES].cast("Q")
        self._half_bytes = (size - HEADER_BYTES - STACK_BYTES - RING_BYTES) // 2
        self.stack_offset = size - STACK_BYTES
        self.ring = self._bytes[self.stack_offset - RING_BYTES : self.stack_offset]

    def running(self) -> int | None:
        """Return the index of the task that is running, None between two tasks."""
        index = self.numbers[_RUNNING]
        return index - 1 if index else None

    def running_since_ns(self) -> int:
        """Return when the running task was begun, monotonic nanoseconds.

        0 when nobody asked for it.
        """
        return self.numbers[_SINCE]

    def clear(self, half: int) -> None:
        """Empty a half for a new chunk (parent, while the worker is idle.

        So that nobody reads what is old).
        """
        self.numbers[_FILLED + half] = self.numbers[CUT] = 0

    def cut(self) -> None:
        """Ask that no more tasks of the chunk begin (parent).

        Who reads `running` CUT_SECONDS later knows the last that began.
        """
        self.numbers[CUT] = 1

    def is_cut(self) -> bool:
        """Say whether no more tasks shall begin (worker, after it wrote which one would)."""
        return bool(self.numbers[CUT])

    def set_wall(self, size: int) -> int:
        """Say how much more a worker may take than it had, 0 for any (parent).

        Returns:
            What it had as it says, 0 while its wall is not up.
        """
        self.numbers[_WALL] = size
        return self.numbers[_WALL_BASE]

    def wall_bytes(self) -> int:
        """Return what `set_wall` said last (worker)."""
        return self.numbers[_WALL]

    def note_wall_base(self, size: int) -> None:
        """Write down what a worker has as its wall is put up; 0 once that is away (worker)."""
        self.numbers[_WALL_BASE] = size

    def note_hit(self, text: str) -> None:
        """Write down that the running task ran into the wall, and where (worker)."""
        self.note_stack(text)
        self.numbers[_HIT] = 1

    def note_stack(self, text: str) -> None:
        """Write down where this process was as it ended (worker)."""
        stack = text.encode("ascii", "backslashreplace")[1 - STACK_BYTES :] + b"\0"
        self._bytes[self.stack_offset : self.stack_offset + len(stack)] = stack

    def is_hit(self) -> bool:
        """Say whether the last task ran into the wall (parent)."""
        return bool(self.numbers[_HIT])

    def note_offspring(self, size: int, at_ns: int) -> None:
        """Write down what was seen that the running task has started, and when (parent)."""
        self.numbers[_OFFSPRING] = max(self.numbers[_OFFSPRING], size)
        self.numbers[_SEEN_AT] = at_ns

    def forget_offspring(self) -> None:
        """Have what is seen count from here on (worker)."""
        self.numbers[_OFFSPRING] = 0

    def offspring(self) -> tuple[int, int]:
        """Return the most bytes that were seen, 0 for nothing, and when last (worker)."""
        return self.numbers[_OFFSPRING], self.numbers[_SEEN_AT]

    def publish(self, half: int, parts: "list[Buffer]") -> bool:
        """Lay a frame into a half (worker); False when it does not fit."""
        size = sum(map(len, parts))
        filled = self.numbers[_FILLED + half]
        if filled + size > self._half_bytes:
            return False
        at = HEADER_BYTES + half * self._half_bytes + filled
        for part in parts:
            end = at + len(part)
            self._bytes[at:end] = part
            at = end
        self.numbers[_FILLED + half] = filled + size
        return True

    def filled(self, half: int) -> int:
        """Return how many bytes of a half are published (parent).

        Raises:
            NoMessageError: More than it has.
        """
        filled = self.numbers[_FILLED + half]
        if filled > self._half_bytes:
            refuse(f"{filled} bytes in shared memory of {self._half_bytes}")
        return filled

    def read(self, half: int, start: int, stop: int) -> bytes:
        """Return published bytes of a half (parent); a copy, which the worker cannot change."""
        base = HEADER_BYTES + half * self._half_bytes
        return bytes(self._bytes[base + start : base + stop])

    def stack(self) -> bytes:
        """Return what is where a crash is written down (parent)."""
        return bytes(self._bytes[self.stack_offset :])

    def keep_from_children(self) -> None:
        """Have no process that this one forks share the memory (worker).

        One that touches it all the same ends by SIGSEGV.
        """
        if hasattr(mmap, "MADV_DONTFORK"):
            self._map.madvise(mmap.MADV_DONTFORK)

    def close(self) -> None:
        """Give the memory back."""
        self.numbers.release()
        self.ring.release()
        self._bytes.release()
        try:  # noqa: SIM105  # contextlib costs a zygote 1 ms
            self._map.close()
        except BufferError:
            pass  # somebody still looks at a part, and it goes with that


def make_memory_file(size: int) -> int:
    """Make an anonymous memory file; return its descriptor.

    Where the system has no such call, or a sandbox refuses it, a file in memory that has no name.

    Raises:
        OSError: There is no memory, no descriptor, or no such file on this system.
    """
    descriptor = -1
    try:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("adaptive-exec", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, size)
            return descriptor
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        if error.errno not in _NO_CALL:
            raise
    return _make_nameless_file(size)


def _make_nameless_file(size: int) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_TMPFILE", 0)
    is_known = bool(flags & getattr(os, "O_DIRECTORY", 0))  # a part of the flag, Linux's alone
    for folder in _MEMORY_FOLDERS if is_known else ():
        descriptor = -1
        try:
            descriptor = os.open(folder, flags, 0o600)
            if size:  # all of it: who touches a page that a full disk refuses would die
                os.posix_fallocate(descriptor, 0, size)
        except OSError:
            if descriptor >= 0:
                os.close(descriptor)
            continue
        return descriptor
    raise OSError(38, "memfd_create is not implemented")
