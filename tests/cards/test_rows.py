"""What a function returns becomes a row of plain cells."""

import pickle
from collections import OrderedDict
from enum import IntEnum

import numpy as np
import pytest

from adaptive_exec.cards.cells import RowTask, make_cell, make_row, unchanged


class Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (0.5, 0.5),
        ("text", "text"),
        (Colour.RED, 1),
        (np.float64(1.5), 1.5),
        (np.int32(3), 3),
        (np.bool_(True), True),
        (np.array(2.5), 2.5),
        (b"bytes", "bytes"),
        ([1, "a"], '[1, "a"]'),
        ((1, 2), "[1, 2]"),
        ({"a": None}, '{"a": null}'),
        ({"b", "a", "c"}, '["a", "b", "c"]'),
        (1 + 2j, "(1+2j)"),
    ],
    ids=repr,
)
def test_a_cell_is_plain(value: object, cell: object):
    found = make_cell(value)

    assert (type(found), found) == (type(cell), cell)


def test_a_mapping_becomes_columns_and_anything_else_the_column_value():
    assert make_row(OrderedDict(b=1, a=[2])) == {"b": 1, "a": "[2]"}
    assert make_row({1: "one"}) == {"1": "one"}
    assert make_row(7) == {"value": 7}


def test_a_text_that_no_file_can_hold_is_the_error_of_its_task():
    with pytest.raises(UnicodeEncodeError):
        make_row({"a": "\udcff"})


def test_a_row_task_survives_pickling_and_works_the_same():
    task = pickle.loads(pickle.dumps(RowTask(abs, unchanged)))

    assert task(-3) == {"value": 3}
