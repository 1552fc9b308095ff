"""One name for one thing."""

import ast
from collections import defaultdict

from tests.architecture.house import PACKAGE, ROOT, read_modules

TWICE = {
    "Progress",  # what an executor tells, and the protocol of what is drawn
    "Caller",  # the protocol of a level, and what has it
    "Packed",  # a value, and a function's module
    "Choice",  # of a victim, and of a chunk
}
"""Names of two classes; none is to come, and what is taken from here stays away."""
FILES_TWICE = {
    "batch", "book", "checks", "folders", "host", "journal", "loop", "memory", "outcomes",
    "processes", "rows", "run", "sizes", "snapshot", "supervise", "waiting",
}  # fmt: skip
"""Names of two files or folders, in different ones; the same holds for them."""


def test_no_two_public_classes_have_one_name():
    found = defaultdict(list)
    for module, tree in read_modules(ROOT / PACKAGE).items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)

    assert {
        name: where for name, where in found.items() if len(where) > 1 and name not in TWICE
    } == {}
    assert [name for name in TWICE if len(found[name]) < 2] == []


def test_no_two_modules_have_one_name():
    found = defaultdict(list)
    for module in read_modules(ROOT / PACKAGE):
        found[module.rpartition(".")[2]].append(module)

    assert {name for name, where in found.items() if len(where) > 1} == FILES_TWICE, found
