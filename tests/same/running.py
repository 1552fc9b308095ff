"""Runs the programs of this folder in many ways, one process for each program, and compares.

A way is `<level> <tasks>`: how tasks run, and how many there are, or what is done to their worker.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from adaptive_exec.config import Config

PROGRAMS = Path(__file__).with_name("programs")
ROOT = PROGRAMS.parents[2]
RUN_SECONDS = 300
NOT_PROGRAMS = {"ways", "shop_settings"}
NEEDED = {
    "numba_kernels": "numba",
    "pyplot": "matplotlib",
    "pandas_options": "pandas",
    "in_a_notebook": "nbclient",
    "under_coverage": "coverage",
}
"""What a program needs that need not be installed."""
LOCAL = ("thread 3", "thread 300", "sequential 3", "sequential 300")
POOLS = ("pool-fork 300", "pool-spawn 300")
ENDLESS = {"without_guard": ("pool-spawn 300",)}
"""Ways in which programs start themselves again and again."""
MAIN_THREAD_ONLY = {"alarms"}
"""Signals are for main threads; tasks of a level in the caller run beside it."""


def _starts():
    """Return the ways to start workers that there are."""
    found = ["process"]
    for start in ("snapshot", "fresh", "loky"):
        try:
            Config(start=start)
        except ValueError:
            continue
        found.append(start)
    return found


KINDS = ("3", "300", "recycled", "killed")
ISOLATED = tuple(f"{start} {kind}" for start in _starts() for kind in KINDS)
WAYS = (*LOCAL, *ISOLATED, "workers 300")


@dataclass(frozen=True, slots=True)
class Said:
    """What a program gave, and printed to its two streams."""

    given: str
    out: str
    err: str


def names():
    """Name all programs."""
    return [*sorted(path.stem for path in _paths()), "in_a_notebook"]


def _paths():
    paths = [path for path in PROGRAMS.glob("*.py") if path.stem not in NOT_PROGRAMS]
    return [*paths, PROGRAMS / "shop" / "of_a_package.py"]


def title_of(name):
    """Return what a program shows, which is the first line of its documentation."""
    if name == "in_a_notebook":
        return "Cells of a notebook; output appears below the cell that runs."
    path = next(path for path in _paths() if path.stem == name)
    text = path.read_text(encoding="utf-8")
    return text.partition('"""')[2].splitlines()[0].removesuffix('"""')


def lacking(name):
    """Return the package that a program needs and that is not there, `""` for none."""
    needed = NEEDED.get(name, "")
    return needed if needed and importlib.util.find_spec(needed) is None else ""


def run(name, ways, folder):
    """Run a program in some ways; return what each way gave."""
    environment = {
        **os.environ,
        "SAME_WAYS": json.dumps(ways),
        "SAME_FOLDER": str(folder),
        "PYTHONPATH": os.pathsep.join([str(PROGRAMS), str(ROOT)]),
        "PYTHONHASHSEED": "5" if name == "fixed_hashes" else "random",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    words, given = _words(name, folder)
    ran = subprocess.run(
        [sys.executable, *words],
        input=given, capture_output=True, text=True, timeout=RUN_SECONDS,
        env=environment, cwd=folder if words[0] != "-m" else PROGRAMS, check=False,
    )  # fmt: skip
    missing = [way for way in ways if not (folder / f"{way}.given").exists()]
    assert not missing, (missing, ran.returncode, ran.stdout[-2000:], ran.stderr[-2000:])
    return {way: _read(way, folder) for way in ways}


def _read(way, folder):
    def read(kind):
        path = folder / f"{way}.{kind}"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return re.sub(r"(in|passed in) [0-9.]+s$", "in no time", text, flags=re.MULTILINE)

    return Said(read("given"), read("out"), read("err"))


def _words(name, folder):
    """Return the interpreter's arguments for a program, and its standard input."""
    path = PROGRAMS / f"{name}.py"
    if name == "of_a_package":
        return ["-m", "shop.of_a_package"], None
    if name == "by_dash_c":
        return ["-c", path.read_text(encoding="utf-8")], None
    if name == "by_standard_input":
        return ["-"], path.read_text(encoding="utf-8")
    if name == "in_a_notebook":
        return ["-m", "tests.same.notebook"], None
    before = {
        "under_profile": ["-m", "cProfile", "-o", str(folder / "profile")],
        "under_coverage": ["-m", "coverage", "run", "--parallel-mode", f"--data-file={folder}/c"],
        "by_unittest": ["-m", "unittest"],
        "by_pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(PROGRAMS)],
        "arguments_of_the_program": [],
    }.get(name, [])
    after = ["--quiet", "a b"] if name == "arguments_of_the_program" else []
    return [*before, name if name == "by_unittest" else str(path), *after], None


def ways_for(name, ways=WAYS):
    """Leave those ways out that are none for a program."""
    if name in MAIN_THREAD_ONLY:
        return [way for way in ways if way not in LOCAL]
    return list(ways)


def loop_of(way):
    """Return the loop that a way is compared with."""
    kind = way.partition(" ")[2]
    return f"loop {kind if kind.isdigit() else 6}"


def differences(way, said, loop):
    """Name in what a way differs from the loop: result, output, error output.

    Where tasks do not run one after the other, lines may come in another order.
    """
    arrange = sorted_lines if way.endswith("killed") or way.startswith("workers") else str
    pairs = {
        "result": (said.given, loop.given),
        "standard output": (arrange(said.out), arrange(loop.out)),
        "error output": (arrange(said.err), arrange(loop.err)),
    }
    return [kind for kind, (here, there) in pairs.items() if here != there]


def sorted_lines(text):
    """Return how often there is which line."""
    return Counter(text.splitlines())
