"""Network file systems are recognised, from saved text and on this host."""

from pathlib import Path

import pytest

from adaptive_exec.journal.mounts import file_system_of, is_network

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
31 27 0:40 / /home rw,relatime shared:5 master:1 - nfs4 server:/export/home rw,vers=4.2
32 31 0:41 / /home/me/scratch rw - xfs /dev/vdb rw
33 27 0:42 / /mnt/two\\040words rw - cifs //server/share rw
34 27 0:43 / /data rw - ext4 /dev/vdc rw
35 27 0:44 / /data rw - lustre 10.0.0.1@tcp:/fs rw
36 27 0:45 / /cloud rw - fuse.s3fs s3fs rw
37 27 0:46 / /c rw - 9p drvfs rw,dirsync
a line that is cut off
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        pytest.param("/tmp/run", "ext4", id="local"),
        pytest.param("/home/me", "nfs4", id="below a mount"),
        pytest.param("/home", "nfs4", id="the mount itself"),
        pytest.param("/homes/me", "ext4", id="a name that only begins alike"),
        pytest.param("/home/me/scratch/run", "xfs", id="a local disk below a network one"),
        pytest.param("/mnt/two words/run", "cifs", id="an escaped name"),
        pytest.param("/data/run", "lustre", id="the later mount hides the earlier"),
        pytest.param("/cloud/run", "fuse.s3fs", id="fuse"),
        pytest.param("/c/run", "9p", id="a host's folder in a virtual machine"),
    ],
)
def test_the_type_is_that_of_the_nearest_mount(folder: str, kind: str):
    assert file_system_of(Path(folder), MOUNTS) == kind


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "lustre", "9p", "fuse.sshfs", "beegfs"]
)
def test_a_network_file_system_is_one(kind: str):
    assert is_network(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuseblk", ""])
def test_a_local_one_is_none(kind: str):
    assert not is_network(kind)


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="no mountinfo here")
def test_this_host_has_file_systems():
    assert file_system_of(Path("/proc")) == "proc"
    assert file_system_of(Path.cwd()) not in {"", "proc"}


def test_without_mountinfo_nothing_is_known():
    assert file_system_of(Path("/tmp"), "") == ""
