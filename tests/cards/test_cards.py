"""Cards and references; the default card measures real files."""

import math
import sys
from pathlib import Path

import pytest

from adaptive_exec.cards import stdlib
from adaptive_exec.cards.card import DEFAULT_CARD, find_card, load_function
from adaptive_exec.cards.prepared import batch_of_card
from adaptive_exec.cards.sample import SampleChoice


def measured(tmp_path: Path, text: str | bytes) -> dict[str, object]:
    path = tmp_path / "module.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return stdlib.measure(stdlib.Source("module.py", str(path)))


def test_the_default_card_has_hundreds_of_files_in_a_fixed_order_without_tests():
    names = [source.name for source in stdlib.sources()]

    assert 300 < len(names) < 1500
    assert names == sorted(set(names))
    assert not [name for name in names if "/test/" in name or "site-packages" in name]
    assert {"ast.py", "json/decoder.py", stdlib.SHIPPED_NAME} <= set(names)


def test_the_shipped_file_is_a_row_with_an_error_and_not_a_failure():
    source = next(one for one in stdlib.sources() if one.name == stdlib.SHIPPED_NAME)

    row = stdlib.measure(source)

    assert str(row["error"]).startswith("SyntaxError: ")
    assert row["source_bytes"] == Path(source.path).stat().st_size
    assert row["complexity"] is None
    assert tuple(row) == stdlib.COLUMNS


def test_every_part_of_a_module_is_counted(tmp_path: Path):
    row = measured(
        tmp_path,
        "class A:\n"
        "    def first(self, x):\n"
        "        if x and x > 1 or x == 3:\n"  # if + and + or: 3
        "            return [y for y in x if y]\n"  # comprehension and its condition: 2
        "        return 1 if x else 2\n"  # 1
        "    async def second(self):\n"
        "        def inner():\n"
        "            assert True\n"  # 1, of inner
        "        try:\n"
        "            pass\n"
        "        except ValueError:\n"  # 1
        "            pass\n"
        "match A:\n"
        "    case int():\n"  # 1, of the module
        "        pass\n"
        "    case _:\n"  # 0
        "        pass\n",
    )

    expected = {
        "lines": 17,
        "functions": 3,
        "classes": 1,
        "branches": 9,
        "complexity": 13,
        "highest_complexity": 7,
        "longest_function": "second",
        "longest_function_lines": 7,
        "error": None,
    }
    assert {name: row[name] for name in expected} == expected
    assert math.prod(int(str(row[f"{what}_bytes"])) for what in ("bytecode", "source")) > 0


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def f(:\n", "SyntaxError: "),
        (b"x = '\xff'\n", "SyntaxError: "),
        (b"# coding: no-such\n", "SyntaxError: "),
        (b"x = 1\0\n", ("ValueError: ", "SyntaxError: ")),
        ("return 1\n", "SyntaxError: "),
    ],
    ids=["grammar", "bytes", "coding", "null", "compiler"],
)
def test_a_file_that_does_not_parse_or_decode_is_a_row_with_an_error(
    text: str | bytes, error: str | tuple[str, ...], tmp_path: Path
):
    assert str(measured(tmp_path, text)["error"]).startswith(error)


def test_the_default_card_is_found_and_its_batch_is_limited():
    batch = batch_of_card(find_card(DEFAULT_CARD), SampleChoice(-3, seed=4))

    places = [(place, batch.label(place, task)) for place, task in batch.tasks()]
    assert batch.total == 3 == len(places)
    assert "limited to a random sample of 3 (seed 4)" in batch.loaded
    assert batch.columns == stdlib.COLUMNS


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("os", "function must be package.module:function, got 'os'"),
        (":f", "function must be package.module:function"),
        (".os:f", "function must be package.module:function"),
        ("no_such_module:f", "cannot import 'no_such_module' .*ModuleNotFoundError"),
        ("os.path:joinn", "os.path has no 'joinn', .*did you mean 'join'"),
        ("exits:f", "cannot import 'exits' .*SystemExit"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused_with_the_way_out(
    reference: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ValueError, match=why) as caught:
        load_function(reference)

    assert "; " in str(caught.value)
    assert "exits" not in sys.modules


def test_a_reference_to_something_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="must be callable, got 'os:sep', which is str"):
        load_function("os:sep")


def test_a_reference_may_lead_into_a_class():
    assert load_function("pathlib:Path.as_posix") is Path.as_posix


def test_an_unknown_card_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="unknown card, got 'stdlb'; did you mean 'stdlib'"):
        find_card("stdlb")
