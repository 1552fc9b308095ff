"""What the pages name is there, and what they let people use is public."""

import ast
import re

import pytest

import adaptive_exec
from tests.architecture.house import PACKAGE, ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FOLDERS = {"benchmarks", "docs", "examples", "tests", ".ci"}
HOMES = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_dir()}
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
PUBLIC = re.compile(rf"{PACKAGE}(\.clients\.\w+)?$")


def named_paths(text: str) -> set[str]:
    """Return what stands in backticks and reads as a file or folder of this project."""
    words = re.findall(r"`([\w./-]+)`", text)
    return {word for word in words if "/" in word and word.partition("/")[0] in FOLDERS | HOMES}


def exists(path: str) -> bool:
    base = ROOT / PACKAGE if path.partition("/")[0] in HOMES else ROOT
    whole = base / path.rstrip("/")
    return whole.exists() or whole.with_name(f"{whole.name}.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_file_that_a_page_names_is_there(page):
    paths = named_paths(page.read_text(encoding="utf-8"))

    assert {path for path in paths if not exists(path)} == set()


def test_a_word_stands_for_one_thing_and_the_code_has_it():
    rows = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    words = [
        word
        for row in re.findall(r"^\| (\*\*.*?) \|", rows, re.MULTILINE)
        for word in re.findall(r"\*\*([^*]+)\*\*", row)
    ]
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / PACKAGE).rglob("*.py"))

    assert len(words) == len(set(words)), words
    assert [word for word in words if word.rstrip("e").lower() not in code.lower()] == []


def blocks_of(page) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def imported(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(name)):
                found.add(name)
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
    return {name for name in found if name.partition(".")[0] == PACKAGE}


def sources_of(path) -> list[str]:
    return blocks_of(path) if path.suffix == ".md" else [path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_people_are_shown_is_public(path):
    names = set(adaptive_exec.__all__)
    for source in sources_of(path):
        assert {name for name in imported(source) if not PUBLIC.match(name)} == set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
                assert {alias.name for alias in node.names} <= names
