"""Compare what this process holds before and after a test: descriptors, threads, children, memory.

Waits with a bound for what ends by itself; then fails, naming what was left.
"""

import gc
import inspect
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from adaptive_exec.levels.arena import Piece, SharedPiece

SETTLE_SECONDS: Final = 60.0
"""Seconds that what was used may take to be gone; a worker gets 2 s to end by itself."""
POLL_SECONDS: Final = 0.005
"""Seconds between two looks."""


@contextmanager
def watch_for_leaks() -> Iterator[None]:
    """Fail when the body leaves a descriptor, thread, child or shared memory file behind."""
    before = _held()
    yield
    left: dict[str, set[str]] = {}

    def is_clean() -> bool:
        after = _held()
        left.clear()
        left.update({kind: after[kind] - before[kind] for kind in after})
        if any(left.values()):
            gc.collect()
        return not any(left.values())

    if not eventually(is_clean, seconds=SETTLE_SECONDS):
        message = f"left behind: { {kind: names for kind, names in left.items() if names} }"
        raise AssertionError(f"{message}\n" + "\n".join(_holders()))


def eventually(condition: Callable[[], object], *, seconds: float = 60.0) -> bool:
    """Wait for a condition with a bound; return whether it came."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that has ended and only waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descendants(pid: int | None = None) -> list[psutil.Process]:
    """Return all processes below one (default: this one) that still run."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in found if is_alive(process.pid)]


def zygotes(pid: int | None = None) -> list[psutil.Process]:
    """Return the direct children of a process (default: this one) that are not loky's."""
    return [process for process, words in _children(pid) if not _is_lokys(words)]


def workers(pid: int | None = None) -> list[psutil.Process]:
    """Return the children of those, and the workers among loky's processes."""
    found = [process for process, words in _children(pid) if "loky.backend.popen_loky" in words]
    for zygote in zygotes(pid):
        try:
            found += [process for process in zygote.children() if is_alive(process.pid)]
        except psutil.NoSuchProcess:
            continue
    return found


def _is_lokys(words: str) -> bool:
    return "loky.backend" in words or "resource_tracker" in words


def _children(pid: int | None) -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.Process(pid).children():
        try:
            if is_alive(process.pid):
                yield process, " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue


def mapped_pieces() -> Iterator[str]:
    """Yield where this process has mapped pieces of memory files with large payloads."""
    with Path("/proc/self/maps").open() as file:
        for line in file:
            if "memfd:adaptive-exec-piece" in line:
                yield line.split(maxsplit=1)[0]


def _holders() -> Iterator[str]:
    """Say who refers to the pieces of memory files that are left, two steps far."""
    for piece in gc.get_objects():
        if isinstance(piece, Piece | SharedPiece):
            holders = [one for one in gc.get_referrers(piece) if not inspect.isframe(one)]
            beyond = [type(one).__name__ for holder in holders for one in gc.get_referrers(holder)]
            told = ", ".join(f"{type(one).__name__} {str(one)[:300]}" for one in holders)
            yield f"{type(piece).__name__} {piece.descriptor} of {piece.size}: {told}; {beyond}"


def _held() -> dict[str, set[str]]:
    return {
        "descriptors": set(_descriptors()),
        "threads": {
            f"{thread.name}-{thread.ident}"
            for thread in threading.enumerate()
            if not thread.name.startswith("pytest_timeout")  # one for each test
        },
        "children": {f"{process.pid}" for process in psutil.Process().children()},
        "mapped pieces": set(mapped_pieces()),
        "shared memory": set(_shared_memory()),
    }


def _shared_memory() -> Iterator[str]:
    """Yield files of shared memory that bear this process's number, not one that contains it."""
    for path in Path("/dev/shm").iterdir():
        if f"{os.getpid()}" in re.split("[-_.]", path.name):
            yield path.name


def _descriptors() -> Iterator[str]:
    """Yield what is open, but for what is read of processes below this one that live."""
    below = {f"{process.pid}" for process in descendants()}
    for path in Path("/proc/self/fd").iterdir():
        try:
            target = f"{path.readlink()}"
        except OSError:
            continue
        parts = target.split("/")
        if not (parts[:2] == ["", "proc"] and parts[2] in below):
            yield f"{path.name} {target}"
