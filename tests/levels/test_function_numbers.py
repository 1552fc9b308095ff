"""Which functions count as the same, so that what one took of memory is reckoned for the next."""

from functools import partial

import pytest

from adaptive_exec.calls import number_function
from adaptive_exec.levels.functions import pack_function
from tests.levels import work


class Holder:
    def __init__(self, size):
        self.size = size

    def hold(self, _item):
        return self.size


def close_over(size):
    return lambda item: (size, item)


def number(function):
    return number_function(function, pack_function(function))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        pytest.param(work.same, work.same, True, id="a function"),
        pytest.param(work.same, work.square, False, id="another"),
        pytest.param(abs, abs, True, id="of C"),
        pytest.param(partial(work.add, 1), partial(work.add, 1), True, id="equal partials"),
        pytest.param(partial(work.add, 1), partial(work.add, 9), False, id="partials of others"),
        pytest.param(Holder(1).hold, Holder(1).hold, True, id="methods of equal objects"),
        pytest.param(Holder(1).hold, Holder(9).hold, False, id="methods of others"),
        pytest.param(close_over(1), close_over(1), True, id="equal closures"),
        pytest.param(close_over(1), close_over(9), False, id="closures over other data"),
    ],
)
def test_a_function_is_the_same_with_the_same_data_only(one, other, is_same):
    assert number(one) > 0
    assert (number(one) == number(other)) is is_same


def test_a_function_that_cannot_travel_has_no_number():
    assert number_function(work.same, None) == 0
