"""Run a script as a user without privileges, under real limits, and read what it reports.

Root ignores RLIMIT_NPROC, so the script runs under a user id that nothing else uses, with an
interpreter and a copy of the package that this user can read. Skips where that cannot be had.
"""

import atexit
import functools
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
SCRIPT_SECONDS: Final = 150.0
"""Seconds a script may take; two levels' patience with refused starts is 6.2 s."""
_users = itertools.count(60_000 + os.getpid() % 5_000)
"""User ids from a range that no distribution gives away; each run gets its own, since the kernel
counts the processes of a user, not of a program."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a script.

    Attributes:
        code: Its exit code.
        said: The last line of its output, read as JSON.
        log: The lines that went to stderr.
        exit_seconds: How long the interpreter took to end after its last line.
    """

    code: int
    said: dict[str, Any]
    log: list[str]
    exit_seconds: float


def run_unprivileged(
    script: str, *arguments: object, limits: dict[str, int], is_compiled: bool = False
) -> Ran:
    """Run a script as another user.

    Args:
        script: Name of a script in `tests/faults/scripts`.
        *arguments: For the script.
        limits: Limits by the names of `resource`, without `RLIMIT_`.
        is_compiled: Whether the package is compiled, as an installed one is; else the script does
            that within its limits, module by module.

    Returns:
        What it reported.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root, to become a user without processes of its own")
    home = _readable_copy(is_compiled=is_compiled)
    user = next(_users)
    ledger = Path(tempfile.mkdtemp(prefix="ledger-", dir=home))
    os.chown(ledger, user, user)
    process = subprocess.Popen(
        [_interpreter(), "-B", str(home / "scripts" / script), *map(str, arguments)],
        cwd=home,
        env={
            "PYTHONPATH": os.pathsep.join([str(home), *_site()]),
            "PATH": os.defpath,
            "ADAPTIVE_EXEC_LEDGER": str(ledger),  # what it leaves goes with the test
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=functools.partial(_become, user, limits),  # noqa: PLW1509
    )
    return listen_to(process)


def listen_to(process: "subprocess.Popen[str]") -> Ran:
    """Read what a script says, bounded, and how long it takes to end after that."""
    bound = threading.Timer(SCRIPT_SECONDS, process.kill)
    bound.start()
    try:
        said = process.stdout.readline()
        before = time.monotonic()
        rest, log = process.communicate()
        took = time.monotonic() - before
    finally:
        bound.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert said, f"the script said nothing, exit {process.returncode}:\n{log}{rest}"
    return Ran(process.returncode, json.loads(said), log.splitlines(), took)


def _become(user: int, limits: dict[str, int]) -> None:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    for name, limit in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))


@functools.cache
def _readable_copy(*, is_compiled: bool) -> Path:
    """Copy the package to where any user can read it, for as long as the tests run.

    Not to a folder of pytest's: whoever starts pytest closes the one that holds all of them to
    other users.
    """
    temporary = Path(tempfile.gettempdir())
    for folder in [temporary, *temporary.parents]:
        if not folder.stat().st_mode & 0o001:
            pytest.skip(f"needs a folder for temporary files that any user can enter, got {folder}")
    home = Path(tempfile.mkdtemp(prefix="adaptive-exec-tests-", dir=temporary))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "adaptive_exec", home / "adaptive_exec", ignore=ignore)
    shutil.copytree(ROOT / "tests" / "faults" / "scripts", home / "scripts", ignore=ignore)
    if is_compiled:
        subprocess.run([_interpreter(), "-m", "compileall", "-q", str(home)], check=True)
    for path in [home, *home.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return home


@functools.cache
def _interpreter() -> str:
    """Return an interpreter of this version that any user can run."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    names = [sys.executable, shutil.which(f"python{version}", path=os.defpath)]
    for path in filter(None, names):
        try:
            subprocess.run(
                [path, "-c", "import encodings"],
                check=True,
                capture_output=True,
                cwd="/",
                preexec_fn=functools.partial(_become, 60_000, {}),
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return path
    pytest.skip(f"needs a Python {version} that any user can run, got {names}")


@functools.cache
def _site() -> list[str]:
    """Return the folder of installed packages, if any user can read it."""
    folder = sysconfig.get_path("purelib")
    code = subprocess.run(
        ["ls", folder],
        capture_output=True,
        check=False,
        preexec_fn=functools.partial(_become, 60_000, {}),
    ).returncode
    return [folder] if code == 0 else []
