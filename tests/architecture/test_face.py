"""The public face: few names, sorted, documented."""

import inspect
import subprocess
import sys
import tomllib

import pytest

import adaptive_exec
from tests.architecture.house import ROOT

NAMES = getattr(adaptive_exec, "__all__", [])
needs_face = pytest.mark.skipif(not NAMES, reason="the face has no names yet")


@needs_face
def test_the_names_are_sorted_and_each_stands_once():
    names = [name for name in NAMES if not name.startswith("__")]

    assert names == sorted(set(names))


@needs_face
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("__")])
def test_every_public_name_can_be_had_and_says_what_it_is(name: str):
    thing = getattr(adaptive_exec, name)

    if inspect.isclass(thing) or inspect.isroutine(thing):
        assert inspect.getdoc(thing)
        assert thing.__doc__ is not None


@needs_face
def test_dir_shows_the_names():
    assert set(NAMES) <= set(dir(adaptive_exec))


@needs_face
def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = adaptive_exec.no_such_name


@needs_face
def test_a_star_import_gives_the_names():
    code = "from adaptive_exec import *; import adaptive_exec as a; print({*a.__all__} - {*dir()})"

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert done.stdout.strip() == "set()"


@needs_face
def test_the_version_is_the_one_of_the_distribution():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert getattr(adaptive_exec, "__version__", None) == project["version"]
