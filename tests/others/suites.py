"""Other people's tests, with the standard pools and with ours in their place.

    python -m tests.others.suites [NAME...]      a line for each: passed, seconds, and what differs

Sources are downloaded as their authors packed them and what they need is installed, once, into an
environment of its own (`OTHERS_VENV`, `.venv-others`). Not here: more-executors, whose package has
no tests in it.
"""

import os
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.architecture.house import ROOT

HERE = Path(__file__).parent
VENV = Path(os.environ.get("OTHERS_VENV", ROOT / ".venv-others"))
INSTALL_SECONDS = 1200
SUITE_SECONDS = 1800
TEST_SECONDS = 300
TRIES = 3
"""Runs with our pools: some of their tests give a worker less than a second, on any host."""
FOR_ALL = ("pytest>=9", "pytest-timeout", "setuptools")

INSIDE = "looks at the standard pool's list of processes"
WE_SEND = "wants an error for a result that cannot be sent; ours is sent"
WE_GIVE = "wants what came before the input's error to be lost where it shares a chunk"
LATER = "wants initializers to run without a task; our workers start with the first one"
OF_POOLS = {
    "test_make_pool": INSIDE,
    "test_pool_worker_lifetime": INSIDE,
    "test_imap_handle_iterable_exception": WE_GIVE,
    "test_pool_initializer": LATER,
    "test_unpickleable_result": WE_SEND,
}
"""Tests of CPython that are left out: one that fails leaves a pool open, for which others wait."""


@dataclass(frozen=True)
class Suite:
    """Tests of somebody's.

    Attributes:
        package: Its name and version, `""` for those of CPython.
        tests: Files or folders within its source.
        more: What else they need.
        options: Of pytest.
        least: Tests that must pass with the standard pools; fewer mean that they are not there.
        left_out: Tests by name, and why.
    """

    package: str
    tests: tuple[str, ...]
    least: int
    more: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


SUITES = {
    "tqdm": Suite("tqdm==4.70.1", ("tests/tests_concurrent.py",), 8),
    "pqdm": Suite("pqdm==0.2.0", ("tests",), 18),
    "trailrunner": Suite("trailrunner==1.4.0", ("trailrunner/tests/core.py",), 11),
    "adaptive": Suite("adaptive==1.5.2", ("adaptive/tests/test_runner.py",), 13, ("scipy",)),
    "apscheduler": Suite(
        "apscheduler==3.11.3", ("tests/test_executors.py",), 20,
        ("anyio", "gevent", "pytz", "sqlalchemy", "tornado", "twisted"),
    ),
    "pylint": Suite(
        "pylint==4.1.4", ("tests/test_check_parallel.py", "tests/lint/unittest_lint.py"), 80,
        ("gitpython", "pytest-benchmark", "pytest-remaster", "py", "requests"),
    ),
    "black": Suite(
        "black==26.10.1",
        ("tests/test_black.py", "tests/test_concurrency_manager_shutdown.py",
         "tests/test_schedule_formatting.py", "tests/test_blackd.py"),
        200, ("aiohttp", "parameterized"), ("-W", "default", "-o", "filterwarnings="),
    ),
    "dask": Suite(
        "dask==2026.8.0", ("dask/tests/test_multiprocessing.py", "dask/bag/tests"), 240,
        ("numpy", "pandas", "pytest-cov", "pytest-mock", "pytest-rerunfailures"),
    ),
    "nipype": Suite(
        "nipype==1.11.0", ("nipype/pipeline/plugins/tests", "nipype/pipeline/engine/tests"), 130,
        ("pandas", "scipy"),
    ),
    "pool": Suite(
        "", (str(HERE / "pool_of_cpython.py"),), 60, (),
        ("-k", " and not ".join(["(TestPool or Initializers or test_pool)", *OF_POOLS])), OF_POOLS,
    ),
}  # fmt: skip


class MissingError(Exception):
    """A suite cannot be had here."""


@dataclass(frozen=True)
class Ran:
    """What became of a suite's tests."""

    passed: frozenset[str]
    others: dict[str, str]
    seconds: float


def run(name: str, *, ours: bool) -> Ran:
    """Run a suite; with our pools, those that failed may try again.

    Raises:
        MissingError: It cannot be had here.
    """
    suite = SUITES[name]
    folder = fetch(suite)
    with TemporaryDirectory(prefix="others-") as cache:
        ran = _run_once(suite, folder, Path(cache), ours=ours, again=False)
        for _ in range(TRIES - 1 if ours else 0):
            if not ran.others:
                break
            anew = _run_once(suite, folder, Path(cache), ours=ours, again=True)
            left = {test: text for test, text in ran.others.items() if test not in anew.passed}
            ran = Ran(ran.passed | anew.passed, left, ran.seconds)
    return ran


def fetch(suite: Suite) -> Path:
    """Return where a suite's source is, with what it needs installed.

    Raises:
        MissingError: It cannot be had here.
    """
    _make_environment()
    if not suite.package:
        return HERE
    name = suite.package.partition("==")[0]
    place = VENV / "sources" / suite.package
    if not place.exists():
        _pip("install", "--no-binary", "black", suite.package, *suite.more)
        with TemporaryDirectory(prefix="others-") as made:
            _pip("download", "--no-deps", "--no-binary", name, "--dest", made, suite.package)
            _unpack(next(Path(made).glob("*.tar.gz")), place)
    return next(place.iterdir())


def _make_environment() -> None:
    stamp = VENV / "ready"
    if stamp.exists():
        return
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True, timeout=INSTALL_SECONDS)
    _pip("install", "--editable", str(ROOT), *FOR_ALL)
    stamp.touch()


def _pip(command: str, *words: str) -> None:
    done = subprocess.run(
        [VENV / "bin/python", "-m", "pip", "--disable-pip-version-check", command, "-q", *words],
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise MissingError(f"pip {command} {' '.join(words)}: {done.stderr.strip()[-300:]}")


def _unpack(archive: Path, place: Path) -> None:
    aside = place.with_name(f"{place.name}.part")
    with tarfile.open(archive) as packed:
        packed.extractall(aside, filter="data")
    aside.rename(place)


def _run_once(suite: Suite, folder: Path, cache: Path, *, ours: bool, again: bool) -> Ran:
    report = cache / "report.xml"
    report.unlink(missing_ok=True)
    words = [
        *(VENV / "bin/python", "-m", "pytest", "-q", *suite.tests, *suite.options),
        *(("-p", "in_their_place") if ours else ()),
        *(("--last-failed",) if again else ()),
        *("-o", "addopts=", "-o", f"cache_dir={cache}", f"--timeout={TEST_SECONDS}"),
        *(f"--junitxml={report}", "-o", "junit_logging=no"),
    ]
    if not suite.package:
        words += ["-c", os.devnull, f"--rootdir={HERE}", "--noconftest"]
    began = time.monotonic()
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE), "ADAPTIVE_EXEC_LEDGER": str(cache / "ledger")},
        capture_output=True,
        text=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    if not report.exists():
        raise AssertionError(done.stdout[-3000:] + done.stderr[-3000:])
    return _read(report, suite, time.monotonic() - began)


def _read(report: Path, suite: Suite, seconds: float) -> Ran:
    passed, others = set(), {}
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        trouble = next((part for part in case if part.tag in {"failure", "error"}), None)
        if (case.get("name") or "").partition("[")[0] in suite.left_out:
            continue
        if trouble is not None:
            others[name] = (trouble.get("message") or trouble.text or "")[:300]
        elif case.find("skipped") is None:
            passed.add(name)
    return Ran(frozenset(passed - set(others)), others, seconds)


def main(names: list[str]) -> None:
    for name in names or SUITES:
        try:
            theirs, ours = run(name, ours=False), run(name, ours=True)
        except MissingError as missing:
            print(f"{name}: not to be had, {missing}")
            continue
        lost = sorted(theirs.passed - ours.passed)
        print(
            f"{name}: {len(theirs.passed)} passed in {theirs.seconds:.1f} s, with our pools "
            f"{len(ours.passed)} in {ours.seconds:.1f} s",
            flush=True,
        )
        for test in lost:
            print(f"    {test}: {ours.others.get(test, 'did not run')}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
