"""Measures in a worker how much memory its tasks take, and gives back what the allocator keeps.

Linux: the high-water mark is reset before a task and read after it (10 to 30 us together).
Elsewhere, or where that is refused, the highest size of the process's life is all there is.
Imports little, since every worker imports it. Decides nothing about tasks.
"""

import os
from time import monotonic_ns, perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from adaptive_exec.levels.slate import Slate

PEAK_TASK_SECONDS = 0.0025
"""Seconds; each longer task is measured by itself, which costs it at most 1 %."""
PEAK_EVERY_SECONDS = 0.05
"""Seconds between two measurements while tasks are shorter: then one chunk is measured, 0.1 %."""
TRIM_BYTES = 32 * 1024 * 1024
"""Bytes that a worker must have kept more before the allocator is asked to give them back. Source:
the largest block that glibc keeps in its heap (M_MMAP_THRESHOLD_MAX)."""
FILL_BYTES_PER_SECOND = 2.7e9
"""Bytes per second that a core fills with pages. Source: as FILL_BYTES_PER_CORE."""
OWN_SLACK_BYTES = 1024 * 1024
"""Bytes by which a child must have had more than this process ever had to be told apart."""


class MemoryMeter:
    """Reads how much this process's memory grew: high-water mark minus size before.

    With it goes what was started by the task and has ended, or was seen by the parent.

    Args:
        shared_bytes: Says how much of it may be payloads shared with the parent; these do not
            count.
        slate: Where the parent writes what it has seen of processes that were started here.
    """

    def __init__(self, shared_bytes: "Callable[[], int]", slate: "Slate | None" = None) -> None:
        self._shared_bytes = shared_bytes
        self._offspring = EndedChildren(slate)
        self._due_at = 0.0
        self._base: int | None = None
        self._before = 0
        self._highest = 0
        self._trimmed = 0
        self._shared_part = 0
        self._status = self._clear = self._statm = -1
        try:
            self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
            self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
            self._clear = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
            os.pwrite(self._clear, b"5", 0)
        except OSError:
            self._clear = -1
        self._page_bytes = os.sysconf("SC_PAGE_SIZE") if self._statm >= 0 else 0

    def begin(self) -> bool:
        """Begin to measure where the last time is long enough ago; return whether it was.

        What loading a function or arguments took is there already, and does not count.
        """
        if perf_counter() < self._due_at:
            return False
        try:
            if self._clear >= 0:
                os.pwrite(self._clear, b"5", 0)
            size = self._size()
        except (OSError, ValueError):
            self._clear = -1
            size = self._size_elsewhere()
        self._before = size
        if self._base is None:
            self._base = self._trimmed = size
        self._highest = max(self._highest, size)
        self._offspring.begin()
        return True

    def read(self) -> int | None:
        """Return the growth in bytes since the beginning; None where it cannot be read.

        Short tasks are then left alone for a while.
        """
        self._due_at = perf_counter() + PEAK_EVERY_SECONDS
        peak = self._peak()
        if peak is None:
            return None
        peak += self._offspring.read(peak + self._shared_part)
        self._highest = max(self._highest, peak)
        return max(0, peak - self._before)

    def expect(self) -> None:
        """Measure the next task whatever the time: the last one was long."""
        self._due_at = 0.0

    def sum_up(self, held_bytes: int) -> tuple[int | None, int | None, int | None]:
        """Say what the last tasks took from this process, and what is kept of it.

        Args:
            held_bytes: Arguments and results that are still here and go with the report.

        Returns:
            Bytes by which the process was at its highest larger than before its first task, by
            which it is larger now, and what it had before that; None where unknown. The first is
            counted anew from here.
        """
        highest, self._highest = self._highest, 0
        if self._base is None or not highest:
            return None, None, None
        kept = self._kept(held_bytes)
        if kept is not None and kept >= self._trimmed + TRIM_BYTES:
            trim()
            kept = self._trimmed = self._kept(held_bytes) or 0
        return max(0, highest - self._base), kept, self._base

    def _kept(self, held_bytes: int) -> int | None:
        if self._clear < 0:
            return None
        try:
            return max(0, self._size() - (self._base or 0) - held_bytes)
        except (OSError, ValueError, IndexError):
            return None

    def _size(self) -> int:
        if self._clear < 0:
            return self._size_elsewhere()
        size = int(os.pread(self._statm, 256, 0).split(None, 2)[1]) * self._page_bytes
        return size - self._shared()

    def _peak(self) -> int | None:
        if self._clear < 0:
            return self._size_elsewhere() or None
        try:
            self._shared_part = self._shared()
            return self._field(b"VmHWM:") - self._shared_part
        except (OSError, ValueError):
            return None

    def _shared(self) -> int:
        """Return bytes of shared memory in this process's size, as far as they may be payloads."""
        most = self._shared_bytes()
        return min(most, self._field(b"RssShmem:")) if most else 0

    def _field(self, name: bytes) -> int:
        return read_field(self._status, name)

    def _size_elsewhere(self) -> int:
        """Return the highest size of the process's life, 0 where not even that is known."""
        return _most_bytes(of_children=False)


class EndedChildren:
    """Says what the processes took at most that a task has started.

    The parent looks at them while they live. The largest that ever was, among all that have ended,
    the kernel knows: so much one may have had that was not seen, or not at its end, as far as there
    was time to fill it. A new largest one ran just now, and has had that for sure unless it was
    forked, since then it began with what this process has.

    Args:
        slate: Where the parent writes what it has seen, None where it cannot.

    Source:
        man 2 getrusage, RUSAGE_CHILDREN. What a child had as a fork of this process, before it
        became another program, counts with it; of those that took less nothing is known.
    """

    def __init__(self, slate: "Slate | None") -> None:
        self._slate = slate
        self._used = _used_by_children()
        self._largest = self._own = 0

    def begin(self) -> None:
        """Count from here."""
        if self._slate is not None:
            self._slate.forget_offspring()

    def read(self, own_bytes: int) -> int:
        """Return what those took together since the beginning, 0 for nothing.

        Args:
            own_bytes: The most that this process has had meanwhile, shared memory included.
        """
        self._own = max(self._own, own_bytes)
        used = _used_by_children()
        seconds, self._used = used - self._used, used
        seen, seen_at_ns = (0, 0) if self._slate is None else self._slate.offspring()
        if not seconds:
            return seen
        largest = _most_bytes(of_children=True)
        if largest <= self._own + OWN_SLACK_BYTES:
            return seen
        rate = FILL_BYTES_PER_SECOND if largest <= self._largest else 4 * FILL_BYTES_PER_SECOND
        self._largest = max(self._largest, largest)
        if seen:
            seconds = min(seconds, (monotonic_ns() - seen_at_ns) / 1e9)
        return max(seen, min(largest, seen + int(seconds * rate)))


def _used_by_children() -> float:
    """Return the processor time of all children that have ended, in seconds; 0.3 us."""
    times = os.times()
    return times.children_user + times.children_system


def _most_bytes(*, of_children: bool) -> int:
    """Return the most that this process, or one of its children that have ended, ever had."""
    try:
        import resource  # 0.2 ms, and not everywhere
        import sys
    except ImportError:
        return 0
    who = resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF
    most = resource.getrusage(who).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # macOS counts bytes, all else KiB


def read_field(status: int, name: bytes) -> int:
    """Return how many bytes a line of an open `/proc/self/status` tells.

    Raises:
        OSError: It cannot be read.
        ValueError: There is no such line.
    """
    return find_field(os.pread(status, 4096, 0), name) * 1024


def find_field(text: bytes, name: bytes) -> int:
    """Return the number of a line of such a text, without its unit.

    Raises:
        ValueError: There is no such line.
    """
    at = text.index(b"\n" + name) + len(name) + 1
    end = text.find(b"\n", at)
    return int(text[at : end if end >= 0 else None].removesuffix(b"kB"))


def trim() -> bool:
    """Have the allocator give free memory back to the system; False where it cannot be asked."""
    try:
        import _ctypes  # `ctypes` costs 2 ms more, and some Pythons have neither

        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is this program itself
        _ctypes.call_function(_ctypes.dlsym(library, "malloc_trim"), (0,))
    except (ImportError, AttributeError, OSError):
        return False
    return True


def collect_and_trim() -> bool:
    """Collect cyclic garbage, then `trim`."""
    import gc

    gc.collect()
    return trim()
