"""Gives the levels other names, in the table and in the tests of this folder; before both load.

A plugin: `python -m pytest -p tests.core.renamed tests/core`. Where the core knows a level by its
name and not by its row, a test fails then.
"""

import ast
from pathlib import Path

import pytest

from adaptive_exec import specs

NAMES = {"cluster": "afar", "process": "cell", "thread": "loom", "sequential": "desk"}
HERE = Path(__file__).parent

specs.SPECS = tuple(spec._replace(name=NAMES[spec.name]) for spec in specs.SPECS)
specs.LEVELS = tuple(NAMES[name] for name in specs.LEVELS)
specs.ISOLATED, specs.SHARED, specs.INLINE = specs.LEVELS
specs.is_isolated = {specs.ISOLATED}.__contains__
specs.is_inline = {specs.INLINE}.__contains__
specs.BESIDE = NAMES[specs.BESIDE]
specs.is_counted = {specs.ISOLATED, specs.SHARED}.__contains__
specs.is_beside = {specs.BESIDE}.__contains__
specs._BY_NAME = {spec.name: spec for spec in specs.SPECS}
_parse = ast.parse


class _Rename(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str) and node.value in NAMES:
            return ast.copy_location(ast.Constant(NAMES[node.value]), node)
        return node


def parse(source, filename="<unknown>", *args, **kwargs):
    """Parse as `ast` does, and rename in what lies here."""
    tree = _parse(source, filename, *args, **kwargs)
    return _Rename().visit(tree) if Path(str(filename)).parent == HERE else tree


ast.parse = parse  # pytest reads test modules by it, and these
pytest.register_assert_rewrite("tests.core.world", "tests.core.feeder")
