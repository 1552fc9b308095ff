"""The floors of the house: imports go down, never up, sideways or round in a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.architecture.house import PACKAGE, ROOT, foreign_imports, own_imports, read_modules

FLOORS = (
    {"config", "errors", "specs", "system", "program"},
    {"core"},
    {"levels", "host", "journal", "ledger", "log", "sim"},
    {"engine"},
    {
        "executor",
        "asking",
        "asynchronous",
        "calls",
        "measures",
        "submits",
        "results",
        "sources",
        "salvage",
        "records",
        "outcomes",
        "display",
        "drawing",
        "guard",
        "supervise",
        "typed",
    },
    {"", "__main__", "clients", "cards", "cli"},
)
APART = FLOORS[2]
"""Groups that share a floor and may not know each other."""
MAY_NEST = {"cli", "executor"}
"""Groups that may import ours inside a function: the command to start fast, the front door because
a host without sockets has no process level. It counts as at the top."""
LOADED_BY_OTHERS = {"adaptive_exec.clients.xdist", "adaptive_exec.drawing.shown"}
"""Modules that may do the same: every pytest loads the one, every report the other, also where no
memory is left."""

CALLED_IN_SYSTEM = {
    "killpg": {
        # the sentinel is run as a file and loads nothing of the package
        "adaptive_exec.supervise.sentinel",
        # their own group at once, or that of a child which `Popen` has reaped
        "adaptive_exec.levels.zygote_main", "adaptive_exec.levels.zygote",
        "adaptive_exec.cli.instances",
    },
    "pidfd_open": set(),
    "flock": {"adaptive_exec.levels.remains"},  # a worker, for which `locks` takes 1 ms
}  # fmt: skip
"""What only `system` calls, with the modules that have a reason not to ask it."""

CORE_MAY_IMPORT = {
    "__future__", "bisect", "collections", "collections.abc", "dataclasses", "enum", "functools",
    "heapq", "itertools", "math", "operator", "typing",
}  # fmt: skip
CORE_MAY_NOT_CALL = {"open", "print", "input", "eval", "exec", "__import__", "breakpoint"}

TREES = read_modules(ROOT / PACKAGE)


def group_of(module: str) -> str:
    return [*module.split("."), ""][1]


def floor_of(module: str) -> int:
    floors = [floor for floor, groups in enumerate(FLOORS) if group_of(module) in groups]
    assert floors, f"{module} has no floor; give its group one in {__name__} and in docs/design.md"
    return floors[0]


def breaches(trees: dict[str, ast.Module]) -> list[str]:
    """Say every import of the package that breaks a rule of the house."""
    found = []
    for name in trees:
        for one in own_imports(name, trees):
            where = f"{name}:{one.line} imports {one.target}"
            same_group = group_of(name) == group_of(one.target)
            if floor_of(one.target) > floor_of(name):
                found.append(f"{where}: upward")
            if {group_of(name), group_of(one.target)} <= APART and not same_group:
                found.append(f"{where}: across")
            if one.nested and group_of(name) not in MAY_NEST and name not in LOADED_BY_OTHERS:
                found.append(f"{where}: inside a function")
    return found


def circle(trees: dict[str, ast.Module]) -> list[str]:
    graph = {name: {one.target for one in own_imports(name, trees)} - {name} for name in trees}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def core_breaches(trees: dict[str, ast.Module]) -> list[str]:
    found = []
    for name in (name for name in trees if group_of(name) == "core"):
        found += [
            f"{name}:{one.line} imports {one.target}"
            for one in foreign_imports(name, trees)
            if one.target not in CORE_MAY_IMPORT
        ]
        found += [
            f"{name}:{node.lineno} calls {node.func.id}"
            for node in ast.walk(trees[name])
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in CORE_MAY_NOT_CALL
        ]
    return found


def test_every_module_stands_on_a_floor():
    assert {floor_of(name) for name in TREES} >= {0, 1}


def test_imports_go_down_and_stay_in_their_group():
    assert breaches(TREES) == []


def test_the_floor_of_the_operating_system_knows_nothing_of_us():
    found = [
        one.target
        for name in TREES
        if group_of(name) == "system"
        for one in own_imports(name, TREES)
        if group_of(one.target) not in ("system", "")
    ]

    assert found == []


@pytest.mark.parametrize("called", CALLED_IN_SYSTEM)
def test_the_operating_system_is_asked_in_one_place(called: str):
    found = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == called and group_of(name) != "system"
    }

    assert found == CALLED_IN_SYSTEM[called]


def test_no_imports_go_round_in_a_circle():
    assert circle(TREES) == []


def test_the_core_reaches_for_nothing_outside_itself():
    assert core_breaches(TREES) == []


@pytest.mark.parametrize(
    ("module", "source", "breach"),
    [
        pytest.param("core/plan.py", "from adaptive_exec.levels import base", "upward", id="up"),
        pytest.param("core/plan.py", "from ..engine import drive", "upward", id="relative up"),
        pytest.param("levels/base.py", "import adaptive_exec.host", "across", id="sideways"),
        pytest.param("levels/base.py", "from .. import host", "across", id="relative sideways"),
        pytest.param(
            "log.py", "def f():\n    import adaptive_exec.errors", "inside a function", id="hidden"
        ),
        pytest.param(
            "log.py",
            "def f():\n    import_module('adaptive_exec.cli')",
            "upward",
            id="through importlib",
        ),
        pytest.param(
            "core/plan.py",
            "if TYPE_CHECKING:\n    from adaptive_exec.cli import main",
            "upward",
            id="for types only",
        ),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, module: str, source: str, breach: str):
    house = small_house(tmp_path, {module: source})

    found = breaches(read_modules(house))

    assert any(line.endswith(breach) for line in found), found


def test_a_circle_is_found(tmp_path: Path):
    house = small_house(
        tmp_path, {"core/a.py": "from adaptive_exec.core import b", "core/b.py": "from . import a"}
    )

    assert {"adaptive_exec.core.a", "adaptive_exec.core.b"} == set(circle(read_modules(house)))


@pytest.mark.parametrize("source", ["import time", "from random import choice", "open('x')"])
def test_a_core_that_reaches_out_is_found(tmp_path: Path, source: str):
    house = small_house(tmp_path, {"core/plan.py": source})

    assert len(core_breaches(read_modules(house))) == 1


def test_a_command_may_load_what_it_is_asked_for(tmp_path: Path):
    house = small_house(tmp_path, {"cli.py": "def f():\n    import adaptive_exec.engine"})

    assert breaches(read_modules(house)) == []


def small_house(folder: Path, sources: dict[str, str]) -> Path:
    house = folder / PACKAGE
    empty = [
        "__init__",
        "cli",
        "errors",
        "core/__init__",
        "engine/__init__",
        "levels/__init__",
        "host/__init__",
    ]
    for name in [f"{name}.py" for name in empty]:
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).touch()
    for name, source in sources.items():
        (house / name).write_text(source, encoding="utf-8")
    return house
