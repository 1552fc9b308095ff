"""The README says what the code does: its settings, its commands, its examples, its promises."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import adaptive_exec
from adaptive_exec.config import NOT_YET, Config
from tests.architecture.house import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
FIELDS = Config._field_defaults
needs_face = pytest.mark.skipif(
    "adaptive_executor" not in getattr(adaptive_exec, "__all__", ()),
    reason="adaptive_executor is not there yet",
)


def rows(heading: str) -> dict[str, list[str]]:
    """Read the table under a heading: first cell -> its cells."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row for row in cells}


def test_every_setting_has_a_row_and_every_row_a_setting():
    assert list(rows("Settings")) == list(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_stands_with_its_default_and_its_option(name: str):
    _, _, _, default, option, text, source = rows("Settings")[name]

    assert default == repr(FIELDS[name])
    assert option in {"", "--" + name.replace("_", "-")}
    assert ("not yet" in text) == (name in NOT_YET)
    assert source


def test_the_options_are_those_of_the_command():
    tree = ast.parse((ROOT / "adaptive_exec/cli/app.py").read_text(encoding="utf-8"))
    parameters = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}

    assert {name for name, row in rows("Settings").items() if row[4]} == parameters & set(FIELDS)


def test_every_promise_names_tests_that_exist_or_says_that_none_holds_it():
    promises = rows("What it promises")

    assert list(promises) == [f"P{number}" for number in range(1, 14)]
    for number, _, held_by in promises.values():
        paths = re.findall(r"tests/[\w/.]+\.py", held_by)
        assert paths or "not yet held" in held_by, number
        assert [path for path in paths if not (ROOT / path).exists()] == [], number


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:|#)([^)#]+)", README))))
def test_a_link_leads_somewhere(link: str):
    assert (ROOT / link).exists()


def test_the_test_command_is_the_one_that_the_checks_run():
    assert "\nbash run_tests.sh\n" in README
    checks = (ROOT / ".ci/run").read_text()
    assert re.search(r"^ *step .* bash run_tests\.sh( \|\| return)?$", checks, re.MULTILINE)


@needs_face
def test_the_front_door_takes_every_setting():
    parameters = inspect.signature(adaptive_exec.adaptive_executor).parameters

    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    assert takes_any or set(FIELDS) <= set(parameters)


@needs_face
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
@pytest.mark.parametrize("how", ["as a script", "from standard input"])
def test_an_example_runs(block: str, how: str, tmp_path: Path):
    script = tmp_path / "example.py"
    script.write_text(block, encoding="utf-8")
    arguments, given = ([str(script)], None) if how == "as a script" else (["-"], block)

    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        input=given,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
