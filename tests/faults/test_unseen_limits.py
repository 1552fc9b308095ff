"""A limit above all that a program can see: the first kill shows it, to later starts as well."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from adaptive_exec.system.folder import PLACE_VARIABLE
from tests.cgroups import CHILD_SECONDS, PROJECT, memory_group

MIB = 1024 * 1024
LIMIT_BYTES = 512 * MIB
NO_LIMIT_BYTES = 1 << 62
BATCH = """
import json, logging, sys, time
from adaptive_exec import adaptive_executor, take_snapshot

def hold(number):
    block = bytearray(b"x") * 100_000_000
    time.sleep(0.3)
    return len(block) // 10**8 + number

seen = take_snapshot()
with adaptive_executor(range(16), max_workers=8, isolate=True) as executor:
    results = list(executor.map(hold, range(16)))
    codes = [str(decision.reason.code) for decision in executor.report.decisions]
print(json.dumps({"seen": seen.limit_bytes, "source": seen.limit_source, "codes": codes,
                  "right": results == list(range(1, 17)), "after": take_snapshot().limit_bytes}))
"""


@contextmanager
def blinded(place):
    """Yield how to run Python in a group whose parent has a limit that cannot be seen there."""
    with memory_group(LIMIT_BYTES) as outer, memory_group(NO_LIMIT_BYTES, inside=outer) as inner:
        mount = _mount_of(inner)
        hide = f'mount --make-rprivate / && mount --bind "{inner.folder}" "{mount}"'
        shell = f'set -e; echo 0 > "{inner.folder}/cgroup.procs"; {hide}; exec "$@"'

        def run(code):
            ran = subprocess.run(
                ["unshare", "--mount", "sh", "-c", shell, "sh", sys.executable, "-c", code],
                cwd=PROJECT,
                env={**os.environ, "PYTHONPATH": str(PROJECT), PLACE_VARIABLE: str(place)},
                capture_output=True,
                text=True,
                timeout=CHILD_SECONDS,
                check=False,
            )
            if ran.returncode == 1 and "unshare:" in ran.stderr:
                pytest.skip(f"needs a mount namespace of its own, got {ran.stderr.strip()}")
            assert ran.returncode == 0, ran.stderr
            return json.loads(ran.stdout), inner.kernel_kills()

        yield run


def _mount_of(group) -> Path:
    return Path(str(group.folder).removesuffix(group.name))


@pytest.mark.slow
@pytest.mark.faults
def test_a_limit_above_the_namespace_is_known_after_the_first_kill_and_at_the_next_start(tmp_path):
    with blinded(tmp_path) as run:
        first, kills = run(BATCH)
        again, kills_again = run(BATCH)

    assert first["right"], first
    assert first["seen"] > LIMIT_BYTES
    assert kills > 0
    assert "limit_hidden" in first["codes"]
    assert LIMIT_BYTES // 2 <= first["after"] <= LIMIT_BYTES + MIB  # charged page by page
    assert again["right"], again
    assert again["seen"] == first["after"]
    assert kills_again == kills
