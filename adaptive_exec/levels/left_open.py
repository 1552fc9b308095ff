"""What loading has left open that workers may not have from one process, by its descriptors.

A fork shares open files, not only their numbers: where one worker seeks, all read on, and of a
connection each gets a part of the answer. Imports little: every zygote imports it. Decides nothing
about what follows.
"""

import os
import sys

from adaptive_exec.program.generators import find_instances, type_family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

NAMED_MAX, NAME_LETTERS = 20, 200
"""What is told of open files at most, so that the message is not too long."""
_QUIET_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts/", "console")
"""Devices that have no place in them, or are everybody's."""
_PIECES = ("pym-", "psm_", "sem.", "adaptive-exec")
"""What names of shared memory begin with: of `multiprocessing`'s heap, its `SharedMemory` and
semaphores, and ours. It is read by its address, and is there to be shared."""
_QUIET_INODES = ("anon_inode:[pidfd]", "pidfd:", "/memfd:")
_UNFIT_MODULES = {"mpi4py.MPI": "MPI"}
"""Modules that join something when they are imported which one process may be in, no copy of it.
Source: mpi4py's manual, `mpi4py.rc.initialize`; the standard of MPI knows no fork."""
_WRITES_ONLY = os.O_WRONLY
_ACCESS = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


def list_open() -> "frozenset[tuple[int, str]]":
    """Return all descriptors of this process, each with what it is of; none without a /proc."""
    return frozenset(_list_open())


def find_left_open(before: "frozenset[tuple[int, str]]") -> "list[str]":
    """Name what is open by now that copies of this process cannot use independently.

    Args:
        before: What was open before, by `list_open`.
    """
    found = {number: text for number, text in _list_open() if (number, text) not in before}
    found = {number: text for number, text in found.items() if _has_a_place(number, text)}
    for number in numbers_of_multiprocessing() if found else ():
        found.pop(number, None)
    runtimes = [name for module, name in _UNFIT_MODULES.items() if module in sys.modules]
    return [text[:NAME_LETTERS] for text in sorted({*found.values(), *runtimes})][:NAMED_MAX]


def is_shared_memory(text: str) -> bool:
    """Say whether what a descriptor is of is memory that processes share by its address."""
    return text.rpartition("/")[2].startswith(_PIECES)


def _list_open() -> "Iterator[tuple[int, str]]":
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return
    for number in numbers:
        try:
            yield int(number), os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # that of the folder itself


def _has_a_place(number: int, text: str) -> bool:
    """Say whether it has a position, a state or a peer of which there is one."""
    if text.startswith(_QUIET_INODES) or is_shared_memory(text):
        return False
    device = text.removeprefix("/dev/")
    if device != text and device.startswith(_QUIET_DEVICES):
        return False
    if not text.startswith("/") or (device != text and not device.startswith("shm/")):
        return True
    return not os.path.isdir(f"/proc/self/fd/{number}") and _is_read(number)


def _is_read(number: int) -> bool:
    """Say whether a file is read from; what is only written is to be appended to by all."""
    try:
        with open(f"/proc/self/fdinfo/{number}", "rb", buffering=0) as file:
            lines = file.read(1024).split(b"\n")
    except OSError:
        return False
    flags = next((int(line.split()[1], 8) for line in lines if line.startswith(b"flags:")), 0)
    return flags & _ACCESS != _WRITES_ONLY and not flags & os.O_PATH


def numbers_of_multiprocessing() -> "Iterator[int]":
    """Yield the pipes of queues and of trackers, which its processes inherit: they are shared."""
    yield from numbers_of_trackers()
    yield from numbers_of_connections(find_instances(connection_kinds()))


def numbers_of_trackers() -> "Iterator[int]":
    """Yield the pipes of those who remove what processes have left."""
    for name in ("multiprocessing.resource_tracker", "loky.backend.resource_tracker"):
        tracker = getattr(sys.modules.get(name), "_resource_tracker", None)
        descriptor = getattr(tracker, "_fd", None)
        if isinstance(descriptor, int):
            yield descriptor


def numbers_of_connections(found: "list[Any]") -> "Iterator[int]":
    """Yield the descriptors of connections that are among objects.

    Args:
        found: The objects.
    """
    kinds = connection_kinds()
    yield from (one.fileno() for one in found if type(one) in kinds and not one.closed)


def connection_kinds() -> "set[type]":
    """Return all types of connections of `multiprocessing` that are loaded."""
    connection = sys.modules.get("multiprocessing.connection")
    if connection is None:
        return set()
    return type_family(connection._ConnectionBase)  # noqa: SLF001  # there is no public one
