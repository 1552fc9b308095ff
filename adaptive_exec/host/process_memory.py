"""Reads the memory of one process, and resets the peak of the own one.

What cannot be read (no `/proc`, another user's process, one that has ended) is None. A zombie has a
state but no memory. Decides nothing about what is too much.

Source: man 5 proc; kernel Documentation/filesystems/proc.rst (`clear_refs`, `smaps_rollup`).
"""

import os
from typing import Final, NamedTuple

from adaptive_exec.config import KIB
from adaptive_exec.host.reading import number_after, read_file
from adaptive_exec.system.processes import STATE, read_stat

_RESET_PEAK: Final = b"5"
"""What to write to clear_refs to make VmHWM equal to the present size (Linux 4.0)."""


class ProcessMemory(NamedTuple):
    """One process at one instant; None where it was not readable.

    Attributes:
        resident_bytes: Memory that the process has in RAM, shared pages included.
        peak_bytes: Its highest value since the start or the last reset.
        state: The kernel's letter: R running, S sleeping, D waiting for a disk, T stopped, Z ended
            but not reaped.
    """

    resident_bytes: int | None
    peak_bytes: int | None
    state: str | None


def read_process(pid: int) -> ProcessMemory | None:
    """Read one process.

    Args:
        pid: Its id.

    Returns:
        What was readable, or None where nothing was.
    """
    status = read_file(f"/proc/{pid}/status")
    words = read_stat(pid)
    if status is None and not words:
        return None
    return ProcessMemory(
        resident_bytes=_kilobytes(status, b"VmRSS:"),
        peak_bytes=_kilobytes(status, b"VmHWM:"),
        state=words[STATE].decode("ascii", "replace") if words else None,
    )


def reset_peak() -> bool:
    """Make the own peak equal to the present size.

    Returns:
        False where the kernel refuses (no `/proc`, or not dumpable after a change of user).
    """
    try:
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return False
    try:
        return os.write(descriptor, _RESET_PEAK) == len(_RESET_PEAK)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def own_memory() -> int | None:
    """Return the bytes that would be free if this process ended: its private pages.

    Returns:
        Bytes, or None where the kernel does not tell (before Linux 4.14).
    """
    text = read_file("/proc/self/smaps_rollup")
    clean, dirty = _kilobytes(text, b"Private_Clean:"), _kilobytes(text, b"Private_Dirty:")
    return None if clean is None or dirty is None else clean + dirty


def _kilobytes(text: bytes | None, key: bytes) -> int | None:
    number = number_after(text, key)
    return None if number is None else number * KIB
