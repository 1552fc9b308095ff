"""In an emulated machine with cgroup v2: the caller outlives what a limit is too small for.

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
RUN: Final = "/opt/env/bin/python /opt/loads.py"
ENDS: Final = {
    "poison": "END 59 [(17, 'PoisonTaskError')]",
    "child": "END 59 [(17, 'PoisonTaskError')]",
    "overload": "END 24 []",
    "leak": "END 60 []",
    "eight": "END 8 of 8",
    "hidden": "END 12 []",
}
"""What each load says where all its tasks have values but the one that needs more than there is."""
LOADS: Final = ("poison", "overload", "leak", "eight")
GROUP: Final = f"""
T=/sys/fs/cgroup/lab; echo +memory >/sys/fs/cgroup/cgroup.subtree_control; mkdir -p $T/a/b
echo +memory >$T/cgroup.subtree_control; echo +memory >$T/a/cgroup.subtree_control
echo 0 >$T/a/b/memory.swap.max
{{settings}}
(echo 0 >$T/a/b/cgroup.procs; exec {{within}} timeout 250 {RUN} {{load}})
echo rc $? $(grep -w oom_kill $T/a/b/memory.events)
[ ! -e $T/a/b/*-rest ] || echo rest $(grep -w oom_kill $T/a/b/*-rest/memory.events)
{{after}}
echo 1 >$T/cgroup.kill; sleep 1; find $T -depth -type d -exec rmdir {{{{}}}} \\;
"""
OWN_VIEW: Final = (
    "unshare -C -m --propagation private bash -c "
    """'umount -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec "$@"' -"""
)
"""Runs a command that sees its own group as the topmost one, as in a container."""
READ_ONLY: Final = OWN_VIEW.replace("-t cgroup2", "-t cgroup2 -o ro")
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
    shutil.copy(HERE / "loads.py", lab)
    in_guest(folder, "cp /share/lab/loads.py /opt/; chmod a+r /opt/loads.py")
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


def in_group(folder: Path, load: str, settings: str, *, within: str = "", after: str = "") -> str:
    words = {"load": load, "settings": roomy(load, settings), "within": within, "after": after}
    return in_guest(folder, GROUP.format(**words))


def in_unit(folder: Path, load: str, how: str) -> str:
    return in_guest(folder, f"{roomy(load, how)} timeout 250 {RUN} {load}\n")


def roomy(load: str, text: str) -> str:
    """Give eight instances, of which each takes 60 MB by itself, twice as much room."""
    return text.replace("512M", "1G").replace("384M", "768M") if load == "eight" else text


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param("echo 512M >$T/a/b/memory.max", id="a limit"),
        pytest.param("echo 512M >$T/memory.max", id="a limit two levels up"),
        pytest.param("echo 512M >$T/a/b/memory.max; echo 384M >$T/a/b/memory.high", id="throttled"),
    ],
)
def test_where_a_kill_costs_a_worker_the_caller_lives(guest, settings, load):
    assert f"{ENDS[load]}\n" in (said := in_group(guest, load, settings)), said
    assert "rc 0" in said


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("load", ["poison", "child"])
def test_where_all_would_be_held_up_nobody_is(guest, load, attempt):
    settings = "echo 512M >$T/a/b/memory.max; echo 384M >$T/a/b/memory.high"
    said = in_group(guest, load, settings)

    assert f"{ENDS[load]}\n" in said, (attempt, said)
    assert "rc 0 oom_kill 0" in said, said


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("attempt", range(2))
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param("echo 512M >$T/a/b/memory.max; echo 1 >$T/a/b/memory.oom.group", id="own"),
        pytest.param("echo 512M >$T/a/memory.max; echo 1 >$T/a/memory.oom.group", id="above"),
    ],
)
def test_where_the_group_is_killed_as_a_whole_nobody_is(guest, settings, load, attempt):
    said = in_group(guest, load, settings)

    assert f"{ENDS[load]}\n" in said, said
    assert "rc 0 oom_kill 0" in said, (attempt, said)


@pytest.mark.parametrize("load", ["poison", "child", "overload", "leak"])
def test_in_a_container_that_may_write_its_group_each_worker_has_its_own(guest, load):
    settings = "echo 512M >$T/a/b/memory.max; echo 1 >$T/a/memory.oom.group"
    said = in_group(guest, load, settings, within=OWN_VIEW)

    assert f"{ENDS[load]}\n" in said, said
    assert "'group_each'" in said
    assert "rest oom_kill 0" in said, said


@pytest.mark.parametrize("within", [OWN_VIEW, READ_ONLY], ids=["writable", "read only"])
def test_a_limit_above_the_namespace_is_known_after_a_kill_and_at_the_next_start(guest, within):
    again = f"(echo 0 >$T/a/b/cgroup.procs; exec {within} timeout 250 {RUN} hidden)\necho rc $?"
    again += " $(grep -w oom_kill $T/a/b/memory.events)"
    again = "rmdir $T/a/b/*/; echo -memory >$T/a/b/cgroup.subtree_control; " + again
    settings = "rm -f /dev/shm/adaptive_exec*/*.limit; echo 512M >$T/memory.max"
    said = in_group(guest, "hidden", settings, within=within, after=again)
    kills = [line.split()[3] for line in said.splitlines() if line.startswith("rc ")]

    assert said.count(ENDS["hidden"]) == 2, said
    assert "'limit_hidden'" in said, said
    assert len(set(kills)) == 1, said  # the second time there was none


@pytest.mark.parametrize("load", ["overload", "leak"])
def test_a_limit_that_is_lowered_and_raised_meanwhile_is_followed(guest, load):
    settings = "echo 1G >$T/a/b/memory.max; (sleep 6; echo 512M >$T/a/b/memory.max; sleep 8; "
    said = in_group(guest, load, f"{settings} echo 1G >$T/a/b/memory.max) &")

    assert f"{ENDS[load]}\n" in said, said


@pytest.mark.parametrize("load", ["overload", "leak"])
def test_with_swap_all_have_their_values(guest, load):
    settings = "swapon /dev/vdb || { mkswap -q /dev/vdb && swapon /dev/vdb; }; "
    settings += "echo max >$T/a/b/memory.swap.max; echo 512M >$T/a/b/memory.max"
    said = in_group(guest, load, settings, after="swapoff /dev/vdb")

    assert f"{ENDS[load]}\n" in said, said


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(f"systemd-run --wait --pipe -q {UNIT}", id="service"),
        pytest.param(f"systemd-run --wait --pipe -q {UNIT} -p OOMPolicy=kill", id="killed"),
        pytest.param(f"systemd-run --wait --pipe -q {UNIT} -p OOMPolicy=continue", id="continued"),
        pytest.param(f"{USER} systemd-run --user --scope -q {UNIT}", id="user scope"),
    ],
)
def test_in_a_unit_of_systemds_the_caller_lives(guest, how, load):
    said = in_unit(guest, load, how)

    assert f"{ENDS[load]}\n" in said, said


@pytest.mark.parametrize("load", ["poison", "child", "overload", "leak"])
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(f"systemd-run --wait --pipe -q {UNIT} -p Delegate=yes", id="service"),
        pytest.param(
            f"{USER} systemd-run --user --scope -q {UNIT} -p Delegate=yes", id="user scope"
        ),
    ],
)
def test_in_a_delegated_unit_each_worker_has_a_group_of_its_own(guest, how, load):
    said = in_unit(guest, load, how)

    assert f"{ENDS[load]}\n" in said, said
    assert "'group_each'" in said
