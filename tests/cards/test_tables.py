"""Tables are read lazily; a bad record is the error of its own task."""

import gzip
from pathlib import Path

import pytest

from adaptive_exec.cards import packed, tables
from adaptive_exec.cards.tables import open_table


def write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def arguments(path: Path, column: str | None = None) -> list[object]:
    table = open_table(path, column)
    found = [table.decode(record) for record in table.records()]
    assert table.count == len(found)
    return found


@pytest.mark.parametrize(
    ("name", "content", "column", "expected"),
    [
        ("t.csv", "id,s\n1,a\n2,b\n", None, [{"id": "1", "s": "a"}, {"id": "2", "s": "b"}]),
        ("t.csv", "id,s\n1,a\n2,b\n", "s", ["a", "b"]),
        ("t.csv", '\ufeffid,s\r\n1,"a\nb"\r\n\r\n', "s", ["a\nb"]),
        ("t.csv", "id\n", "id", []),
        ("t.jsonl", '{"a": 1}\n\n{"a": [2]}', None, [{"a": 1}, {"a": [2]}]),
        ("t.ndjson", '{"a": 1}\n{"a": null}\n', "a", [1, None]),
        ("t.jsonl", "1\n2\n", None, [1, 2]),
        ("t.jsonl", "", None, []),
        ("t.txt", "\ufeffone\n\n  two \r\n", None, ["one", "  two "]),
        ("list", "ä\n", None, ["ä"]),
    ],
)
def test_a_table_gives_its_records(
    name: str, content: str, column: str | None, expected: list[object], tmp_path: Path
):
    assert arguments(write(tmp_path, name, content), column) == expected


def test_a_parquet_file_gives_its_records_and_reads_only_the_wanted_column(tmp_path: Path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"a": list(range(3000)), "b": ["x"] * 3000}), path)

    assert arguments(path, "a") == list(range(3000))
    assert arguments(path)[2999] == {"a": 2999, "b": "x"}


@pytest.mark.parametrize("name", ["t.csv.gz", "t.tsv.gz", "t.jsonl.gz", "t.txt.gz", "t.CSV.GZ"])
def test_a_packed_table_is_unpacked_on_the_way(name: str, tmp_path: Path):
    content = {"csv": b"a,b\n1,2\n", "tsv": b"a\tb\n1\t2\n", "jsonl": b'{"a": "1", "b": "2"}\n'}
    text = content.get(name.lower().split(".")[1], b"1\n")
    path = write(tmp_path, name, gzip.compress(text))

    found = arguments(path)

    assert found == (["1"] if "txt" in name else [{"a": "1", "b": "2"}])


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_packed_parquet_file_gives_its_records(packing: str, tmp_path: Path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / f"t.parquet.{packing}"
    plain = pa.BufferOutputStream()
    parquet.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), plain)
    codec = {"gz": "gzip", "zst": "zstd"}[packing]
    with pa.output_stream(str(path), compression=codec) as file:
        file.write(plain.getvalue())

    assert arguments(path, "a") == [1, 2]


def test_lines_packed_as_zst_are_read_where_a_library_is_there(tmp_path: Path):
    pa = pytest.importorskip("pyarrow")
    with pa.output_stream(str(tmp_path / "t.jsonl.zst"), compression="zstd") as file:
        file.write(b'{"a": 1}\n{"a": 2}\n')

    assert arguments(tmp_path / "t.jsonl.zst", "a") == [1, 2]


def test_a_packing_without_a_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packed, "_zstd_library", lambda: None)

    with pytest.raises(ValueError, match=r"needs a library to be unpacked, got .*t.csv.zst"):
        open_table(write(tmp_path, "t.csv.zst", b""), None)


@pytest.mark.parametrize(
    ("name", "content", "column", "why"),
    [
        ("absent.csv", None, None, "input does not exist, got '.*absent.csv'; give"),
        ("t.csv", "", None, "input has no header line"),
        ("t.csv", "a,a\n", None, "has a column twice, got 'a'"),
        ("t.csv", "id,name\n", "nam", "no column, got 'nam' .*did you mean 'name'"),
        ("t.csv", b"\xff\xfe,\n", None, "cannot be read as CSV"),
        ("t.jsonl", "[1,\n", None, "is not JSON lines"),
        ("t.jsonl", '{"a": 1}\n', "b", "no column, got 'b' .*did you mean 'a'"),
        ("t.jsonl", "7\n", "b", "no column, got 'b' .*it has no columns"),
        ("t.txt", "x\n", "b", "a list of lines has no columns, got column 'b'"),
        ("t.csv.gz", b"no gzip", None, "cannot be read as CSV"),
        ("t.zip", b"", None, "write it as .gz"),
        ("t.json", "[]", None, r"write it as JSON lines \(.jsonl\)"),
        ("t.parquet", "no parquet", None, "cannot be read as Parquet"),
    ],
)
def test_what_cannot_be_read_is_refused_with_value_and_way_out(
    name: str, content: str | bytes | None, column: str | None, why: str, tmp_path: Path
):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name if content is None else write(tmp_path, name, content)

    with pytest.raises(ValueError, match=why) as caught:
        open_table(path, column)

    assert "; " in str(caught.value)


def test_a_folder_or_a_pipe_is_not_an_input(tmp_path: Path):
    with pytest.raises(ValueError, match="is not a regular file"):
        open_table(tmp_path, None)


@pytest.mark.parametrize(
    ("name", "content", "column", "bad"),
    [
        ("t.csv", "a,b\n1,2\n3\n4,5\n", "a", 1),
        ("t.csv", b"a,b\n1,2\n3,\xff\n4,5\n", "a", 1),
        ("t.jsonl", '{"a": 1}\n{bad\n{"a": 2}\n', "a", 1),
        ("t.jsonl", '{"a": 1}\n{"b": 1}\n{"a": 2}\n', "a", 1),
        ("t.txt", b"x\n\xff\ny\n", None, 1),
    ],
    ids=["short record", "bytes", "no json", "no column", "no text"],
)
def test_a_bad_record_is_read_and_fails_when_it_is_decoded_in_its_task(
    name: str, content: str | bytes, column: str | None, bad: int, tmp_path: Path
):
    table = open_table(write(tmp_path, name, content), column)

    records = list(table.records())
    assert len(records) == 3
    for number, record in enumerate(records):
        if number == bad:
            with pytest.raises(ValueError):
                table.decode(record)
        else:
            table.decode(record)


def test_a_long_file_is_not_counted_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "COUNT_BYTES_MAX", 3)

    assert open_table(write(tmp_path, "t.txt", "one\ntwo\n"), None).count is None
