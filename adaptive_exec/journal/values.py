"""Values as bytes: small ones in a row with their neighbours, large ones apart and compressed.

A value goes by pickle, protocol 5; what plain pickle refuses goes by cloudpickle. Buffers (arrays)
and pickles from OUTLYING_BYTES on are kept out of line, so that a look through the journal does not
read them. They are compressed when a sample shows that this pays. Decides nothing else.
"""

import pickle
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adaptive_exec.config import KIB, MIB
from adaptive_exec.errors import TaskError, add_traceback, message_of, traceback_of
from adaptive_exec.system.pickles import PROTOCOL, dump_by_value

OUTLYING_BYTES: Final = 64 * KIB
"""Bytes from which an array or a pickle is kept out of line in the journal."""
PART_BYTES: Final = 64 * MIB
"""Bytes of a part of what is kept out of line; SQLite takes a thousand million at most."""
SQUEEZE_SAMPLE_BYTES: Final = 16 * KIB
"""Bytes that are compressed to see whether compressing an array pays: 0.3 ms."""
SQUEEZE_RATIO: Final = 0.5
"""Share of its size below which a compressed sample says that it pays."""

PLAIN: Final = frozenset({int, float, str, bytes, bool, type(None)})
"""Types of which many values go into one pickle: they always can, and share nothing."""
RAW, ZLIB = 0, 1
"""How the bytes of a part are kept."""
_TEXT_MAX: Final = 200
"""Characters of a value that are said of it."""


@dataclass(slots=True)
class ValueBytes:
    """The bytes of one value.

    Attributes:
        body: Its pickle; None where that lies out of line.
        outlying: What lies out of line: the pickle first where `body` is None, then the buffers.
    """

    body: bytes | None
    outlying: list[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what lies out of line.

    Attributes:
        place: Which of a value's outlying pieces it belongs to.
        number: Which part of that piece it is.
        codec: RAW or ZLIB.
        body: The bytes as kept.
    """

    place: int
    number: int
    codec: int
    body: bytes | memoryview


def pack_value(value: object) -> ValueBytes:
    """Pack one value.

    Raises:
        Exception: Whatever its own pickling raises.
    """
    buffers: list[bytes | memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < OUTLYING_BYTES:
            return True
        buffers.append(raw)
        return False

    try:
        body = pickle.dumps(value, PROTOCOL, buffer_callback=keep)
    except Exception as error:  # noqa: BLE001  # a __reduce__ may raise anything; cloudpickle may do better
        buffers.clear()
        body = _pack_by_value(value, error)
    if len(body) < OUTLYING_BYTES:
        return ValueBytes(body, buffers)
    return ValueBytes(None, [body, *buffers])


def unpack_value(body: bytes | memoryview | None, outlying: Sequence[bytes]) -> Any:
    """Return the value that was packed.

    Raises:
        Exception: Whatever its own unpickling raises.
    """
    if body is None:
        return pickle.loads(outlying[0], buffers=[bytearray(one) for one in outlying[1:]])
    # Arrays are made writable, as they are when they come from a worker.
    return pickle.loads(body, buffers=[bytearray(one) for one in outlying])


def pack_failure(error: BaseException) -> ValueBytes:
    """Pack a task's exception with its traceback; one that cannot be packed gets a stand-in."""
    text = traceback_of(error)
    try:
        piece = pack_value((error, text))
        unpack_failure(piece.body, [bytes(one) for one in piece.outlying])
    except Exception:  # noqa: BLE001  # an exception's own pickling or unpickling may raise anything
        kind = type(error)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        return pack_value((TaskError(name, failure_text(error), text), text))
    return piece


def unpack_failure(body: bytes | memoryview | None, outlying: Sequence[bytes]) -> BaseException:
    """Return the exception that was packed, its worker's traceback as its cause."""
    error, text = unpack_value(body, outlying)
    assert isinstance(error, BaseException), "packed by pack_failure"
    if text:
        add_traceback(error, text)
    return error


def failure_text(error: BaseException) -> str:
    """Write an exception's message in one short line; never raises."""
    return " ".join(message_of(error).split())[:_TEXT_MAX]


def parts_of(outlying: Sequence[bytes | memoryview]) -> Iterator[Part]:
    """Cut what lies out of line into parts that SQLite takes, compressed where that pays."""
    for place, piece in enumerate(outlying):
        raw = memoryview(piece).cast("B")
        pays = does_squeezing_pay(raw)
        for number, at in enumerate(range(0, max(1, raw.nbytes), PART_BYTES)):
            part = raw[at : at + PART_BYTES]
            yield (
                Part(place, number, ZLIB, zlib.compress(part, 1))
                if pays
                else Part(place, number, RAW, part)
            )


def join_parts(parts: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
    """Put parts together again.

    Args:
        parts: Place, codec and bytes of each, in order.

    Returns:
        The outlying pieces, by place.
    """
    pieces: list[list[bytes]] = []
    for place, codec, body in parts:
        while len(pieces) <= place:
            pieces.append([])
        pieces[place].append(zlib.decompress(body) if codec == ZLIB else body)
    return [piece[0] if len(piece) == 1 else b"".join(piece) for piece in pieces]


def does_squeezing_pay(raw: memoryview) -> bool:
    """Say whether a piece shrinks enough to be compressed, from a sample out of its middle."""
    at = max(0, raw.nbytes - SQUEEZE_SAMPLE_BYTES) // 2
    sample = raw[at : at + SQUEEZE_SAMPLE_BYTES]
    return len(zlib.compress(sample, 1)) < SQUEEZE_RATIO * sample.nbytes


def _pack_by_value(value: object, refused: Exception) -> bytes:
    try:
        return dump_by_value(value)
    except Exception:  # noqa: BLE001  # as above; what plain pickle said is the clearer one
        raise refused from None
