"""Pieces of memory files: used again when their receiver has no view left, and never before."""

import gc
import os
import resource
import socket
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adaptive_exec.levels import arena as arena_module
from adaptive_exec.levels.arena import FILES_MAX, FROM_BYTES, IDLE_SECONDS, Arena
from adaptive_exec.levels.channel import Channel
from adaptive_exec.levels.wire import CHUNK, Packed, Unpacker
from tests.levels import work
from tests.levels.ladder import ISOLATED, executor_at
from tests.levels.leaks import eventually, mapped_pieces

MEGABYTE = 1 << 20
KEY = b"eight by"
pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs memory files")


class Pair:
    """Two ends of a channel in one process: what one sends, the other unpacks."""

    def __init__(self, bytes_max=64 * MEGABYTE):
        self.links = socket.socketpair()
        for link in self.links:
            link.settimeout(0)
        self.arenas = Arena(bytes_max), Arena(bytes_max)
        self._frames = []
        self.left = Channel(self.links[0], self.arenas[0], KEY)
        self.right = Channel(self.links[1], self.arenas[1], KEY, is_worker=True)

    def send(self, value):
        packed = Packed()
        packed.add(value)
        self.left.put((CHUNK, packed.lengths, packed.counts), packed)

    def take(self):
        """Let both ends work until a value is there; return it."""
        for _ in range(10_000):
            self.left.flush()
            self.right.flush()
            self._frames += self.right.read()[0]
            assert not self.left.read()[0]
            if self._frames:
                frame = self._frames.pop(0)
                return Unpacker(frame.head[1], frame.head[2], frame).take()
        raise AssertionError("no value came")

    def carry(self, value):
        self.send(value)
        return self.take()

    def give_back(self):
        """Tell the sender which pieces the receiver has no view of."""
        self.right.tell_released()
        self.right.flush()
        self.left.read()

    def close(self):
        for link, channel, arena in zip(
            self.links, (self.left, self.right), self.arenas, strict=True
        ):
            link.close()
            channel.close()
            arena.close()


@pytest.fixture
def pair():
    pair = Pair()
    yield pair
    pair.close()


def filled(number, size=MEGABYTE):
    return np.full(size, number, np.uint8)


def descriptors():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def used(pair):
    return len(pair.arenas[0]._used)


@contextmanager
def descriptors_left(count):
    """Allow this process only so many descriptors more."""
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(count + 1)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for descriptor in taken:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


VALUES = {
    "C order": np.arange(200_000, dtype=np.int32).reshape(400, 500),
    "F order": np.asfortranarray(np.arange(200_000, dtype=np.float64).reshape(400, 500)),
    "not contiguous": np.arange(800_000)[::3],
    "no bytes": np.empty((0, 5)),
    "bytes": os.urandom(3 * MEGABYTE),
    "bytearray": bytearray(os.urandom(MEGABYTE)),
    "long text": "\u00e4\u20ac" * 300_000,
    "frame": pd.DataFrame({"a": range(90_000), "b": np.ones(90_000), "c": ["x"] * 90_000}),
    "nested": {
        "one": [np.ones(70_000), (b"z" * 90_000, {"two": np.zeros((300, 300))})],
        "three": 3,
    },
    "many": [np.full(5_000, number) for number in range(30)],
}


def same(left, right):
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, pd.DataFrame):
        return left.equals(right)
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    return type(left) is type(right) and left == right


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("way", ["beside", "in band"])
def test_what_comes_is_what_was_sent(pair, kind, way):
    if way == "in band":
        pair.left._is_beside = False
    for _ in range(3):
        came = pair.carry(VALUES[kind])
        assert same(VALUES[kind], came)
        if kind.endswith(" order"):
            assert came.flags.f_contiguous == VALUES[kind].flags.f_contiguous
        del came
        pair.give_back()
    assert bool(pair.arenas[0].held_bytes) == (way == "beside" and kind != "no bytes")


def test_one_look_finds_all_that_came_also_behind_pieces(pair):
    for value in (1, filled(2), 3, filled(4), filled(5), 6):
        pair.send(value)
    assert pair.left.flush()

    assert len(pair.right.read()[0]) == 6


def test_a_piece_is_used_again_once_no_view_is_left(pair):
    for number in range(20):
        came = pair.carry(filled(number))
        assert (came == number).all()
        del came
        pair.give_back()
    assert pair.arenas[0].held_bytes < 2 * MEGABYTE
    assert not used(pair)


def test_a_piece_with_a_view_is_never_written_to(pair):
    kept = [pair.carry(filled(number))[::7] for number in range(10)]
    for number in range(100, 140):
        assert (pair.carry(filled(number)) == number).all()
        pair.give_back()
    assert [int(view[0]) for view in kept] == list(range(10))
    assert all((view == number).all() for number, view in enumerate(kept))
    assert used(pair) == 10


def test_what_was_mapped_at_a_fork_is_never_used_again(pair):
    came = pair.carry(filled(1))
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    del came
    pair.give_back()
    assert not used(pair)
    assert not pair.arenas[0].has_free
    assert not pair.arenas[0].held_bytes


def test_what_was_mapped_after_a_fork_is_used_again(pair):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    pair.carry(filled(1))
    pair.give_back()
    assert pair.arenas[0].has_free


def test_a_child_does_not_keep_the_descriptors_of_pieces(pair):
    came = pair.carry(filled(1))
    (piece,) = pair.arenas[0]._used.values()
    child = os.fork()
    if child == 0:
        try:
            os.fstat(piece.descriptor)
        except OSError:
            os._exit(0 if (came == 1).all() else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (came == 1).all()


def test_views_outlive_the_piece_its_sender_and_the_channel(pair):
    came = pair.carry(filled(5))
    pair.close()
    gc.collect()
    assert (came == 5).all()
    del came
    assert not list(mapped_pieces())
    pair.__init__()


def test_an_array_can_be_written_to_and_the_next_receiver_does_not_see_it(pair):
    source = filled(1)
    came = pair.carry(source)
    came += 1
    assert (came == 2).all()
    assert (source == 1).all()
    del came
    pair.give_back()
    assert (pair.carry(source) == 1).all()


def test_an_array_that_was_read_only_stays_so(pair):
    source = filled(1)
    source.flags.writeable = False
    assert not pair.carry(source).flags.writeable


def test_no_receiver_can_write_to_what_another_may_see(pair):
    came = pair.carry(filled(1))
    (piece,) = pair.arenas[0]._used.values()
    with pytest.raises(PermissionError):
        os.pwrite(piece.descriptor, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(piece.descriptor, 10)
    with pytest.raises(PermissionError):
        arena_module.mmap.mmap(piece.descriptor, 4096)
    assert (came == 1).all()


def test_a_mapping_holds_no_descriptor(pair):
    before = len(descriptors())
    kept = [pair.carry(filled(number)) for number in range(8)]
    assert len(descriptors()) == before + 8  # the sender's, one for each piece
    assert len(list(mapped_pieces())) == 2 * len(kept)


def test_an_arena_has_at_most_its_bytes_and_its_files_and_all_else_goes_in_band():
    pair = Pair(bytes_max=4 * MEGABYTE)
    kept = [pair.carry(filled(number)) for number in range(10)]
    assert all((view == number).all() for number, view in enumerate(kept))
    assert pair.arenas[0].held_bytes <= 4 * MEGABYTE
    kept.clear()
    pair.give_back()
    assert (pair.carry(filled(3, 3 * MEGABYTE)) == 3).all()  # in the place of three free ones
    assert used(pair) == 1
    pair.close()

    pair = Pair()
    kept = [pair.carry(filled(number, FROM_BYTES)) for number in range(FILES_MAX + 5)]
    assert all((view == number).all() for number, view in enumerate(kept))
    assert used(pair) == FILES_MAX
    pair.close()


def test_pieces_that_nobody_uses_are_let_go_of(pair):
    pair.carry(filled(1))
    pair.give_back()
    arena = pair.arenas[0]
    (piece,) = arena._free
    assert arena.trim(piece.free_at + IDLE_SECONDS / 2) == piece.free_at + IDLE_SECONDS
    assert arena.held_bytes
    assert arena.trim(piece.free_at + IDLE_SECONDS) is None
    del piece
    assert not arena.held_bytes
    assert not list(mapped_pieces())


def test_a_small_payload_does_not_keep_a_large_piece(pair):
    pair.carry(filled(1, 8 * MEGABYTE))
    pair.give_back()
    kept = pair.carry(filled(2, FROM_BYTES))
    assert pair.arenas[0].has_free
    assert (kept == 2).all()


def test_a_descriptor_that_is_lost_is_noticed_and_its_payload_comes_in_band(pair):
    first = pair.carry(filled(1))
    pair.send(filled(2))
    pair.send(filled(3))
    pair.left.flush()
    with descriptors_left(0):
        assert (pair.take() == 2).all()
    assert (pair.take() == 3).all()
    assert (pair.carry(filled(4)) == 4).all()
    assert (first == 1).all()
    pair.give_back()
    assert used(pair) == 1


@pytest.mark.parametrize("left", [0, 1])
def test_without_a_descriptor_for_a_piece_all_goes_in_band(pair, left):
    with descriptors_left(left):
        for number in range(5):
            assert (pair.carry(filled(number)) == number).all()


@pytest.mark.parametrize("call", ["memfd_create", "ftruncate", "pwrite", "posix_fallocate"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
def test_where_no_piece_can_be_made_all_goes_in_band(pair, monkeypatch, call, error):
    def refuse(*_arguments, **_keywords):
        raise error

    monkeypatch.setattr(os, call, refuse)
    for number in range(3):
        assert (pair.carry(filled(number)) == number).all()
    monkeypatch.undo()
    assert (pair.carry(filled(9)) == 9).all()
    assert used(pair) == 1


def test_without_the_call_there_is_no_arena(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    pair = Pair()
    try:
        assert (pair.carry(filled(1)) == 1).all()
        assert not pair.arenas[0].held_bytes
    finally:
        pair.close()


def test_a_piece_that_cannot_be_mapped_is_read_and_given_back(pair, monkeypatch):
    pair.send(filled(1))

    def refuse(*_arguments):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(arena_module, "map_file", refuse)
    came = pair.take()
    came += 1
    pair.give_back()
    assert not used(pair)
    assert (came == 2).all()


def test_with_little_address_space_left_all_goes_in_band(pair):
    source = filled(1, 8 * MEGABYTE)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    spare = size + 30 * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (spare, before[1]))
    try:
        came = pair.carry(source)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert (came == 1).all()
    assert not pair.arenas[0].held_bytes


def test_descriptors_of_frames_that_did_not_come_in_full_are_closed():
    before = descriptors()
    pair = Pair()
    pair.send(filled(1))
    sent = pair.links[0].sendmsg
    pair.left._outgoing._link = type(
        "Short", (), {"sendmsg": staticmethod(lambda views, rights: sent([views[0][:10]], rights))}
    )()
    pair.left._outgoing._send_beside()
    assert not pair.right.read()[0]
    assert len(pair.right._incoming._descriptors) == 1
    pair.close()
    assert descriptors() == before


@pytest.mark.parametrize("level", ISOLATED)
def test_large_arguments_and_results_go_to_workers_and_back(level):
    with executor_at(level) as executor:
        for value in VALUES.values():
            assert same(value, executor.submit(work.same, value).result(60))
            for came in executor.map(work.same, [value] * 6):
                assert same(value, came)
            del came


def test_a_task_may_change_its_argument_and_nobody_else_sees_it():
    with executor_at("process") as executor:
        source = filled(1)
        assert list(executor.map(_change, [source] * 8)) == [2 * MEGABYTE] * 8
        assert (source == 1).all()


def _change(array):
    array += 1
    return int(array.sum())


def test_a_worker_without_a_descriptor_to_spare_is_served_in_band():
    with executor_at("process", max_workers=1) as executor:
        assert executor.submit(_spend_descriptors).result(60)
        for number in range(6):
            came = executor.submit(work.same, filled(number)).result(60)
            assert (came == number).all()
        assert executor.submit(os.getpid).result(60) == executor.submit(os.getpid).result(60)


def _spend_descriptors():
    left = os.dup(0)
    os.close(left)
    resource.setrlimit(resource.RLIMIT_NOFILE, (left, left))
    return True


def test_a_parent_without_a_descriptor_to_spare_is_served_in_band():
    with executor_at("process", max_workers=1) as executor:
        pid = executor.submit(os.getpid).result(60)
        with descriptors_left(0):
            for number in range(6):
                came = executor.submit(np.full, MEGABYTE, number).result(60)
                assert (came == number).all()
                assert executor.submit(len, [1, 2]).result(60) == 2
        assert executor.submit(os.getpid).result(60) == pid


def test_an_idle_executor_holds_no_pieces():
    with executor_at("process", max_workers=1) as executor:
        for number in range(3):
            assert (executor.submit(work.same, filled(number)).result(60) == number).all()
        assert eventually(lambda: not list(mapped_pieces()))
        assert eventually(lambda: not executor.submit(_held_in_worker).result(60), seconds=5)


def _held_in_worker():
    return [arena.held_bytes for arena in arena_module._open]


def test_what_a_piece_takes_does_not_count_as_the_tasks_memory():
    with executor_at("process", max_workers=1) as executor:
        peaks = [
            outcome.peak_bytes
            for _ in range(3)
            for outcome in executor.outcomes(_read_slowly, [filled(1, 40 * MEGABYTE)])
        ]
    assert all(peak is None or peak < 20 * MEGABYTE for peak in peaks)
    assert any(peak is not None for peak in peaks)


def _read_slowly(array):
    total = int(array.sum())
    work.time.sleep(0.01)
    return total
