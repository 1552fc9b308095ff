"""Functions on their way to processes: packed once, a large one into memory that all workers share.

A large one's arrays are views of that memory, so that any number of workers share its pages. It
goes with the batch that needs it: nothing here remembers a function. Decides nothing.
"""

import binascii
from collections.abc import Callable
from typing import Any

from adaptive_exec.levels.arena import SharedPiece, share
from adaptive_exec.levels.plain import pack_plain
from adaptive_exec.levels.wire import PROTOCOL, lay_out, pack, pack_apart

Buffer = bytes | bytearray | memoryview

SHARED_FROM_BYTES = 1024 * 1024
"""Bytes of a packed function from which it lies in shared memory.

Below that a copy per worker costs little, and a zygote loads it before it forks.
"""
_SAMPLE_BYTES = 4096
"""Bytes of each long part of a large function that tell it from others."""


class PackedFunction:
    """A function as it travels to processes; it is freed with the last that refers to it.

    Attributes:
        body: Its pickle; empty where it lies in shared memory.
        piece: That memory, None where there is none.
        lengths: Bytes of the pickle and of each buffer in it.
        number: A number that is the same for the same function in every run.
    """

    __slots__ = ("body", "lengths", "number", "piece")

    def __init__(
        self,
        number: int,
        body: bytes,
        piece: SharedPiece | None = None,
        lengths: tuple[int, ...] = (),
    ) -> None:
        self.number = number
        self.body = body
        self.piece = piece
        self.lengths = lengths


def pack_function(function: Callable[..., Any]) -> PackedFunction | None:
    """Pack a function for processes, None when it cannot be.

    By reference where plain pickle can, by value for lambdas, closures and what lives in
    `__main__`. What it holds is copied here and now: what becomes of it later does not show.
    """
    plain = pack_plain(function, PROTOCOL)
    if plain is not None:
        return PackedFunction(binascii.crc32(plain), plain)
    try:
        pieces, buffers = pack_apart(function)
        if sum(map(len, pieces)) + sum(map(len, buffers)) >= SHARED_FROM_BYTES:
            shared = _share(pieces, buffers)
            if shared is not None:
                return shared
        body = pack(function) if buffers else b"".join(pieces)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return None
    return PackedFunction(binascii.crc32(body), body)


def _share(pieces: list[bytes], buffers: list[Buffer]) -> PackedFunction | None:
    """Copy a large function into shared memory; None where that cannot be had."""
    lengths = (sum(map(len, pieces)), *map(len, buffers))
    places = lay_out(lengths)
    parts: list[tuple[int, Buffer]] = []
    at = 0
    for part in pieces:
        parts.append((at, part))
        at += len(part)
    parts += [(start, buffer) for (start, _), buffer in zip(places[1:], buffers, strict=True)]
    piece = share(parts, sum(places[-1]))
    return None if piece is None else PackedFunction(_sample(parts), b"", piece, lengths)


def _sample(parts: list[tuple[int, Buffer]]) -> int:
    number = 0
    for at, part in parts:
        number = binascii.crc32(f"{at} {len(part)}".encode(), number)
        number = binascii.crc32(memoryview(part)[:_SAMPLE_BYTES], number)
    return number
