"""Each part of what a run knows has one writer."""

import ast

import pytest

from tests.architecture.house import PACKAGE, ROOT, read_modules

CORE = f"{PACKAGE}.core."
PARTS = {"memory": "memory.", "sharing": "sharing.", "levels": "moves"}
"""The parts of the state, and the folder or file of the core that alone changes each."""
FIELDS = {
    "now": {"run"},
    "orders": {"run"},
    "host": {"memory.readings"},
    "batches": {"dispatch", "moves", "run"},
    "flights": {"counts"},
    "out": {"counts"},
    "suspects": {"counts", "suspects"},
    "solo": {"counts", "suspects"},
    "is_stopping": {"run"},
    "oom_kills": {"staffing"},
    "timer_at": {"run"},
    "is_recording_full": {"run"},
    "is_setting_full": {"run"},
    "starved_at": {"staffing"},
    "known_costs": {"acquainted"},
}
"""What lies in the state itself, and who changes it."""
CHANGES = {"add", "append", "clear", "discard", "pop", "popitem", "remove", "setdefault", "update"}
OPEN_TO_ALL = {"orders"}
"""What everyone may add to."""

TREES = {
    name.removeprefix(CORE): tree
    for name, tree in read_modules(ROOT / PACKAGE).items()
    if name.startswith(CORE)
}


def written(tree: ast.Module, holder: str) -> set[str]:
    """Name the fields of `holder` that a module assigns, deletes or changes in place."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                target = node
            case ast.Subscript(value=ast.Attribute() as target, ctx=ast.Store() | ast.Del()):
                pass
            case ast.Call(func=ast.Attribute(value=ast.Attribute() as target, attr=name)):
                if name not in CHANGES or target.attr in OPEN_TO_ALL:
                    continue
            case _:
                continue
        if ast.unparse(target.value).rpartition(".")[2].lstrip("_") == holder:
            found.add(target.attr)
    return found


def renamed(tree: ast.Module) -> list[str]:
    """Name the parts that a module calls by another name, under which they are not found here."""
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr in PARTS
        and ast.unparse(node.value.value).endswith("state")
        and ast.unparse(node.targets[0]) != node.value.attr
    ]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_state_has_one_writer(part: str):
    writers = {name for name, tree in TREES.items() if written(tree, part)}

    assert writers
    assert {name for name in writers if not name.startswith(PARTS[part])} == set()


def test_a_field_of_the_state_has_the_writers_that_it_had():
    found: dict[str, set[str]] = {}
    for name, tree in TREES.items():
        for field in written(tree, "state"):
            found.setdefault(field, set()).add(name)

    assert found == FIELDS


def test_a_part_keeps_its_name():
    assert {name: found for name, tree in TREES.items() if (found := renamed(tree))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "state.memory.window = 1",
        "self._state.memory.window += 1",
        "memory = state.memory\nmemory.window = 1",
        "state.memory.window[3] = 1",
        "del state.memory.window[3]",
        "state.memory.window.clear()",
    ],
)
def test_a_change_is_seen(source: str):
    assert written(ast.parse(source), "memory") == {"window"}
