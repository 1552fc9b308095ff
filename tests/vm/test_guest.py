"""In an emulated machine with cgroup v2: the caller outlives a task that is too large.

`build.sh` makes the machine (a Debian kernel, systemd), `boot.sh` starts it, `job.sh` runs a script
in it as root. Results and counters are judged, never seconds: it is ten times slower. Needs root,
network and the packages that `build.sh` names; ADAPTIVE_EXEC_VM names the folder to keep it in.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1500)]
HERE: Final = Path(__file__).parent
PROJECT: Final = HERE.parents[1]
TOOLS: Final = ("qemu-system-x86_64", "debootstrap", "mke2fs", "cpio")
BUILD_SECONDS: Final = 900
BOOT_SECONDS: Final = 400
JOB_SECONDS: Final = 300
ENOUGH: Final = "END 59 [(17, 'PoisonTaskError')]"
RUN: Final = "/opt/env/bin/python /share/lab/poison.py"
GROUP: Final = f"""
T=/sys/fs/cgroup/lab; echo +memory >/sys/fs/cgroup/cgroup.subtree_control; mkdir -p $T/a/b
echo +memory >$T/cgroup.subtree_control; echo +memory >$T/a/cgroup.subtree_control
{{settings}}
echo 0 >$T/a/b/memory.swap.max
(echo 0 >$T/a/b/cgroup.procs; exec timeout 250 {RUN})
echo rc $? $(grep -w oom_kill $T/a/b/memory.events)
sleep 1; rmdir $T/a/b $T/a $T
"""
UNIT: Final = "-p MemoryMax=512M -p MemorySwapMax=0"
USER: Final = """
loginctl enable-linger tester; U=$(id -u tester)
for i in $(seq 60); do [ -S /run/user/$U/bus ] && break; sleep 0.5; done
export XDG_RUNTIME_DIR=/run/user/$U DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$U/bus
setpriv --reuid tester --regid tester --init-groups """


@pytest.fixture(scope="module")
def guest() -> Iterator[Path]:
    """A machine with the committed product in it, which runs jobs."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.getuid():
        pytest.skip(f"making the machine needs root and {', '.join(missing or TOOLS)}")
    folder = Path(os.environ.get("ADAPTIVE_EXEC_VM") or f"{tempfile.gettempdir()}/adaptive-vm")
    use(folder, "build.sh", str(PROJECT), seconds=BUILD_SECONDS)
    use(folder, "boot.sh", "2048", "2", seconds=BOOT_SECONDS)
    lab = folder / "share" / "lab"
    lab.mkdir(exist_ok=True)
    shutil.copy(HERE / "poison.py", lab)
    yield folder
    pid = int((folder / "qemu.pid").read_text())
    os.kill(pid, signal.SIGTERM)


def use(folder: Path, script: str, *words: str, seconds: float, given: str = "") -> str:
    ran = subprocess.run(
        ["bash", str(HERE / script), *words],
        env={**os.environ, "VM": str(folder)},
        input=given,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if script != "job.sh" and ran.returncode:
        pytest.skip(f"{script} does not work here: {(ran.stdout + ran.stderr)[-300:]}")
    return ran.stdout


def in_guest(folder: Path, script: str) -> str:
    name = f"job-{time.monotonic_ns()}"
    return use(folder, "job.sh", name, str(JOB_SECONDS), seconds=JOB_SECONDS + 60, given=script)


@pytest.mark.parametrize("attempt", range(2))
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param("echo 512M >$T/a/b/memory.max", id="a limit"),
        pytest.param("echo 512M >$T/memory.max", id="a limit two levels up"),
        pytest.param("echo 512M >$T/a/b/memory.max; echo 384M >$T/a/b/memory.high", id="throttled"),
    ],
)
def test_where_a_kill_costs_a_worker_the_caller_lives(guest, settings, attempt):
    assert f"{ENOUGH}\nrc 0" in in_guest(guest, GROUP.format(settings=settings)), attempt


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param("echo 512M >$T/a/b/memory.max; echo 1 >$T/a/b/memory.oom.group", id="own"),
        pytest.param("echo 512M >$T/a/memory.max; echo 1 >$T/a/memory.oom.group", id="above"),
    ],
)
def test_where_the_group_is_killed_as_a_whole_nobody_is(guest, settings, attempt):
    said = in_guest(guest, GROUP.format(settings=settings))

    assert f"{ENOUGH}\nrc 0 oom_kill 0" in said, attempt


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(f"systemd-run --wait --pipe -q {UNIT}", id="service"),
        pytest.param(f"systemd-run --wait --pipe -q {UNIT} -p OOMPolicy=kill", id="killed"),
        pytest.param(f"systemd-run --wait --pipe -q {UNIT} -p OOMPolicy=continue", id="continued"),
        pytest.param(f"{USER} systemd-run --user --scope -q {UNIT}", id="user scope"),
        pytest.param(
            f"{USER} systemd-run --user --scope -q {UNIT} -p Delegate=yes", id="delegated"
        ),
    ],
)
def test_in_a_unit_of_systemds_the_caller_lives(guest, how):
    assert ENOUGH in in_guest(guest, f"{how} timeout 250 {RUN}\n")
