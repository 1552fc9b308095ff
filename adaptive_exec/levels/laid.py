"""What large functions carry, laid into memory for all workers, and found again while it is alike.

A loop of maps makes its function anew each time, mostly over the same arrays. These are compared
with what was laid, byte for byte, which takes a third of the time of laying them, and a small
pickle travels beside them, so that it may differ. Holds nothing itself: what was laid lives as long
as functions that carry it, and workers that had it a moment ago. Decides nothing else.
"""

import os
import threading
from collections.abc import Sequence
from weakref import ref

from adaptive_exec.levels.arena import ARENA_BYTES_MAX, SharedPiece, share
from adaptive_exec.levels.frames import lay_out
from adaptive_exec.program.names import Content, lies_at

Buffer = bytes | bytearray | memoryview

BESIDE_BYTES = 64 * 1024
"""Bytes of a pickle up to which it travels by itself, beside the buffers that were laid: as much as
the socket takes in one piece."""


class Laid:
    """Buffers in a file, which workers map.

    Attributes:
        piece: The file, None once it is held for nobody.
        lengths: Bytes of the pickle, 0 where it travels beside, and of each buffer.
    """

    __slots__ = ("__weakref__", "_users", "lengths", "piece")

    def __init__(self, piece: SharedPiece, lengths: tuple[int, ...]) -> None:
        self.piece: SharedPiece | None = piece
        self.lengths = lengths
        self._users: list[ref[object]] = []

    def note_user(self, function: object) -> None:
        """Note who needs it."""
        self._users = [one for one in self._users if one() is not None]
        self._users.append(ref(function))

    @property
    def is_idle(self) -> bool:
        """Whether no function carries it any more."""
        return all(one() is None for one in self._users)

    def holds(self, parts: Sequence[tuple[int, Buffer]]) -> bool:
        """Say whether these parts lie there, byte for byte."""
        piece = self.piece
        return piece is not None and all(lies_at(piece.descriptor, at, part) for at, part in parts)


def lay(content: Content) -> tuple[Laid, bytes] | None:
    """Lay a function's content, or find it; None where there is no memory for all.

    Returns:
        Where it lies, and the pickle where it does not lie there.
    """
    size, *sizes = content.sizes
    beside = b"".join(content.pieces) if size <= BESIDE_BYTES and sizes else b""
    lengths = (0 if beside else size, *sizes)
    parts = places_of(Content([], content.buffers) if beside else content, lay_out(lengths))
    found = _find(lengths, parts)
    if found is not None:
        return found, beside
    _make_room(lengths)
    piece = share(parts, sum(lay_out(lengths)[-1]))
    if piece is None:
        return None
    laid = Laid(piece, lengths)
    with _lock:
        _known.insert(0, ref(laid))
    return laid, beside


def places_of(content: Content, places: list[tuple[int, int]]) -> list[tuple[int, Buffer]]:
    """Say where each part of a content lies."""
    parts: list[tuple[int, Buffer]] = []
    at = places[0][0]
    for part in content.pieces:
        parts.append((at, part))
        at += len(part)
    buffers = zip(places[1:], content.buffers, strict=True)
    return parts + [(start, buffer) for (start, _), buffer in buffers]


def _find(lengths: tuple[int, ...], parts: list[tuple[int, Buffer]]) -> Laid | None:
    alike = [one for one in _all() if one.lengths == lengths]
    return next((one for one in alike if one.holds(parts)), None)


def _make_room(lengths: tuple[int, ...]) -> None:
    """Hold what no function carries no longer, where other content takes its place.

    Of what has other lengths, and may be meant again, so much stays as an arena has: the newest.
    """
    room = ARENA_BYTES_MAX - sum(lengths)
    for one in _all():
        piece = one.piece
        if piece is None or not one.is_idle:
            continue
        if one.lengths == lengths or piece.size > room:
            one.piece = None
        else:
            room -= piece.size


def _all() -> list[Laid]:
    """Return what lies somewhere, the newest first."""
    with _lock:
        _known[:] = [one for one in _known if _is_there(one())]
        return [laid for one in _known if (laid := one()) is not None]


def _is_there(laid: Laid | None) -> bool:
    return laid is not None and laid.piece is not None


_lock = threading.RLock()  # a finalizer may pack something at any line
_known: list[ref[Laid]] = []


def _begin_anew() -> None:
    """Know of nothing in a forked child: the files are closed there."""
    global _lock  # noqa: PLW0603  # another thread may have had it
    _lock = threading.RLock()
    _known.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
