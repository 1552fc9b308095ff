"""Finds a control group below which this process may make groups of its own, one for each worker.

Writable is not enough: root may write everywhere, and what systemd has not handed over it changes
back. It is ours where systemd says so (`Delegate=`), or where it is all that a container sees. Who
asks for it by name may have any that can be written. Makes nothing, decides nothing.

Source: systemd's CONTROL_GROUP_INTERFACE and CGROUP_DELEGATION (`user.delegate`,
`trusted.delegate`); kernel Documentation/admin-guide/cgroup-v2.rst (no internal processes).
"""

import os
from typing import Final, NamedTuple

from adaptive_exec.host.cgroup import LEAF, WORKERS, ControlGroup, find_groups
from adaptive_exec.host.killing import is_delegated
from adaptive_exec.host.reading import join, read_file

_MARKS: Final = ("user.delegate", "trusted.delegate")
"""Attributes by which systemd marks what it has handed over."""
_SECOND: Final = 2
"""The version of control groups in which a group with groups below it holds no process itself."""


class Delegated(NamedTuple):
    """A group that groups may be made in.

    Attributes:
        folder: Its folder.
        version: 1 or 2.
        leaf: Name of the group for all who are in it now, `""` where they may stay.
        source: What says that it is ours, for people to read.
        prefix: How names of workers' groups begin.
    """

    folder: str
    version: int
    leaf: str
    source: str
    prefix: str = WORKERS


NO_PLACE: Final = Delegated("", _SECOND, "", "wall='hard'")
"""Where there is none although it was asked for."""


def find_place(root: str = "/", *, is_asked: bool = False) -> Delegated | None:
    """Find where workers may have groups of their own.

    Args:
        root: Folder that stands for `/`.
        is_asked: True for any group that can be written.

    Returns:
        The place; None where there is none.
    """
    groups = find_groups(root, read_file(join(root, "/proc/self/cgroup"))).memory
    if not groups:
        return None
    own = groups[0]
    source = _source(root, own)
    is_workers = f"/{WORKERS}-" in own.name  # in a worker, whose group goes with it
    if is_workers or not (source or is_asked) or not (_is_writable(own) and _is_here(own)):
        return None
    leaf = LEAF if own.version == _SECOND else ""
    return Delegated(own.folder, own.version, leaf, source or f"{own.name}, which can be written")


def _source(root: str, group: ControlGroup) -> str:
    if group.version != _SECOND:
        return ""
    is_marked = any(_is_marked(group.folder, mark) for mark in _MARKS)
    if is_marked or is_delegated(root, group):  # a user's systemd does not mark
        return f"systemd Delegate=yes of {group.name}"
    return "a container's own group" if group.name == "/" else ""  # the host's root has no limit


def _is_marked(folder: str, mark: str) -> bool:
    try:
        return os.getxattr(folder, mark) == b"1"
    except (AttributeError, OSError):
        return False


def _is_here(group: ControlGroup) -> bool:
    """Say whether this process is in a group for sure, or in its leaf."""
    own = str(os.getpid()).encode()
    texts = (read_file(f"{group.folder}/{name}cgroup.procs") for name in ("", f"{LEAF}/"))
    return any(own in (text or b"").split() for text in texts)


def _is_writable(group: ControlGroup) -> bool:
    files = ["", "/cgroup.procs"]
    if group.version == _SECOND:
        files.append("/cgroup.subtree_control")
        if b"memory" not in (read_file(f"{group.folder}/cgroup.controllers") or b"").split():
            return False
    return all(os.access(f"{group.folder}{name}", os.W_OK) for name in files)
