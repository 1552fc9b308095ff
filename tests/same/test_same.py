"""The level does not show: programs give, print and log what they would as a plain loop."""

import pytest

from tests.same import running, table

DIAGONAL = {
    "changed_globals": "process 300",
    "decorators": "process recycled",
    "logging_dict": "process killed",
    "monkeypatched": "loky 3",
    "of_a_package": "process 3",
}
"""A few programs, each in one way, for the quick ring."""


def differing(name, ways, folder):
    """Return in which ways a program differs from the loop, and in what."""
    loops = sorted({running.loop_of(way) for way in ways})
    said = running.run(name, [*loops, *ways], folder)
    found = {way: running.differences(way, said[way], said[running.loop_of(way)]) for way in ways}
    return {way: (kinds, said[way]) for way, kinds in found.items() if kinds}


@pytest.mark.parametrize("name", sorted(DIAGONAL))
def test_a_few_programs_give_print_and_log_what_the_loop_does(name, tmp_path):
    assert differing(name, [DIAGONAL[name]], tmp_path) == {}


@pytest.mark.same
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", running.names())
def test_every_program_gives_prints_and_logs_what_the_loop_does_in_every_way(name, tmp_path):
    if running.lacking(name):
        pytest.skip(f"{running.lacking(name)} is not installed; pip install -e '.[same]'")
    assert differing(name, running.ways_for(name), tmp_path) == {}


def test_the_page_of_the_table_lists_every_program():
    page = table.PAGE.read_text(encoding="utf-8")
    lines = [line.split(" | ")[:2] for line in page.splitlines() if line.startswith("| ")]
    listed = {name.removeprefix("| "): title for name, title in lines if name != "| program"}
    assert listed == {name: running.title_of(name) for name in running.names()}


def test_there_are_more_than_forty_programs():
    assert len(running.names()) >= 40
