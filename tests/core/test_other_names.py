"""The core asks what a level can do, never what it is called."""

import ast
import os
import subprocess
import sys

import pytest

from adaptive_exec.specs import LEVELS
from tests.architecture.house import PACKAGE, ROOT, read_modules

TESTS = [
    "-pno:cacheprovider",
    "tests/core",
    "--ignore=tests/core/test_config.py",  # settings name levels, in words too
    "--ignore=tests/core/test_other_names.py",
]
NAMELESS = ("core", "engine", "sim", "config")


def named(module: str, tree: ast.Module) -> list[str]:
    return [
        f"{module}:{node.lineno} {node.value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in LEVELS
    ]


def test_no_level_is_named_where_decisions_are_made_and_carried_out():
    trees = read_modules(ROOT / PACKAGE)
    found = [
        line
        for module, tree in trees.items()
        if module.split(".")[1:2] and module.split(".")[1] in NAMELESS
        for line in named(module, tree)
    ]

    assert found == []


@pytest.mark.slow
@pytest.mark.timeout(1500)  # 40 s on a quiet host
def test_levels_of_other_names_pass_the_suite_of_the_core(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.core.renamed", *TESTS],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPYCACHEPREFIX": str(tmp_path),
            "HYPOTHESIS_PROFILE": "short",  # names do not ask for as many examples as rules do
        },
        capture_output=True,
        text=True,
        timeout=1400,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:]
