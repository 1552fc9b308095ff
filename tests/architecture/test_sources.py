"""Every number stands beside what it serves, says what it is, and where it comes from."""

import re

from tests.architecture.house import PACKAGE, ROOT
from tests.architecture.numbers import HEAD, PAGE, read_numbers, written_page

NUMBERS = read_numbers()
IN_CONFIG = {"KIB", "MIB", "GIB", "SIZE_BYTES_MIN", "_PERCENT"}
"""What sizes are said in; each other number lies with its policy."""


def test_config_has_settings_only():
    assert {one.name for one in NUMBERS if one.module == "config"} == IN_CONFIG


def test_a_number_says_what_it_is():
    silent = [f"{one.module}: {one.name}" for one in NUMBERS if not one.text]

    assert silent == []


def test_a_number_of_memory_names_its_source():
    judging = [one for one in NUMBERS if one.module.startswith("core.memory.")]

    assert len(judging) > 50
    assert [f"{one.module}: {one.name}" for one in judging if not one.source] == []


def test_the_page_has_each_number_that_names_a_source():
    assert PAGE.read_text(encoding="utf-8") == written_page(), (
        "run python -m tests.architecture.numbers"
    )


def test_what_the_page_tells_of_is_there():
    above = PAGE.read_text(encoding="utf-8").partition(HEAD)[0]
    told = {
        line.split("|")[1].strip().strip("`") for line in above.splitlines() if line[:3] == "| `"
    }

    assert told - {one.name for one in NUMBERS} == set()


def test_the_head_of_memory_has_each_number_of_its_formulae():
    head = (ROOT / PACKAGE / "core/memory/__init__.py").read_text(encoding="utf-8")
    told = set(re.findall(r"\b[A-Z_]{2,}\b", head))

    assert told == {one.name for one in NUMBERS if one.module.startswith("core.memory.")}
