"""Reads memory where there is no `/proc` (macOS, Windows, Pyodide): psutil, else `os.sysconf`.

psutil takes 30 ms to import, so it is loaded only when the files did not tell, and its absence is
remembered; where no descriptor or memory is left to load it, it is tried again the next time.
"""

import os
from functools import cache
from types import ModuleType

from adaptive_exec.core.snapshot import Limit
from adaptive_exec.host.memory_limits import FoundLimit


def read_elsewhere() -> FoundLimit:
    """Read total and available memory without `/proc`.

    Returns:
        What psutil says, else what `os.sysconf` says, else nothing.
    """
    try:
        psutil = _load_psutil()
    except (OSError, MemoryError):
        psutil = None
    return (_from_psutil(psutil) if psutil else None) or _from_sysconf()


@cache
def _load_psutil() -> ModuleType | None:
    try:
        import psutil
    except ImportError:
        return None
    return psutil


def _from_psutil(psutil: ModuleType) -> FoundLimit | None:
    try:
        memory = psutil.virtual_memory()
    except (OSError, RuntimeError, KeyError, ValueError):
        # psutil without /proc on Linux, or with one it cannot parse.
        return None
    return FoundLimit(
        (Limit("memory", int(memory.total), "psutil virtual_memory total"),),
        (Limit("memory", int(memory.available), "psutil virtual_memory available"),),
    )


def _from_sysconf() -> FoundLimit:
    return FoundLimit(_pages("SC_PHYS_PAGES"), _pages("SC_AVPHYS_PAGES"))


def _pages(name: str) -> tuple[Limit, ...]:
    if not hasattr(os, "sysconf"):
        return ()
    try:
        size_bytes = os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return ()
    return (Limit("memory", size_bytes, f"sysconf {name}"),) if size_bytes > 0 else ()
