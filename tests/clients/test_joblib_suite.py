"""joblib's own tests of `Parallel`, as they are installed, with our backend in the place of loky.

    .venv-test/bin/python -m tests.clients.test_joblib_suite    says what fails and why it may

Those that ask for loky by its class, its files or its words are left out.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("joblib.test.test_parallel") is None:
    pytest.skip("needs joblib with its tests", allow_module_level=True)

LOOKS_INSIDE = {
    "test_nested_parallel_warnings": "counts loky's warnings",
    "back_compat_backend-adaptive": "a process of joblib's does not know backends of others",
    "test_parallel_pickling": "asks for loky's words",
    "test_error_capture[loky]": "looks at loky's pool",
    "test_backend_context_manager": "asks for loky's class",
    "test_nested_backend_context_manager": "asks for loky's class",
    "test_parallel_with_interactively": "starts programs of its own, which do not know us",
    "test_parallel_with_unpicklable_functions": "starts programs of its own, which do not know us",
    "test_auto_memmap_on_arrays": "asks for files that are mapped; our arrays lie in memory files",
    "test_memmapping_leaks": "looks at joblib's folder of mapped files",
    "test_multiple_generator_call_separated_gc": "wants an error where we have none",
    "test_backend_hinting": "asks for loky's class",
    "test_invalid_backend_hinting": "wants an error for shared memory, which we have",
    "test_nested_parallelism_limit": "asks for loky's class at each depth",
}
SECONDS = 900.0
LEAST = 180
"""Tests that must be there: fewer mean that joblib names them differently now."""


def run() -> "subprocess.CompletedProcess[str]":
    root = Path(__file__).parents[2]
    return subprocess.run(
        [
            sys.executable,
            *("-m", "pytest", "--pyargs", "joblib.test.test_parallel", "-q", "-x"),
            *("-p", "tests.clients.adaptive_as_loky", "-p", "no:cacheprovider"),
            *("-c", os.devnull, "--rootdir", str(root), "-o", "addopts="),
            *("-k", "(loky or adaptive) and not " + " and not ".join(map(_word, LOOKS_INSIDE))),
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def _word(name: str) -> str:
    """Write a name as pytest's -k takes it, which knows no brackets."""
    return name.partition("[")[0].replace("-", " and ") if "[" in name else name


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_joblibs_own_tests_pass_with_our_backend_in_the_place_of_its_own():
    done = run()
    assert done.returncode == 0, done.stdout[-5000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) >= LEAST


if __name__ == "__main__":
    print(run().stdout)
