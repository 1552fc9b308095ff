"""What comes over a worker's socket is foreign: frames come through whole, all else is refused."""

import contextlib
import fcntl
import marshal
import os
import socket
import struct
import tracemalloc
from binascii import crc32
from collections import deque
from pathlib import Path
from pickle import PickleBuffer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_exec.levels import frames
from adaptive_exec.levels.arena import Arena, Receipts
from adaptive_exec.levels.channel import Channel
from adaptive_exec.levels.exchange import take_results
from adaptive_exec.levels.frames import (
    BUFFERS_MAX,
    COVERED_BYTES,
    FORMAT,
    FRAME_BYTES_MAX,
    FROM_PARENT,
    FROM_WORKER,
    HEAD_BYTES_MAX,
    UNCHECKED,
    Frame,
    Incoming,
    NoMessageError,
    Stamp,
    _write_front,
    check_head,
    frame_parts,
    read_frames,
    read_message,
    read_rights,
    write_message,
)
from adaptive_exec.levels.heads import check_kind, read_outcomes
from adaptive_exec.levels.slate import HEADER_BYTES, Slate, make_memory_file
from adaptive_exec.levels.wire import RESEND, RESENT, RESULTS, UNLOADED, Packed

KEY, OTHER = b"eight by", b"another8"
CONSTANT_BYTES = 4 << 20
"""Bytes that reading may take beyond what has come: scratch, one step, small objects."""
USAGE = (1, 1.0, 0.5, 0.1, 0, (None, None, None, None))


class Wire:
    """A link that gives out bytes in the given splits."""

    def __init__(self, content, cuts=()):
        self._content = memoryview(bytes(content))
        self._cuts = sorted({cut % (len(content) + 1) for cut in cuts} | {len(content)} - {0})
        self._at = 0

    def recvmsg_into(self, targets, room, flags=0):
        stop = next((cut for cut in self._cuts if cut > self._at), None)
        if stop is None:
            raise BlockingIOError
        size = min(stop - self._at, targets[0].nbytes)
        targets[0][:size] = self._content[self._at : self._at + size]
        self._at += size
        return size, [], 0, None


def write(stamp, messages):
    return [b"".join(frame_parts(stamp, *message)) for message in messages]


def read(content, cuts=(), key=KEY):
    """Read all of some bytes; return the frames as plain facts, and what was wrong."""
    incoming = Incoming(Wire(content, cuts), Receipts(), Stamp(key, FROM_WORKER))
    found = []
    for _ in range(len(cuts) + 3):
        found += incoming.read()[0]
    return [(one.head, bytes(one.body), list(map(bytes, one.buffers))) for one in found], (
        incoming.fault
    )


heads = st.tuples(
    st.integers(0, 20),
    st.integers(-(2**40), 2**40),
    st.lists(st.integers(-1, 1000), max_size=5),
    st.none() | st.binary(max_size=20) | st.text(max_size=20) | st.floats(allow_nan=False),
)
sizes = st.sampled_from([0, 1, 100, COVERED_BYTES - 1, COVERED_BYTES, COVERED_BYTES + 1, 150_000])
messages = st.lists(
    st.tuples(
        heads,
        st.binary(max_size=50) | sizes.map(bytes),
        st.lists(st.binary(max_size=10) | sizes.map(bytes), max_size=2),
    ),
    max_size=3,
)
cuts = st.lists(st.integers(0, 2**20), max_size=12)


@given(messages, cuts)
def test_frames_come_through_whole_in_any_splits(sent, cuts):
    found, fault = read(b"".join(write(Stamp(KEY, FROM_WORKER), sent)), cuts)

    assert fault is None
    assert found == sent


@given(st.binary(max_size=300), cuts)
def test_random_bytes_are_refused_or_waited_on_and_never_raise(content, cuts):
    found, fault = read(content, cuts)

    assert found == []
    assert fault is not None or len(content) < 36


@given(messages, messages, st.binary(min_size=36, max_size=200), cuts)
def test_frames_before_nonsense_are_kept_and_those_after_it_are_not(sent, more, nonsense, cuts):
    stamp = Stamp(KEY, FROM_WORKER)
    before, after = write(stamp, sent), write(stamp, more)

    found, fault = read(b"".join([*before, nonsense, *after]), cuts)

    assert found == sent
    assert type(fault) is NoMessageError


@given(messages.filter(bool), st.data(), cuts)
def test_a_flipped_bit_in_what_is_covered_is_noticed(sent, data, cuts):
    small = [(head, body[:1000], []) for head, body, _ in sent]
    content = bytearray(b"".join(write(Stamp(KEY, FROM_WORKER), small)))
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    content[place // 8] ^= 1 << place % 8

    found, fault = read(content, cuts)

    assert found == small[: len(found)]
    assert len(found) < len(small)
    # Nothing at all may follow where the flipped bit made a frame longer: it is waited for.
    assert fault is None or type(fault) is NoMessageError


@settings(max_examples=60)
@given(st.integers(COVERED_BYTES + 1, 1 << 17), st.data(), cuts)
def test_a_flipped_bit_in_a_long_body_of_a_worker_is_noticed(size, data, cuts):
    sent = bytes(size)
    front, body = frame_parts(Stamp(KEY, FROM_WORKER), (7,), sent, check=crc32(sent))
    flipped = bytearray(body)
    place = data.draw(st.integers(0, 8 * size - 1))
    flipped[place // 8] ^= 1 << place % 8

    found, fault = read(front + flipped, cuts)

    assert found == []
    assert "checksum" in str(fault)


@given(messages.filter(bool), st.data(), cuts)
def test_frames_that_are_repeated_dropped_or_exchanged_are_noticed(sent, data, cuts):
    sent = [*sent, ((1, 0, [], None), b"", [])]
    parts = write(Stamp(KEY, FROM_WORKER), sent)
    first = data.draw(st.integers(0, len(parts) - 1))
    second = data.draw(st.integers(0, len(parts) - 1))
    mixed = {
        "repeated": [*parts[: first + 1], *parts[first:]],
        "dropped": [*parts[:first], *parts[first + 1 :]],
        "exchanged": [*parts],
    }[way := data.draw(st.sampled_from(["repeated", "dropped", "exchanged"]))]
    if way == "exchanged":
        mixed[first], mixed[second] = mixed[second], mixed[first]

    found, fault = read(b"".join(mixed), cuts)

    assert found == sent[: len(found)]
    unharmed = mixed == parts[: len(mixed)]
    assert unharmed == (fault is None)


@given(messages.filter(bool), cuts)
def test_the_stream_of_another_worker_and_the_other_direction_are_refused(sent, cuts):
    for stamp in (Stamp(OTHER, FROM_WORKER), Stamp(KEY, FROM_PARENT)):
        found, fault = read(b"".join(write(stamp, sent)), cuts)

        assert found == []
        assert type(fault) is NoMessageError


@settings(max_examples=40)
@given(
    st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1),
    st.binary(max_size=200_000), cuts,
)  # fmt: skip
def test_no_length_reserves_more_than_has_come(body_bytes, head_bytes, count, rest, cuts):
    """The key is right, so that only the bounds are left to hold it back."""
    stamp = Stamp(KEY, FROM_WORKER)
    front = struct.pack(
        "<4sIQQIII", FORMAT, stamp.number, stamp.key, body_bytes, head_bytes, count, 0
    )

    peak, (found, fault) = peak_of(lambda: read(front + rest, cuts))

    assert peak <= 2 * len(rest) + CONSTANT_BYTES
    assert found == []
    too_long = head_bytes > HEAD_BYTES_MAX or body_bytes > FRAME_BYTES_MAX
    if too_long or count & ~(1 << 31) > BUFFERS_MAX:
        assert type(fault) is NoMessageError


@pytest.mark.parametrize("place", ["body", "buffer"])
def test_a_long_part_grows_as_its_bytes_come(place):
    size = 3 << 20
    long = bytes(size)
    parts = ((7,), long, []) if place == "body" else ((7,), b"", [long])
    content = b"".join(frame_parts(Stamp(KEY, FROM_WORKER), *parts))

    class Vast(bytes):
        """Bytes that say that there are a thousand times as many."""

        def __len__(self):
            return size * 1000

    stamp = Stamp(KEY, FROM_WORKER)
    vast = frame_parts(stamp, (7,), Vast() if place == "body" else b"")[0]
    if place == "buffer":
        vast = frame_of_a_vast_buffer(size * 1000)
    peak, (found, fault) = peak_of(lambda: read(vast + long, [1 << 20, 2 << 20]))
    assert (found, fault) == ([], None)
    assert peak <= 2 * size + CONSTANT_BYTES

    found, fault = read(content)
    assert fault is None
    assert len(found) == 1


def frame_of_a_vast_buffer(size):
    rest = struct.pack("<Q", size) + marshal.dumps((7,))
    return _write_front(Stamp(KEY, FROM_WORKER), rest, b"", (1, 0))


def peak_of(function):
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = function()
        return tracemalloc.get_traced_memory()[1] - before, result
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=300))
def test_nonsense_in_shared_memory_and_in_datagrams_is_refused(content):
    with contextlib.suppress(NoMessageError):
        assert list(read_frames(content, Stamp(KEY, FROM_WORKER))) == []
    with pytest.raises(NoMessageError):
        read_message(KEY, content)


@given(heads, st.data())
def test_a_datagram_with_a_flipped_bit_or_of_another_key_is_refused(head, data):
    datagram = bytearray(write_message(KEY, head))
    assert read_message(KEY, bytes(datagram)) == head
    with pytest.raises(NoMessageError):
        read_message(OTHER, bytes(datagram))

    place = data.draw(st.integers(0, 8 * len(datagram) - 1))
    datagram[place // 8] ^= 1 << place % 8

    with pytest.raises(NoMessageError):
        read_message(KEY, bytes(datagram))


def test_another_version_is_named():
    content = bytearray(frame_parts(Stamp(KEY, FROM_WORKER), (1,))[0])
    content[3] += 1

    _, fault = read(content)

    assert "version" in str(fault)


anything = st.recursive(
    st.none() | st.integers() | st.floats() | st.binary(max_size=9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=7).map(tuple),
    max_leaves=12,
)
fields = st.one_of(
    anything, st.just([3]), st.just(b"\0"), st.just(b"\7"), st.just(USAGE),
    st.just([(1.0, None, None)]), st.integers(0, 3),
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(fields, max_size=9), st.sampled_from([RESULTS, RESULTS, UNLOADED, 77]))
def test_a_head_that_says_what_cannot_be_is_refused_and_raises_nothing_else(more, kind):
    frame = Frame((kind, *more), b"abc", ())
    try:
        if check_kind(frame) == RESULTS:
            told = read_outcomes(frame)
            assert len(take_results(frame, told, {}).values) == told.tasks
    except NoMessageError:
        return


@pytest.mark.parametrize(
    "changed",
    [
        {3: 2}, {3: -1}, {4: [-2]}, {4: [4]}, {4: [True]}, {4: []}, {5: [1]}, {5: []}, {6: b""},
        {6: b"\4"}, {6: b"\0\0"}, {7: []}, {7: [1.0]}, {7: [(float("nan"), None, None)]},
        {8: USAGE[:5]}, {8: (1, float("inf"), *USAGE[2:])}, {8: (1, float("nan"), *USAGE[2:])},
        {8: (-1, *USAGE[1:])}, {8: (*USAGE[:5], (None, None))}, {1: 1.0}, {2: None},
    ],
    ids=str,
)  # fmt: skip
def test_results_with_one_wrong_fact_are_refused(changed):
    packed = Packed()
    packed.add(1)
    body = b"".join(packed.pieces)
    head = [RESULTS, 7, 0, 1, [len(body)], None, None, None, USAGE]
    told = read_outcomes(Frame(tuple(head), body, ()))
    assert take_results(Frame(tuple(head), body, ()), told, {}).values == [1]
    for place, value in changed.items():
        head[place] = value
    frame = Frame(tuple(head), body, ())

    with pytest.raises(NoMessageError):
        check_and_read(frame)


def check_and_read(frame):
    assert check_kind(frame) == RESULTS
    return read_outcomes(frame)


def test_shared_memory_that_says_it_is_fuller_than_it_is_is_refused():
    descriptor = make_memory_file(4096)
    slate = Slate(descriptor, 4096)
    os.pwrite(descriptor, b"\xff" * HEADER_BYTES, 0)
    os.close(descriptor)

    with pytest.raises(NoMessageError):
        slate.filled(0)
    slate.close()


class Ends:
    """The parent's end of a channel, and a bare socket that speaks as its worker would."""

    def __init__(self):
        self.link, self.theirs = socket.socketpair()
        self.link.settimeout(0)
        self.arena = Arena(64 << 20)
        self.channel = Channel(self.link, self.arena, KEY)
        self.stamp = Stamp(KEY, FROM_WORKER)

    def send(self, *message):
        self.theirs.sendall(b"".join(frame_parts(self.stamp, *message)))
        return self.channel.read()[0]

    def close(self):
        self.channel.close()
        self.arena.close()
        self.link.close()
        self.theirs.close()


@pytest.fixture
def ends():
    ends = Ends()
    yield ends
    ends.close()


@pytest.mark.parametrize(
    "message",
    [((RESEND, 5),), ((RESEND, "5"),), ((RESENT, 5),), ((7, 1, 2),), ((7, [1]),)],
    ids=str,
)
def test_wrong_words_about_pieces_are_refused(ends, message):
    assert ends.send(*message) == []

    assert type(ends.channel.fault) is NoMessageError


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs memory files")
@pytest.mark.parametrize("what", ["a short one", "an unsealed one", "a pipe", "none", "two"])
def test_a_descriptor_that_is_no_piece_is_refused_and_closed(ends, what):
    sender = Channel(ends.theirs, Arena(64 << 20), KEY, is_worker=True)
    packed = Packed()
    packed.add(bytes(200_000))
    sender.put((RESULTS,), packed)
    parts = sender._outgoing._parts
    content = b"".join(bytes(part) for part in parts if isinstance(part, memoryview))
    unsealed = os.memfd_create("unsealed")
    os.ftruncate(unsealed, 1 << 20)
    short = os.memfd_create("short", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(short, 1033, 2)  # F_ADD_SEALS, F_SEAL_SHRINK
    read_end, write_end = os.pipe()
    given = {
        "a short one": [short], "an unsealed one": [unsealed], "a pipe": [read_end],
        "none": [], "two": [short, unsealed],
    }[what]  # fmt: skip
    before = set(Path("/proc/self/fd").iterdir())

    socket.send_fds(ends.theirs, [content], given)

    assert ends.channel.read()[0] == []
    assert type(ends.channel.fault) is NoMessageError
    ends.channel.close()
    assert set(Path("/proc/self/fd").iterdir()) <= before
    for descriptor in (unsealed, short, read_end, write_end):
        os.close(descriptor)
    sender.close()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs memory files")
@pytest.mark.parametrize("where", ["body", "buffer"])
@pytest.mark.parametrize("way", ["mapped", "resent"])
def test_a_flipped_bit_in_a_piece_costs_the_worker_or_one_result(ends, where, way, monkeypatch):
    """A pickle is a program and is refused; a buffer is data, of which another byte is wrong."""
    write = Arena.write

    def flip(arena, user, parts, size):
        at, part = parts[0 if where == "body" else -1]
        flipped = bytearray(part)
        flipped[len(flipped) // 2] ^= 4
        parts[0 if where == "body" else -1] = at, flipped
        return write(arena, user, parts, size)

    monkeypatch.setattr(Arena, "write", flip)
    if way == "resent":
        monkeypatch.setattr(frames, "read_rights", lose_rights)
    arena = Arena(64 << 20)
    sender = Channel(ends.theirs, arena, KEY, is_worker=True)
    packed = Packed()
    packed.add([{1: 2}] * 100)
    packed.add(PickleBuffer(bytes(200_000)))
    sender.put((RESULTS,), packed)
    sender.flush()
    found = ends.channel.read()[0]
    if way == "resent":
        assert found == []
        ends.channel.flush()
        sender._sort(deque(sender._incoming.read(socket.MSG_DONTWAIT)[0]))
        sender.flush()
        found = ends.channel.read()[0]

    if where == "body":
        assert found == []
        assert "checksum" in str(ends.channel.fault)
    else:
        assert ends.channel.fault is None
        (buffer,) = found[0].buffers
        assert sum(bytes(buffer)) == 4
    del found
    sender.close()
    arena.close()


def lose_rights(ancillary):
    """As in a receiver that may have no more descriptors."""
    for descriptor in read_rights(ancillary):
        os.close(descriptor)
    return []


def test_what_the_parent_sends_has_no_second_checksum():
    assert Stamp(KEY, FROM_PARENT).check([b"a long body"]) == UNCHECKED
    assert Stamp(KEY, FROM_WORKER).check([b"a long ", b"body"]) == crc32(b"a long body")


@pytest.mark.parametrize(("bytes_each", "is_checked"), [(10_000, True), (200_000, False)])
def test_a_body_that_is_mostly_the_bytes_of_long_objects_is_not_checked(bytes_each, is_checked):
    for _ in range(2):  # who was long once is packed in pieces from then on
        packed = Packed()
        packed.add([bytes([one]) * bytes_each for one in range(20)])

    assert (Stamp(KEY, FROM_WORKER).check(packed.pieces) != UNCHECKED) is is_checked


def test_types_of_fields_are_exact():
    check_head((1, 2), [(int, int)])
    for head in [(1, True), (1,), (1, 2, 3), (1, "2")]:
        with pytest.raises(NoMessageError):
            check_head(head, [(int, int)])
