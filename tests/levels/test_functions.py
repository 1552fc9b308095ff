"""Functions as they travel to processes: a large one in one file for all, or in-band without it."""

import functools
import os

import numpy as np
import pytest

from adaptive_exec.levels.arena import Arena
from adaptive_exec.levels.functions import are_large, pack_function, parts_of
from adaptive_exec.levels.member import Member, put_function
from adaptive_exec.levels.starter import Seat
from adaptive_exec.program.c_pickle import loads
from tests.levels import work
from tests.levels.test_arena import KEY, Pair, descriptors, descriptors_left
from tests.levels.test_what_leaves import Payload, shared_files, total

MEGABYTE = 1 << 20


@pytest.mark.parametrize("left", [None, 0], ids=["beside", "lost"])
def test_a_large_function_arrives_also_without_a_descriptor_for_it(left):
    pair = Pair()
    array = np.arange(MEGABYTE)
    packed = pack_function(functools.partial(total, array))
    member = Member(1, Seat(pair.links[0], None, KEY), Arena(64 * MEGABYTE))
    member.channel = pair.left
    before = descriptors()
    put_function(member, 7, packed)
    frames = []
    pair.left.flush()
    if left is None:
        frames += pair.right.read()[0]
    else:
        with descriptors_left(left):
            frames += pair.right.read()[0]
    while len(frames) < 2:
        pair.right.flush()
        assert not pair.left.read()[0]
        pair.left.flush()
        frames += pair.right.read()[0]
    part, frame = frames
    assert frame.head[1] == 7
    assert frame.head[4] == (0,)
    assert not frame.buffers
    assert loads(frame.head[3], buffers=part.buffers)(0) == array.sum()
    assert descriptors() == before

    del part, frame, frames, packed
    pair.give_back()
    assert shared_files() == 0
    pair.close()


def test_a_child_of_the_caller_holds_no_large_function():
    packed = pack_function(functools.partial(total, np.ones(2 * MEGABYTE, np.uint8)))
    assert packed.laid
    pid = os.fork()
    if pid == 0:
        count = shared_files()
        del packed
        os._exit(count)
    assert os.waitpid(pid, 0)[1] == 0
    assert shared_files() == 1


@pytest.mark.parametrize("call", ["memfd_create", "ftruncate", "pwrite"])
def test_without_shared_memory_a_large_function_is_packed_all_the_same(monkeypatch, call):
    def refuse(*_):
        raise OSError(24, "refused")

    before = descriptors()
    monkeypatch.setattr(os, call, refuse)
    packed = pack_function(functools.partial(total, np.ones(2 * MEGABYTE, np.uint8)))
    monkeypatch.undo()

    assert not packed.laid
    assert loads(packed.body)(1) == 2 * MEGABYTE + 1
    assert descriptors() == before


@pytest.mark.parametrize(
    ("function", "large"),
    [
        (work.same, False),
        (abs, False),
        (functools.partial(total, np.ones(MEGABYTE, np.uint8)), True),
        (functools.partial(total, np.ones(10)), False),
        (Payload(2 * MEGABYTE).__init__, True),
        (lambda: NESTED, True),
        (lambda: np.sum(1), False),
        (lambda one=b"x" * MEGABYTE: one, True),
        (lambda: count_nested(), True),  # noqa: PLW0108  # it is what it calls that is large
    ],
    ids=["importable", "of C", "partial", "small partial", "method", "nested", "module", "default",
         "of another"],
)  # fmt: skip
def test_large_functions_are_known_at_a_glance(function, large):
    assert are_large(parts_of(function)) == large


NESTED = {"one": [{"two": np.ones(2 * MEGABYTE, np.uint8)}]}
count_nested = lambda: len(NESTED)  # noqa: E731  # travels by value
