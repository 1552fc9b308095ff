"""Values go into bytes and come back; large ones lie apart, compressed where that pays."""

import threading

import numpy as np
import pytest

from adaptive_exec.errors import PoisonTaskError, TaskError, WorkerTraceback
from adaptive_exec.journal import values
from adaptive_exec.journal.values import (
    OUTLYING_BYTES,
    PART_BYTES,
    RAW,
    ZLIB,
    join_parts,
    pack_failure,
    pack_value,
    parts_of,
    unpack_failure,
    unpack_value,
)


def there_and_back(value):
    piece = pack_value(value)
    parts = [(part.place, part.codec, bytes(part.body)) for part in parts_of(piece.outlying)]
    return piece, parts, unpack_value(piece.body, join_parts(parts))


def test_a_small_value_lies_in_its_row():
    piece, parts, again = there_and_back({"a": [1, 2.5, None]})

    assert again == {"a": [1, 2.5, None]}
    assert piece.body is not None
    assert parts == []


@pytest.mark.parametrize(
    ("array", "codec"),
    [
        pytest.param(np.zeros(100_000), ZLIB, id="zeros are squeezed"),
        pytest.param(np.random.default_rng(1).random(100_000), RAW, id="noise is not"),
    ],
)
def test_a_large_array_lies_apart_and_is_squeezed_where_that_pays(array, codec):
    piece, parts, again = there_and_back({"array": array, "name": "x"})

    assert np.array_equal(again["array"], array)
    assert again["array"].flags.writeable
    assert piece.body is not None
    assert len(piece.body) < 1000
    assert [part[1] for part in parts] == [codec]
    if codec == ZLIB:
        assert len(parts[0][2]) < array.nbytes / 100


@pytest.mark.parametrize("size", [OUTLYING_BYTES, 3 * OUTLYING_BYTES])
def test_a_long_pickle_lies_apart(size: int):
    piece, parts, again = there_and_back("ab" * size)

    assert again == "ab" * size
    assert piece.body is None
    assert parts


def test_several_arrays_in_a_long_pickle_come_back_in_order():
    value = ["x" * 2 * OUTLYING_BYTES, np.zeros(50_000), np.ones(50_000)]

    piece, _, again = there_and_back(value)

    assert piece.body is None
    assert again[0] == value[0]
    assert not again[1].any()
    assert again[2].all()


def test_a_piece_is_cut_into_parts(monkeypatch):
    monkeypatch.setattr(values, "PART_BYTES", 100_000)
    noise = np.random.default_rng(2).bytes(250_001)

    _, parts, again = there_and_back(noise)

    assert again == noise
    assert len(parts) == 3
    assert PART_BYTES < 10**9


def test_a_lambda_is_a_value_too():
    _, _, again = there_and_back(lambda x: x + 1)

    assert again(1) == 2


class StubbornError(Exception):
    def __init__(self, a, b) -> None:
        super().__init__("stubborn")
        self.lock = threading.Lock()  # which nobody packs, tblib included


def test_a_failure_comes_back_with_its_traceback():
    error = ValueError("bad", 7)
    error.__cause__ = WorkerTraceback("Traceback ...")

    piece = pack_failure(error)
    again = unpack_failure(piece.body, ())

    assert type(again) is ValueError
    assert again.args == ("bad", 7)
    assert again.__cause__.text == "Traceback ..."


def test_our_own_error_comes_back_with_its_facts():
    piece = pack_failure(PoisonTaskError(3, "signal 9", attempts=3))

    assert unpack_failure(piece.body, ()).attempts == 3


def test_a_failure_that_cannot_be_packed_gets_a_stand_in():
    again = unpack_failure(pack_failure(StubbornError(1, 2)).body, ())

    assert type(again) is TaskError
    assert again.type_name.endswith("StubbornError")
    assert again.text == "stubborn"
