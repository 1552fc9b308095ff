"""Which tasks run: the first so many, or a sample, always in the order of the input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.cards.sample import SampleChoice, choose, draw

LETTERS = list("abcdefgh")


def chosen(choice: SampleChoice, total: int | None = None) -> list[tuple[int, object]]:
    return list(choose(choice, total, lambda: LETTERS)[1]())


@pytest.mark.parametrize(
    ("count", "places"),
    [
        (None, range(8)),
        (3, range(3)),
        (8, range(8)),
        (99, range(8)),
        (-8, range(8)),
        (-99, range(8)),
    ],
)
@pytest.mark.parametrize("total", [None, 8], ids=["uncounted", "counted"])
def test_a_count_chooses_that_many_in_order(count: int | None, places: range, total: int | None):
    assert chosen(SampleChoice(count), total) == [(place, LETTERS[place]) for place in places]


@pytest.mark.parametrize("total", [None, 8], ids=["uncounted", "counted"])
def test_a_negative_count_is_a_random_sample_in_the_order_of_the_input(total: int | None):
    found = chosen(SampleChoice(-3, seed=1), total)

    assert len(found) == 3
    assert found == sorted(found)
    assert all(LETTERS[place] == letter for place, letter in found)


def test_the_same_seed_draws_the_same_sample_and_others_draw_others():
    samples = [chosen(SampleChoice(-3, seed=seed)) for seed in range(20)]

    assert samples == [chosen(SampleChoice(-3, seed=seed)) for seed in range(20)]
    assert len({str(sample) for sample in samples}) > 10


@given(st.integers(-50, -1), st.integers(0, 40), st.integers(0, 1000))
def test_a_sample_has_no_place_twice_and_none_outside(count: int, total: int, seed: int):
    places = draw(SampleChoice(count, seed), total)

    assert len(places) == min(-count, total) == len(set(places))
    assert places == sorted(places)
    assert all(0 <= place < total for place in places)


def test_a_count_of_zero_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="count must not be 0, got 0; give"):
        SampleChoice(0)


def test_what_is_chosen_can_be_had_again_for_the_next_pass():
    _, tasks = choose(SampleChoice(-2, seed=5), None, lambda: iter(LETTERS))

    assert list(tasks()) == list(tasks())


def test_the_first_tasks_of_an_endless_input_are_had_without_reading_it_all():
    def endless():
        while True:
            yield "x"

    total, tasks = choose(SampleChoice(2), None, endless)

    assert total is None
    assert list(tasks()) == [(0, "x"), (1, "x")]
