"""Where workers may have control groups of their own: not wherever they can be written.

Trees of cgroup v2 as a process sees them.
"""

import os

import pytest

from adaptive_exec.host.cgroup import LEAF, WORKERS, find_groups
from adaptive_exec.host.delegated import find_place

SCOPE = "/user.slice/user@1000.service/app.slice/run-1.scope"


def grow(tmp_path, group, *, member=True, controllers="cpu memory pids", leaf=False, mount="/"):
    """Make a tree of cgroup v2 with this process in a group."""
    folder = tmp_path / "sys/fs/cgroup" / group.strip("/")
    inner = folder / LEAF if leaf else folder
    for one in {folder, inner}:
        one.mkdir(parents=True, exist_ok=True)
        files = {"memory.max": "max", "cgroup.procs": "", "cgroup.subtree_control": ""}
        for name, text in {**files, "cgroup.controllers": controllers}.items():
            (one / name).write_text(text + "\n")
    if member:
        (inner / "cgroup.procs").write_text(f"1\n{os.getpid()}\n")
    proc = tmp_path / "proc/self"
    proc.mkdir(parents=True, exist_ok=True)
    proc.joinpath("cgroup").write_text(f"0::{group.rstrip('/')}{'/' + LEAF if leaf else ''}\n")
    table = f"29 23 0:26 {mount} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    proc.joinpath("mountinfo").write_text(table)
    return folder


def set_unit(tmp_path, text):
    tmp_path.joinpath("run/systemd/system").mkdir(parents=True)
    folder = tmp_path / f"run/systemd/transient/{SCOPE.rpartition('/')[2]}.d"
    folder.mkdir(parents=True)
    folder.joinpath("50-Delegate.conf").write_text(text)


def mark(folder):
    try:
        os.setxattr(folder, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"needs a file system with attributes, got {error}")


def test_a_group_that_systemd_has_marked_is_ours(tmp_path):
    folder = grow(tmp_path, "/system.slice/run-1.service")
    mark(folder)

    place = find_place(str(tmp_path))

    assert place is not None
    assert (place.folder, place.version, place.leaf) == (str(folder), 2, LEAF)
    assert place.source == "systemd Delegate=yes of /system.slice/run-1.service"


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        pytest.param("[Scope]\nDelegate=yes\n", True, id="delegated"),
        pytest.param("[Scope]\nDelegate=memory pids\n", True, id="with some controllers"),
        pytest.param("[Scope]\nDelegate=no\n", False, id="not delegated"),
    ],
)
def test_a_unit_is_ours_where_its_settings_say_so(tmp_path, text, is_ours):
    name = SCOPE.replace("/user@1000.service/app.slice", "")
    grow(tmp_path, name)
    set_unit(tmp_path, text)

    assert (find_place(str(tmp_path)) is not None) is is_ours


def test_all_that_a_container_sees_is_ours(tmp_path):
    folder = grow(tmp_path, "/")

    place = find_place(str(tmp_path))

    assert place is not None
    assert (place.folder.rstrip("/"), place.source) == (str(folder), "a container's own group")


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({"group": SCOPE}, id="only writable"),
        pytest.param({"group": "/", "member": False}, id="another's, seen in its place"),
        pytest.param({"group": "/", "controllers": "cpu pids"}, id="without limits of memory"),
    ],
)
def test_what_was_not_handed_over_is_not_ours(tmp_path, tree):
    grow(tmp_path, **tree)

    assert find_place(str(tmp_path)) is None


def test_who_asks_may_have_any_group_that_can_be_written(tmp_path):
    grow(tmp_path, SCOPE)

    assert find_place(str(tmp_path), is_asked=True) is not None


def test_a_workers_own_group_is_not_had_by_asking_either(tmp_path):
    grow(tmp_path, f"/system.slice/run-1.service/{WORKERS}-7-7-1")

    assert find_place(str(tmp_path), is_asked=True) is None


def test_from_its_leaf_the_same_group_is_found_and_the_leaf_limits_nothing(tmp_path):
    folder = grow(tmp_path, "/system.slice/run-1.service", leaf=True)
    mark(folder)
    text = (tmp_path / "proc/self/cgroup").read_bytes()

    place = find_place(str(tmp_path))
    groups = find_groups(str(tmp_path), text).memory

    assert place is not None
    assert place.folder == str(folder)
    assert groups[0].folder == str(folder)
