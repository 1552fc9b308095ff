"""Finds the control groups that this process is in, per controller, with all their ancestors.

Reads `/proc/self/cgroup` (where am I) and `/proc/self/mountinfo` (where is that on disk): cgroup
v1, v2 and both at once; containers that show a host path which does not exist inside, and
namespaces that show `/` or `/../..`. Where the own folder cannot be found, the root of the mount
stands in for it, since its limits hold for all below. The limits themselves are read elsewhere.

Source: man 7 cgroups; man 5 proc; kernel Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

import os
from typing import Final, NamedTuple

from adaptive_exec.host.reading import join, read_file

_LIMIT_FILES: Final = {
    ("memory", 1): "memory.limit_in_bytes",
    ("memory", 2): "memory.max",
    ("cpu", 1): "cpu.cfs_quota_us",
    ("cpu", 2): "cpu.max",
    ("pids", 1): "pids.max",
    ("pids", 2): "pids.max",
}
"""The file that shows, by being there, that a folder limits something."""
_USUAL_MOUNT: Final = "/sys/fs/cgroup"
"""Where control groups are mounted if the mount table cannot be read. Source: systemd, Docker,
Kubernetes."""
LEAF: Final = "adaptive-exec-rest"
"""Name of the group that holds all who are not workers, where workers have groups of their own."""
WORKERS: Final = "adaptive-exec-worker"
"""How the names of workers' groups begin."""
_MOUNTINFO_FIELDS: Final = 5
"""Fields of a line of mountinfo that are needed before the separator: id, parent, device, root,
mount point."""
_CGROUP_FIELDS: Final = 3
"""Fields of a line of /proc/self/cgroup: hierarchy, controllers, path."""


class ControlGroup(NamedTuple):
    """One folder of a control group that limits something.

    Attributes:
        version: 1 or 2.
        name: Its path below the mount, `"/"` for the mount's root.
        folder: Its folder on disk.
    """

    version: int
    name: str
    folder: str

    def source(self, file_name: str) -> str:
        """Name one of the group's files for people, e.g. `"cgroup v2 memory.max at /a/b"`."""
        return f"cgroup v{self.version} {file_name} at {self.name}"

    def identity(self) -> str:
        """Name the group the same way from inside and outside a namespace; `""` once it is gone."""
        try:
            found = os.stat(self.folder)
        except OSError:
            return ""
        return f"cgroup {found.st_dev}:{found.st_ino}"


class Groups(NamedTuple):
    """The groups that limit this process, each from its own group up to the topmost visible one.

    Attributes:
        memory: Groups that limit memory.
        cpu: Groups that limit CPU time.
        pids: Groups that limit the number of processes.
    """

    memory: tuple[ControlGroup, ...] = ()
    cpu: tuple[ControlGroup, ...] = ()
    pids: tuple[ControlGroup, ...] = ()


class _Mount(NamedTuple):
    version: int
    root: str
    folder: str
    controllers: tuple[str, ...]


def find_groups(root: str, memberships: bytes | None) -> Groups:
    """Find the groups of this process.

    Args:
        root: Folder that stands for `/`.
        memberships: The text of `/proc/self/cgroup`; None where it cannot be read.

    Returns:
        The groups that exist on disk; empty where there are none.
    """
    mounts = _read_mounts(root)
    paths = _paths(memberships or b"")
    return Groups(
        memory=_find(mounts, paths, "memory"),
        cpu=_find(mounts, paths, "cpu"),
        pids=_find(mounts, paths, "pids"),
    )


def _find(mounts: list[_Mount], paths: dict[str, str], controller: str) -> tuple[ControlGroup, ...]:
    # A controller is bound to one hierarchy; in a hybrid the other one has no files for it and adds
    # nothing.
    first = _best_chain([m for m in mounts if controller in m.controllers], paths, controller)
    second = _best_chain([m for m in mounts if m.version == 2], paths, controller)  # noqa: PLR2004  # a name
    return (*first, *second)


def _best_chain(
    mounts: list[_Mount], paths: dict[str, str], controller: str
) -> tuple[ControlGroup, ...]:
    stand_in: tuple[ControlGroup, ...] = ()
    for mount in mounts:
        path = paths.get(controller if mount.version == 1 else "", "/")
        inside = _inside(mount, path)
        chain = _chain(mount, inside or "/", _LIMIT_FILES[controller, mount.version])
        if chain and inside is not None:
            return chain
        stand_in = stand_in or chain
    return stand_in


def _inside(mount: _Mount, path: str) -> str | None:
    top = mount.root.rstrip("/")
    if path != top and not path.startswith(top + "/"):
        return None
    inside = path[len(top) :]
    if ".." in inside.split("/") or not os.path.isdir(mount.folder + inside):
        return None
    return inside


def _chain(mount: _Mount, inside: str, limit_file: str) -> tuple[ControlGroup, ...]:
    parts = [part for part in inside.split("/") if part]
    names = ["/".join(["", *parts[:depth]]) for depth in range(len(parts), -1, -1)]
    groups = (ControlGroup(mount.version, name or "/", mount.folder + name) for name in names)
    found = [group for group in groups if os.path.exists(f"{group.folder}/{limit_file}")]
    is_leaf = bool(found) and found[0].name.endswith(f"/{LEAF}")
    return tuple(found[is_leaf:])  # it is a part of the one above, and sets no limits


def _paths(memberships: bytes) -> dict[str, str]:
    paths: dict[str, str] = {}
    for line in os.fsdecode(memberships).split("\n"):
        fields = line.split(":", _CGROUP_FIELDS - 1)
        if len(fields) == _CGROUP_FIELDS:
            path = fields[2].removesuffix(" (deleted)")
            paths.update((controller, path) for controller in fields[1].split(","))
    return paths


def _read_mounts(root: str) -> list[_Mount]:
    table = read_file(join(root, "/proc/self/mountinfo"))
    mounts = [_parse_mount(root, line) for line in os.fsdecode(table or b"").split("\n")]
    return [mount for mount in mounts if mount is not None] or _usual_mounts(root)


def _parse_mount(root: str, line: str) -> _Mount | None:
    left, _, right = line.partition(" - ")
    fields, kind, options = left.split(" "), right.split(" ")[0], right.split(" ")[-1]
    if kind not in ("cgroup", "cgroup2") or len(fields) < _MOUNTINFO_FIELDS:
        return None
    folder = join(root, _unescape(fields[4]).rstrip("/"))
    if kind == "cgroup2":
        return _Mount(2, _unescape(fields[3]), folder, ())
    return _Mount(1, _unescape(fields[3]), folder, tuple(options.split(",")))


def _unescape(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def _usual_mounts(root: str) -> list[_Mount]:
    top = join(root, _USUAL_MOUNT)
    first = [_Mount(1, "/", f"{top}/{name}", (name,)) for name in ("memory", "cpu", "pids")]
    return [_Mount(2, "/", top, ()), *first]
