"""Reads what a process and all that it has started take of memory, where there is a `/proc`.

Counted is what is not of a file: of pages that a fork left shared, each process counts its own, so
the sum errs on the high side by a few MB for each. Decides nothing.

Source: man 5 proc, `statm` and `task/<tid>/children`.
"""

import os
from collections.abc import Iterator

from adaptive_exec.host.reading import read_file, whole

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def read_tree_bytes(pid: int) -> int:
    """Return what a process and its descendants hold in RAM beside files, 0 where unreadable."""
    return sum(_own_bytes(one) for one in _descend(pid))


def _descend(pid: int) -> Iterator[int]:
    known, line = {pid}, [pid]
    while line:
        one = line.pop()
        yield one
        fresh = [child for child in _children(one) if child not in known]
        known.update(fresh)
        line.extend(fresh)


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    lists = (read_file(f"/proc/{pid}/task/{thread}/children") or b"" for thread in threads)
    return [int(child) for one in lists for child in one.split() if child.isdigit()]


def _own_bytes(pid: int) -> int:
    words = (read_file(f"/proc/{pid}/statm") or b"").split()
    resident, shared = (whole(word) or 0 for word in (words[1:3] or (b"0", b"0")))
    return max(0, resident - shared) * _PAGE_BYTES
