"""Batches of rows: of the size that was asked for, with types and index, never the whole file."""

from pathlib import Path

import pytest

from adaptive_exec.cards.card_file import read_card
from adaptive_exec.cards.filed import batch_of_file
from adaptive_exec.cards.prepared import CardBatch
from adaptive_exec.cards.row_batches import RowsTask
from adaptive_exec.cards.sample import SampleChoice
from adaptive_exec.cards.spool import Spool

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

CARD = """
[task]
function = "os:fspath"
[input]
file = "{file}"
batch_size = {size}
{more}
"""


def made(folder: Path, file: str, size: int, more: str = "") -> CardBatch:
    path = folder / "mine.toml"
    path.write_text(CARD.format(file=file, size=size, more=more))
    return batch_of_file(read_card(path), SampleChoice())


def frames(batch: CardBatch) -> list["pd.DataFrame"]:
    assert isinstance(batch.function, RowsTask)
    return [batch.function.decode(task) for _, task in batch.tasks()]


@pytest.fixture
def frame() -> "pd.DataFrame":
    return pd.DataFrame(
        {
            "small": pd.array([1, 2, 3, 4, 5, 6, 7], dtype="int8"),
            "kind": pd.Categorical(list("aabbaab")),
            "when": pd.date_range("2024-01-01", periods=7, tz="UTC"),
            "wide": ["x" * 1000] * 7,
        },
        index=pd.Index(range(10, 17), name="row"),
    )


@pytest.mark.parametrize("rows_per_group", [2, 3, 100])
def test_batches_have_the_size_whatever_the_groups_of_the_file(
    rows_per_group: int, frame: "pd.DataFrame", tmp_path: Path
):
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=rows_per_group)

    batch = made(tmp_path, "t.parquet", 3, 'columns = ["small", "kind", "when"]')
    found = frames(batch)

    assert batch.total == 3
    assert [len(one) for one in found] == [3, 3, 1]
    pd.testing.assert_frame_equal(
        pd.concat(found), frame[["small", "kind", "when"]], check_categorical=False
    )


def test_a_limit_counts_rows(frame: "pd.DataFrame", tmp_path: Path):
    frame.to_parquet(tmp_path / "t.parquet")

    batch = made(tmp_path, "t.parquet", 3, "limit = 4")

    assert [len(one) for one in frames(batch)] == [3, 1]
    assert batch.total == 2


def test_rows_of_csv_are_frames_of_text_and_may_be_chosen(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n3,z\n")

    batch = made(tmp_path, "t.csv", 2, 'columns = ["a"]\nwhere = "b != \'x\'"')

    assert [one.to_dict("list") for one in frames(batch)] == [{"a": ["2", "3"]}]


def test_a_frame_gives_rows_with_its_index_and_without_gaps():
    task = RowsTask(lambda frame: frame, lambda task: task)
    frame = pd.DataFrame({"a": [1.5, None]}, index=pd.Index(["x", "y"], name="row"))

    assert task(frame) == [{"row": "x", "a": 1.5}, {"row": "y", "a": None}]


@pytest.mark.parametrize(
    "more", ['column = "small"', "sample = 2", '[output]\nkeep = ["small"]', "[sweep]\na = [1]"]
)
def test_what_goes_with_single_records_only_is_refused(
    more: str, frame: "pd.DataFrame", tmp_path: Path
):
    frame.to_parquet(tmp_path / "t.parquet")

    with pytest.raises(ValueError, match="batch"):
        made(tmp_path, "t.parquet", 3, more)


def test_rows_of_a_key_that_was_there_are_left_out_in_the_order_of_the_tasks(tmp_path: Path):
    with Spool(tmp_path, unique=["a", "b"]) as spool:
        spool.add(1, [{"a": 1, "b": "x", "n": 3}, {"a": 2, "b": "x", "n": 4}])
        spool.add(0, [{"a": 1, "b": "x", "n": 1}, {"a": 1, "b": "y", "n": 2}])
        spool.add(2, {"index": 2, "error": "no"})

        assert [row.get("n") for row in spool.rows()] == [1, 2, 4, None]
