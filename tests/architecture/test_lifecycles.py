"""The page of lives is drawn from the tables, and every state in them can be reached."""

import pytest

from adaptive_exec.core import lifecycle
from tests.architecture.lifecycles import PAGE, draw, tables


def test_the_page_is_drawn_from_the_tables():
    assert PAGE.read_text(encoding="utf-8") == draw(), "draw it anew; its head says how"


@pytest.mark.parametrize("name", tables())
def test_every_state_can_be_reached(name):
    table = getattr(lifecycle, name)
    reached = [next(iter(table))]
    for state in reached:
        reached += [new for new in table[state].values() if new not in reached]

    assert set(reached) == set(table)


@pytest.mark.parametrize("name", tables())
def test_what_is_not_in_a_table_fails(name):
    table = getattr(lifecycle, name)
    for state in table:
        with pytest.raises(AssertionError, match="cannot see"):
            lifecycle.after(table, state, "a miracle")
