"""What even SIGKILL does not end, as long as it stands in the kernel, holds nobody up."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptive_exec.cli.instances import _Crowd
from adaptive_exec.system.processes import REAP_SECONDS
from tests.levels.leaks import eventually

FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.fixture
def frozen() -> "Iterator[subprocess.Popen[bytes]]":
    """A process that no signal reaches. Source: kernel, cgroup-v1/freezer-subsystem.rst."""
    group = FREEZER / f"adaptive-exec-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"needs the freezer of cgroup v1 ({error})")
    command = [sys.executable, "-c", "input()"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    try:
        (group / "cgroup.procs").write_text(str(process.pid))
        (group / "freezer.state").write_text("FROZEN")
        assert eventually(lambda: (group / "freezer.state").read_text().strip() == "FROZEN")
        yield process
    finally:
        (group / "freezer.state").write_text("THAWED")
        process.kill()
        process.wait(30)
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
        assert eventually(lambda: remove(group))


def remove(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def test_instances_are_given_up_that_cannot_be_killed(frozen, tmp_path: Path):
    crowd = _Crowd(tmp_path, {})
    crowd._processes.append(frozen)
    crowd._numbers.append(1)
    crowd._peaks.append(0)

    before = time.monotonic()
    crowd.kill()

    assert REAP_SECONDS / 2 < time.monotonic() - before < REAP_SECONDS + 30
    assert crowd.worst() == 128 + 9
    assert [line.ending for line in crowd.lines()] == ["SIGKILL"]
