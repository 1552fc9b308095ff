"""What a Run says, word for word; `--rewrite` writes it anew, and the diff is the review."""

from pathlib import Path

import pytest

from tests.transcripts.script import replay

FOLDER = Path(__file__).parent
TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_run_orders_what_the_transcript_says(path: Path, request: pytest.FixtureRequest):
    text = path.read_text(encoding="utf-8")

    now = replay(text)

    if request.config.getoption("--rewrite", default=False):
        path.write_text(now, encoding="utf-8")
    else:
        assert now == text, "commit a rewritten transcript only if you know why it changed"


def test_there_is_a_transcript_for_each_kind_of_trouble():
    assert len(TRANSCRIPTS) >= 12
