"""The examples in docstrings run."""

import doctest
import importlib
import logging

import pytest

from tests.architecture.house import PACKAGE, ROOT

NEEDS = {"adaptive_exec.clients.optuna": "optuna"}
SOURCES = sorted((ROOT / PACKAGE).rglob("*.py"))
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in SOURCES
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("default")
def test_the_examples_of_a_module_run(name: str):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"needs {NEEDS[name]}")

    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)

    assert tried > 0
    assert failed == 0
    assert not logging.getLogger(PACKAGE).handlers
