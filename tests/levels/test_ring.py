"""What tasks say passes a ring in shared memory whole and in order, and nothing else does."""

import os
import pathlib
import random
import threading

import pytest

from adaptive_exec.levels.frames import NoMessageError
from adaptive_exec.levels.ring import PART_BYTES, Ear, Mouth
from adaptive_exec.levels.slate import RING_BYTES, SLATE_BYTES, Slate, make_memory_file

KEY = b"12345678"
pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs memory files")


@pytest.fixture
def ends(tmp_path):
    descriptor = make_memory_file(SLATE_BYTES)
    worker, parent = Slate(descriptor, SLATE_BYTES), Slate(descriptor, SLATE_BYTES)
    os.close(descriptor)
    path = str(tmp_path / "spill")
    ear = Ear(parent, KEY, path)
    mouth = Mouth(worker, KEY, -1, path)
    yield mouth, ear
    if mouth._file >= 0:
        os.close(mouth._file)
    ear.close()
    ear.forget()
    worker.close()
    parent.close()


def hear(ear):
    heard = []
    while (taken := ear.take()) is not None:
        ear.open(taken, lambda said: heard.append((said.kind, said.batch, said.index, said.body)))
    return heard


def test_what_is_said_is_heard_in_order_whatever_its_size(ends):
    mouth, ear = ends
    sizes = random.Random(1)
    for turn in range(200):
        body = bytes([turn]) * sizes.choice([0, 1, 100, PART_BYTES, PART_BYTES + 1, 60_000])
        mouth.say(1, 7, turn, body)
        assert hear(ear) == [(1, 7, turn, body)]


def test_what_nobody_hears_goes_into_a_file_and_comes_behind_the_ring(ends, monkeypatch):
    monkeypatch.setattr("adaptive_exec.levels.ring.SPILL_SECONDS", 0.01)
    mouth, ear = ends
    for _ in range(3):  # it comes back to the ring in between
        said = [(1, 7, number, bytes([number % 256]) * 5000) for number in range(100)]
        for one in said:
            mouth.say(*one)
        assert len(said) * 5000 > 2 * RING_BYTES
        assert hear(ear) == said
        mouth.say(2, 7, 0, b"again")
        assert hear(ear) == [(2, 7, 0, b"again")]


def test_a_full_ring_is_waited_for_where_somebody_hears(ends):
    mouth, ear = ends
    heard = []
    done = threading.Event()

    def listen():
        while not done.is_set() or ear.has_something():
            heard.extend(hear(ear))

    listener = threading.Thread(target=listen)
    listener.start()
    said = [(1, 7, number, b"x" * 900) for number in range(2000)]
    for one in said:
        mouth.say(*one)
    done.set()
    listener.join()

    assert heard == said
    assert not pathlib.Path(ear._path).exists()


@pytest.mark.parametrize("place", [5, 6, 7, 8, 9])
@pytest.mark.parametrize("value", [1, RING_BYTES + 1, (1 << 64) - 1])
def test_numbers_that_cannot_be_are_refused_or_do_no_harm(ends, place, value):
    mouth, ear = ends
    mouth.say(1, 7, 0, b"x")
    ear._slate.numbers[place] = value

    try:
        heard = hear(ear)
    except (NoMessageError, OSError):
        return
    assert heard == [(1, 7, 0, b"x")]


def test_bytes_that_are_no_frames_are_refused(ends):
    mouth, ear = ends
    noise = random.Random(2)
    mouth.say(1, 7, 0, b"hello" * 100)
    for at in range(0, 400, 7):
        ear._slate.ring[at] = noise.randrange(256)

    with pytest.raises(NoMessageError):
        hear(ear)


def test_a_file_of_what_was_said_has_no_name_once_it_is_read(ends, monkeypatch, tmp_path):
    monkeypatch.setattr("adaptive_exec.levels.ring.SPILL_SECONDS", 0.01)
    mouth, ear = ends
    for turn in range(2):  # the second time both have it
        said = [(1, 7, number, bytes([number]) * 5000) for number in range(100)]
        for one in said:
            mouth.say(*one)
        assert (tmp_path / "spill").exists() == (turn == 0)
        assert hear(ear) == said
        assert not (tmp_path / "spill").exists()


def test_a_worker_whose_parent_is_gone_leaves_no_file(ends, monkeypatch, tmp_path):
    monkeypatch.setattr("adaptive_exec.levels.ring.SPILL_SECONDS", 0.01)
    mouth, _ = ends
    for number in range(100):
        mouth.say(1, 7, number, bytes(5000))
    assert (tmp_path / "spill").exists()
    mouth.leave()
    assert not (tmp_path / "spill").exists()
