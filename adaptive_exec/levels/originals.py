"""Sockets and poll as the operating system has them, whatever a program has put in their place.

A program may give all new sockets a time-out, gevent and eventlet replace what waits by what lets
other green threads run, and test suites forbid sockets. Ours are made by the C module underneath,
and each is told whether it waits.
"""

import _socket
import os
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def make_pair(kind: int) -> "tuple[_socket.socket, _socket.socket]":
    """Make two connected sockets: ours, which never waits, and the other process's, which does.

    Args:
        kind: `SOCK_STREAM` or `SOCK_SEQPACKET`.

    Raises:
        OSError: A descriptor was refused.
    """
    ours, theirs = map(_lift, _socket.socketpair(_socket.AF_UNIX, kind))
    ours.setblocking(False)  # noqa: FBT003  # so is the method made
    theirs.setblocking(True)  # noqa: FBT003
    return ours, theirs


def open_socket(descriptor: int) -> "_socket.socket":
    """Make a socket of a descriptor that waits as long as it takes."""
    link = _socket.socket(fileno=descriptor)
    link.setblocking(True)  # noqa: FBT003  # as above
    return link


def lift(descriptor: int) -> int:
    """Move a descriptor away from those of the standard streams, where a program has closed them.

    What a library prints there would go into it.
    """
    if descriptor > 2:  # noqa: PLR2004  # standard error
        return descriptor
    import fcntl

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _lift(link: "_socket.socket") -> "_socket.socket":
    return link if link.fileno() > 2 else _socket.socket(fileno=lift(link.detach()))  # noqa: PLR2004  # as above


def send_with(link: "_socket.socket", message: bytes, descriptors: "list[int]") -> None:
    """Send a message with descriptors that the other end gets copies of."""
    import array  # 1 ms, only in the parent

    rights = array.array("i", descriptors)
    link.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def make_poll() -> "Any":
    """Make a poll object; of green threads, one that lets the others run.

    Raises:
        OSError: There is no memory.
    """
    make = getattr(select, "poll", None)
    return SelectPoll() if make is None else make()


def make_plain_poll() -> "Any":
    """Make a poll object that blocks its process, for processes with a single thread."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None:
        return gevent.get_original("select", "poll")()
    if eventlet is not None:
        return eventlet.original("select").poll()
    return select.poll()


class SelectPoll:
    """What `select.poll` does, by `select.select`: eventlet takes away all but that."""

    def __init__(self) -> None:
        self._wanted: dict[int, int] = {}

    def register(self, descriptor: int, bits: int) -> None:
        """Watch a descriptor."""
        self._wanted[descriptor] = bits

    modify = register

    def unregister(self, descriptor: int) -> None:
        """Watch a descriptor no more."""
        del self._wanted[descriptor]

    def poll(self, milliseconds: float) -> "list[tuple[int, int]]":
        """Wait for what is watched."""
        reading = [one for one, bits in self._wanted.items() if bits & READ]
        writing = [one for one, bits in self._wanted.items() if bits & WRITE]
        ready = select.select(reading, writing, [], milliseconds / 1000)
        found = dict.fromkeys(ready[0], READ)
        for one in ready[1]:
            found[one] = found.get(one, 0) | WRITE
        return list(found.items())


READ, WRITE = getattr(select, "POLLIN", 1), getattr(select, "POLLOUT", 4)
"""Bits of poll; of the same value on all systems that have it."""
