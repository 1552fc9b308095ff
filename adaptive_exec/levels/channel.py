"""Both directions of the socket between parent and worker, with large payloads beside it.

A payload of some size goes into a piece of memory (`levels/arena`) if one can be had, else along
with its frame. A descriptor that the receiver had no room for is asked for again and comes in-band;
from then on all does. Knows frames about pieces; leaves all others to its user, in order.
"""

from collections import deque
from time import monotonic

from adaptive_exec.levels.arena import FROM_BYTES, Arena, Receipts, next_number
from adaptive_exec.levels.frames import (
    COVERED_BYTES,
    FROM_PARENT,
    FROM_WORKER,
    UNCHECKED,
    Frame,
    Incoming,
    NoMessageError,
    Outgoing,
    Stamp,
    check_head,
    frame_beside,
    frame_parts,
    lay_out,
    refuse,
)
from adaptive_exec.levels.originals import READ, make_plain_poll
from adaptive_exec.levels.wire import RELEASED, RESEND, RESENT, Packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from adaptive_exec.levels.arena import SharedPiece
    from adaptive_exec.levels.frames import Buffer


class Channel:
    """One end.

    Args:
        link: The socket; blocking, or not.
        arena: Where our large payloads go. Several channels may share one.
        key: What only the two ends know.
        is_worker: Whose end it is.
    """

    def __init__(
        self, link: "_socket.socket", arena: Arena, key: bytes, *, is_worker: bool = False
    ) -> None:
        ours, theirs = (FROM_WORKER, FROM_PARENT) if is_worker else (FROM_PARENT, FROM_WORKER)
        self._link = link
        self._arena = arena
        self._is_beside = bool(arena)
        self._receipts = Receipts()
        self._stamp = Stamp(key, ours)
        self._incoming = Incoming(link, self._receipts, Stamp(key, theirs))
        self._outgoing = Outgoing(link)
        self._frames: deque[Frame] = deque()
        self._answers = False
        self._lent: dict[int, SharedPiece] = {}

    @property
    def fault(self) -> NoMessageError | None:
        """Why nothing is read any more: what came was no message; None while all is well."""
        return self._incoming.fault

    def put(self, head: "tuple[Any, ...]", packed: Packed | None = None) -> None:
        """Add a frame behind what waits already."""
        if self._receipts:
            self.tell_released()
        if packed is None:
            self._outgoing.put(frame_parts(self._stamp, head))
        elif packed.size < FROM_BYTES or not self._is_beside or not self._put_beside(head, packed):
            body, check = b"".join(packed.pieces), UNCHECKED
            if len(body) > COVERED_BYTES:
                check = self._stamp.check(packed.pieces)
            self._outgoing.put(frame_parts(self._stamp, head, body, packed.buffers, check=check))

    def put_shared(
        self, head: "tuple[Any, ...]", lengths: "tuple[int, ...]", piece: "SharedPiece"
    ) -> None:
        """Add a frame whose body and buffers, of these lengths, many receivers share."""
        if self._is_beside:
            number = next_number()  # it may come twice: each has an end of its own
            self._lent[number] = piece
            frame = frame_beside(self._stamp, head, lengths, (number, piece.size))
            self._outgoing.put_beside(frame, piece)
            return
        content = piece.read()
        body, *buffers = (content[at : at + size] for at, size in lay_out(lengths))
        self._outgoing.put(frame_parts(self._stamp, head, body, buffers))

    def tell_released(self) -> bool:
        """Add word of the pieces of which no view is left here; return whether there are any."""
        if not self._receipts:
            return False
        self._outgoing.put(frame_parts(self._stamp, (RELEASED, *self._receipts.take())))
        return True

    def flush(self) -> bool:
        """Send what the socket takes; return True when nothing is left.

        Raises:
            OSError: The other end is gone.
        """
        return self._outgoing.flush()

    def receive(self) -> Frame | None:
        """Wait for a frame on a blocking socket; None at its end.

        Raises:
            OSError: The other end is gone.
            NoMessageError: What came is no message.
        """
        while not self._is_next_here():
            if self._arena.has_free:
                self._wait_or_trim()
            frames = self._incoming.receive()
            if frames is None:
                return None
            self._sort(frames)
        return self._frames.popleft()

    def read(self) -> tuple[list[Frame], bool]:
        """Read what is there on a non-blocking socket; what is no message becomes the `fault`.

        Returns:
            The complete frames, and whether the other end is gone.
        """
        frames, is_gone = self._incoming.read()
        self._sort(deque(frames))
        ready = []
        while self._is_next_here():
            ready.append(self._frames.popleft())
        return ready, is_gone

    def look(self) -> None:
        """Hear of released pieces, on a blocking socket without waiting."""
        if self._is_beside and self._arena.has_used:
            self._sort(deque(self._incoming.read(_DONT_WAIT)[0]))

    def mapped_bytes(self) -> int:
        """Bytes of memory that is shared with the other end at present."""
        return self._receipts.mapped_bytes() + self._arena.held_bytes

    def close(self) -> None:
        """Leave our pieces to the other end, and give descriptors back."""
        self._incoming.close()
        self._outgoing.close()
        self._arena.drop(self)
        self._lent.clear()
        self._frames.clear()

    def _is_next_here(self) -> bool:
        return bool(self._frames) and not self._frames[0].missing

    def _put_beside(self, head: "tuple[Any, ...]", packed: Packed) -> bool:
        body_bytes = sum(map(len, packed.pieces))
        lengths = [body_bytes, *map(len, packed.buffers)]
        places = lay_out(lengths)
        parts: list[tuple[int, Buffer]] = []
        at = 0
        for piece in packed.pieces:
            parts.append((at, piece))
            at += len(piece)
        parts += [
            (start, buffer) for (start, _), buffer in zip(places[1:], packed.buffers, strict=True)
        ]
        taken = self._arena.write(self, parts, sum(places[-1]))
        if taken is None:
            return False
        check = self._stamp.check(packed.pieces)
        place = taken.number, taken.size
        frame = frame_beside(self._stamp, head, lengths, place, check=check)
        self._outgoing.put_beside(frame, taken)
        return True

    def _sort(self, frames: "deque[Frame]") -> None:
        """Answer frames about pieces, and keep the others."""
        while frames and self.fault is None:
            frame = frames.popleft()
            try:
                self._sort_one(frame)
            except NoMessageError as error:
                self._incoming.fault = error.with_traceback(None)  # whose frames hold what came
        if self._answers:
            self._answers = not self._outgoing.flush()

    def _sort_one(self, frame: Frame) -> None:
        kind = frame.head[0]
        if kind in (RELEASED, RESEND, RESENT):
            check_head(frame.head, _HEADS[kind])
        if kind == RELEASED:
            self._arena.release(self, frame.head[1])
            self._arena.drop(self, frame.head[2])
            for number in (*frame.head[1], *frame.head[2]):
                self._lent.pop(number, None)
        elif kind == RESEND:
            self._resend(frame.head[1])
        elif kind == RESENT:
            self._fill(frame)
        else:
            self._frames.append(frame)
            if frame.missing:
                self._outgoing.put(frame_parts(self._stamp, (RESEND, frame.missing)))
                self._answers = True

    def _resend(self, number: int) -> None:
        """Send what is in a piece in-band, since the other end can take no descriptor now."""
        self._is_beside = False
        shared = self._lent.pop(number, None)
        if shared is None:
            piece = self._arena.find(self, number)
            if piece is None:
                refuse("a piece that it does not have is asked for")
            content = memoryview(piece.memory)[: piece.size]
        else:
            content = shared.read()
        self._outgoing.put(frame_parts(self._stamp, (RESENT, number), buffers=[content]))
        self._arena.drop(self, [number])
        self._answers = True

    def _fill(self, resent: Frame) -> None:
        if len(resent.buffers) != 1:
            refuse(f"a piece that comes in {len(resent.buffers)} parts")
        for frame in self._frames:
            if frame.missing == resent.head[1]:
                frame.fill(memoryview(resent.buffers[0]))

    def _wait_or_trim(self) -> None:
        """Wait for the next frame, and let go of pieces that are not used meanwhile."""
        poll = make_plain_poll()
        poll.register(self._link.fileno(), READ)
        while (again := self._arena.trim(now := monotonic())) is not None:
            if poll.poll(1000 * (again - now) + 1):
                return


_HEADS: "dict[int, list[tuple[type, ...]]]" = {
    RELEASED: [(int, list, list)],
    RESEND: [(int, int)],
    RESENT: [(int, int)],
}
"""The types of the fields of each head about pieces."""
_DONT_WAIT = 0x40
"""MSG_DONTWAIT of Linux, where alone there are pieces."""
