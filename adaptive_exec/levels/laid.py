"""What large functions carry, laid into memory for all workers, and found again while it is alike.

A loop of maps makes its function anew each time, mostly over the same arrays. These are compared
with what was laid, byte for byte, which takes a third of the time of laying them; each has a file
of its own, so that one that has changed is laid alone, and a small pickle travels beside them, so
that it may differ. Holds nothing itself: what was laid lives as long as functions that carry it,
and workers that had it a moment ago. Decides nothing else.
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
APART_BYTES = 1024 * 1024
"""Bytes of a buffer from which it has a file of its own. Source: SHARED_FROM_BYTES of
`program/names`; the file and its mapping take 20 us, copying as much 100."""
APART_MAX = 16
"""Buffers of one function that have files of their own, and so its descriptors; of more the
largest."""


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
        """Note who needs it: the content of a function, which lives as long as that does."""
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


class Spread:
    """A function's content, spread over files: one for each large buffer, one for all else.

    Attributes:
        laid: The files in the order of the buffers, that of all else last, where there is one.
        apart: Which buffers have a file of their own.
        beside: The pickle where it does not lie with all else.
    """

    __slots__ = ("__weakref__", "apart", "beside", "laid")

    def __init__(self, apart: tuple[int, ...], beside: bytes) -> None:
        self.apart = apart
        self.beside = beside
        self.laid: tuple[Laid, ...] = ()

    @property
    def pieces(self) -> tuple[SharedPiece, ...]:
        """The files."""
        return tuple(one.piece for one in self.laid if one.piece is not None)

    @property
    def rest(self) -> Laid | None:
        """Where all else lies, None where there is nothing else."""
        return self.laid[-1] if len(self.laid) > len(self.apart) else None


def lay(content: Content) -> Spread | None:
    """Lay a function's content, or find it part by part; None where there is no memory for all."""
    size, *sizes = content.sizes
    apart = _large_ones(sizes)
    beside = b"".join(content.pieces) if size <= BESIDE_BYTES and sizes else b""
    spread = Spread(apart, beside)
    parts = [Content([], [content.buffers[at]]) for at in apart]
    others = [one for at, one in enumerate(content.buffers) if at not in apart]
    if others or not beside:
        parts.append(Content([] if beside else content.pieces, others))
    found = [_find(part, spread) for part in parts]  # all of them before anything makes room
    laid = [one or _lay_one(part, spread) for one, part in zip(found, parts, strict=True)]
    spread.laid = tuple(one for one in laid if one is not None)
    return spread if len(spread.laid) == len(parts) else None


def _large_ones(sizes: list[int]) -> tuple[int, ...]:
    large = [at for at, size in enumerate(sizes) if size >= APART_BYTES]
    return tuple(sorted(sorted(large, key=lambda at: -sizes[at])[:APART_MAX]))


def _lay_one(part: Content, user: Spread) -> Laid | None:
    _make_room(part.sizes)
    places = lay_out(part.sizes)
    piece = share(places_of(part, places), sum(places[-1]))
    if piece is None:
        return None
    laid = Laid(piece, part.sizes)
    laid.note_user(user)
    with _lock:
        _known.insert(0, ref(laid))
    return laid


def places_of(content: Content, places: list[tuple[int, int]]) -> list[tuple[int, Buffer]]:
    """Say where each part of a content lies."""
    parts: list[tuple[int, Buffer]] = []
    at = places[0][0]
    for part in content.pieces:
        parts.append((at, part))
        at += len(part)
    buffers = zip(places[1:], content.buffers, strict=True)
    return parts + [(start, buffer) for (start, _), buffer in buffers]


def _find(part: Content, user: Spread) -> Laid | None:
    parts = places_of(part, lay_out(part.sizes))
    alike = [one for one in _all() if one.lengths == part.sizes]
    found = next((one for one in alike if one.holds(parts)), None)
    if found is not None:
        found.note_user(user)
    return found


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
