"""Which file system a folder is on, and whether SQLite's write-ahead log can be used there.

The log needs memory shared by all who have the file open, which network file systems do not give.
Decides nothing: it names what it finds.
"""

import os
import re
from pathlib import Path

_NETWORK = frozenset({
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "drvfs", "gfs2", "glusterfs", "gpfs",
    "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb3",
    "smbfs", "vboxsf", "virtiofs", "vmhgfs", "wekafs",
})  # fmt: skip
"""Types in mountinfo that other hosts write to too, or that share no memory between
processes."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


def file_system_of(folder: Path, mountinfo: str | None = None) -> str:
    """Name the type of the file system that a folder is on.

    Args:
        folder: The folder; it need not exist.
        mountinfo: Text in the form of /proc/self/mountinfo; None reads that.

    Returns:
        The type, as `"ext4"` or `"nfs4"`; `""` where it cannot be known.
    """
    text = _read_mounts() if mountinfo is None else mountinfo
    path = os.path.realpath(folder) if mountinfo is None else str(folder)
    found, kind = "", ""
    for line in text.splitlines():
        mount_point, mount_kind = _parse(line)
        # A later line of the same place hides the earlier one.
        if _holds(mount_point, path) and len(mount_point) >= len(found):
            found, kind = mount_point, mount_kind
    return kind


def is_network(kind: str) -> bool:
    """Say whether a type of file system is shared between hosts, or may be.

    >>> is_network("nfs4"), is_network("fuse.sshfs"), is_network("ext4"), is_network("")
    (True, True, False, False)
    """
    return kind in _NETWORK or kind.startswith("fuse.") or kind == "fuse"


def _parse(line: str) -> tuple[str, str]:
    """Return mount point and type; the type stands behind a lone dash, after optional fields."""
    before, dash, after = line.partition(" - ")
    fields = before.split(" ")
    if not dash or len(fields) < _MOUNT_POINT + 1:
        return "\0", ""
    mount_point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[_MOUNT_POINT])
    return mount_point, after.split(" ")[0]


_MOUNT_POINT = 4
"""Field of a line, from 0. Source: proc_pid_mountinfo(5)."""


def _holds(mount_point: str, path: str) -> bool:
    return path == mount_point or path.startswith(mount_point.rstrip("/") + "/")


def _read_mounts() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
