"""One name for one thing."""

import ast
from collections import defaultdict

from tests.architecture.house import PACKAGE, ROOT, read_modules


def test_no_two_public_classes_have_one_name():
    found = defaultdict(list)
    for module, tree in read_modules(ROOT / PACKAGE).items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)

    assert {name: where for name, where in found.items() if len(where) > 1} == {}


def test_no_two_modules_have_one_name():
    found = defaultdict(list)
    for module in read_modules(ROOT / PACKAGE):
        found[module.rpartition(".")[2]].append(module)

    assert {name: where for name, where in found.items() if len(where) > 1} == {}
