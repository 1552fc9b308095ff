"""Every bound with a source has its entry in docs/sources.md."""

import ast

import pytest

from tests.architecture.house import ROOT

CONFIG = ast.parse((ROOT / "adaptive_exec/config.py").read_text(encoding="utf-8"))
SOURCES = ROOT / "docs/sources.md"


def bounds() -> dict[str, str]:
    """The constants of config.py with the text below each, `""` where there is none."""
    found = {}
    for node, after in zip(CONFIG.body, [*CONFIG.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            found[node.target.id] = str(after.value.value) if said else ""
    return {name: text for name, text in found.items() if not name.startswith("_")}


def test_every_bound_says_what_it_is():
    units = {"KIB", "MIB", "GIB"}

    assert [name for name, text in bounds().items() if not text and name not in units] == []


@pytest.mark.parametrize("name", [name for name, text in bounds().items() if "Source:" in text])
def test_a_bound_with_a_source_has_an_entry(name: str):
    assert f"`{name}`" in SOURCES.read_text(encoding="utf-8")
