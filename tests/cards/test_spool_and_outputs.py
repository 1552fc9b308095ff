"""Rows that come in any order are written in the order of the tasks, whole or not at all."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.cards import outputs
from adaptive_exec.cards.outputs import check_output, write_csv, write_parquet, write_table
from adaptive_exec.cards.spool import Spool

ROWS = [{"a": 1, "b": "x"}, {"b": "y", "c": 0.5}, {"a": None}, {"d": True, "a": 2}]


def spooled(folder: Path, order: list[int]) -> Spool:
    spool = Spool(folder)
    for number in order:
        spool.add(number, ROWS[number])
    return spool


@given(order=st.permutations(range(4)))
def test_rows_and_columns_do_not_depend_on_the_order_in_which_they_came(
    order: list[int], tmp_path_factory: pytest.TempPathFactory
):
    with spooled(tmp_path_factory.getbasetemp(), order) as spool:
        assert list(spool.rows()) == ROWS
        assert spool.columns == ["a", "b", "c", "d"]


def test_tasks_without_a_row_are_left_out(tmp_path: Path):
    with spooled(tmp_path, [3, 1]) as spool:
        assert list(spool.rows()) == [ROWS[1], ROWS[3]]


def test_a_spool_leaves_no_file_behind_even_while_it_is_open(tmp_path: Path):
    with spooled(tmp_path, [0, 1]):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, 2, None], int),
        ([1, 0.5], float),
        ([True, None], bool),
        ([1, "x"], str),
        ([True, 1], str),
        ([None], str),
        ([1, 2**70], str),
    ],
    ids=repr,
)
def test_a_column_has_the_narrowest_kind_that_holds_its_cells(
    cells: list[object], kind: type, tmp_path: Path
):
    with Spool(tmp_path) as spool:
        for number, cell in enumerate(cells):
            spool.add(number, {"a": cell})

        assert spool.kind("a") is kind


def test_csv_has_plain_line_ends_and_empty_cells_for_none(tmp_path: Path):
    with spooled(tmp_path, [2, 0, 3, 1]) as spool:
        write_csv(spool.rows(), tmp_path / "out.csv", spool.columns)

    text = (tmp_path / "out.csv").read_bytes()
    assert text == b"a,b,c,d\n1,x,,\n,y,0.5,\n,,,\n2,,,True\n"


def test_json_lines_have_the_cells_of_each_row_in_one_order(tmp_path: Path):
    with spooled(tmp_path, [2, 0, 3, 1]) as spool:
        write_table(spool, tmp_path / "out.jsonl", spool.columns)

    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS


def test_parquet_holds_the_same_rows_with_their_kinds(tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with spooled(tmp_path, [2, 0, 3, 1]) as spool:
        write_parquet(spool, tmp_path / "out.parquet", spool.columns)

    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.to_pylist()[1] == {"a": None, "b": "y", "c": 0.5, "d": None}
    assert [str(field.type) for field in table.schema] == ["int64", "string", "double", "bool"]


def test_parquet_is_written_a_group_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(outputs, "PARQUET_GROUP_ROWS", 3)
    with spooled(tmp_path, [0, 1, 2, 3]) as spool:
        write_table(spool, tmp_path / "out.parquet", spool.columns)

    assert parquet.ParquetFile(tmp_path / "out.parquet").num_row_groups == 2


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path: Path):
    target = tmp_path / "out.csv"
    target.write_text("before")

    def broken():
        yield {"a": 1}
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_csv(broken(), target, ["a"])

    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_hurried_write_stops_in_time_with_whole_lines(tmp_path: Path):
    endless = ({"a": number} for number in iter(random.random, None))

    write_csv(endless, tmp_path / "part.csv", ["a"], seconds=0.05)

    assert (tmp_path / "part.csv").read_text().endswith("\n")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("there.csv", "output exists"),
        ("folder.csv", "not a regular file"),
        ("no/such/out.csv", "folder is not there"),
        ("out.xlsx", "output must end in"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_beforehand(name: str, why: str, tmp_path: Path):
    (tmp_path / "there.csv").touch()
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(ValueError, match=why) as caught:
        check_output(tmp_path / name, force=False)

    assert "; " in str(caught.value)


def test_force_replaces_a_file_but_never_a_folder_or_a_device(tmp_path: Path):
    (tmp_path / "there.csv").touch()
    (tmp_path / "null.csv").symlink_to("/dev/null")

    check_output(tmp_path / "there.csv", force=True)
    with pytest.raises(ValueError, match="not a regular file"):
        check_output(tmp_path / "null.csv", force=True)
