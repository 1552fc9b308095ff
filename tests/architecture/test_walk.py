"""A warm call does not pass ever more of our functions and files."""

import json
import subprocess
import sys

from tests.architecture.house import ROOT

FUNCTIONS_MAX, FILES_MAX, CALLS_MAX = 405, 72, 780
SECONDS = 120.0


def test_a_warm_map_of_one_task_passes_no_more_functions_than_it_did():
    done = subprocess.run(
        [sys.executable, "-m", "tests.architecture.walk"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    walks = json.loads(done.stdout)
    functions, files, calls = map(min, zip(*walks, strict=True))
    assert functions <= FUNCTIONS_MAX, walks
    assert files <= FILES_MAX, walks
    assert calls <= CALLS_MAX, walks
