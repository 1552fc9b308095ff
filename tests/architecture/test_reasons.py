"""Each reason code has its row: cause, what the program did, what one can do."""

import pytest

from adaptive_exec.core.meanings import MEANINGS, SECTIONS
from adaptive_exec.core.reason import Code
from tests.architecture.reasons import PAGE, draw


def test_each_code_has_a_meaning():
    assert set(MEANINGS) == set(Code)
    assert sum(len(codes) for codes in SECTIONS.values()) == len(MEANINGS)


@pytest.mark.parametrize("code", Code)
def test_a_meaning_is_said_in_sentences(code: Code):
    meaning = MEANINGS[code]

    for text in filter(None, meaning):
        assert text[0].isupper() or text[0] == "`"
        assert text.endswith(".")
        assert "|" not in text
    assert meaning.cause
    assert meaning.did


def test_the_page_is_drawn_from_the_meanings():
    assert PAGE.read_text(encoding="utf-8") == draw(), "run python -m tests.architecture.reasons"
