"""The part of an output is whole lines, whatever comes; a new column makes it anew."""

import csv
import json
from pathlib import Path

import pytest

from adaptive_exec.cards.writers import LivePart, part_of
from tests.e2e.shell import wait_for


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_there_in_time_though_no_other_comes_and_the_part_goes_in_the_end(tmp_path: Path):
    with LivePart(tmp_path / "out.csv", "index", flush_seconds=0.05) as part:
        part.add({"index": 1, "name": "a\nb"})
        wait_for(lambda: read(part.path) == [{"index": "1", "name": "a\nb", "error": ""}])
        part.drop()

    assert list(tmp_path.iterdir()) == []


def test_rows_wait_together_until_they_are_many_or_old(tmp_path: Path):
    with LivePart(tmp_path / "out.csv", "index", flush_seconds=3600) as part:
        part.add({"index": 1, "text": "short"})
        before = part.path.read_text()
        part.add({"index": 2, "text": "x" * 300_000})

        assert [row["index"] for row in read(part.path)] == ["1", "2"]
    assert "short" not in before


def test_a_new_column_finds_its_place_in_the_rows_before(tmp_path: Path):
    with LivePart(tmp_path / "out.csv", "index", flush_seconds=0.0) as part:
        part.add({"index": 0, "error": "bad"})
        part.add({"index": 1, "a": 1})
        part.add({"index": 2, "b": 2, "a": None})

    assert read(part.path) == [
        {"index": "0", "a": "", "b": "", "error": "bad"},
        {"index": "1", "a": "1", "b": "", "error": ""},
        {"index": "2", "a": "", "b": "2", "error": ""},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv.part"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_other_forms_are_lines_of_json_meanwhile(name: str, tmp_path: Path):
    with LivePart(tmp_path / name, "index", flush_seconds=0.0) as part:
        part.add({"index": 0, "a": 1})

    lines = part_of(tmp_path / name).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"index": 0, "a": 1}]
