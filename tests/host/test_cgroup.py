"""Finding the own control groups: the shapes that mount tables and paths come in."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_exec.host import cgroup
from adaptive_exec.host.cgroup import find_groups
from adaptive_exec.host.survey import HostProbe

MEMORY_V1 = "35 30 0:30 {root} {mount} rw,nosuid shared:15 - cgroup cgroup rw,memory"
V2 = "26 23 0:24 {root} {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def make_tree(folder: Path, mountinfo: str | None, limited: list[str]) -> str:
    if mountinfo is not None:
        (folder / "proc/self").mkdir(parents=True)
        (folder / "proc/self/mountinfo").write_text(mountinfo + "\n")
    for path in limited:
        (folder / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (folder / path.lstrip("/")).write_text("1000000\n")
    return str(folder)


def memory_names(root: str, memberships: bytes) -> list[tuple[int, str]]:
    return [(group.version, group.name) for group in find_groups(root, memberships).memory]


def limits_below(mount: str, *names: str, file: str = "memory.max") -> list[str]:
    return [f"{mount}{name}/{file}" for name in names]


CASES = [
    pytest.param(
        V2.format(root="/", mount="/sys/fs/cgroup"),
        limits_below("/sys/fs/cgroup", "/a/b", "/a"),
        b"0::/a/b\n",
        [(2, "/a/b"), (2, "/a")],
        id="all ancestors that limit something are found, own first",
    ),
    pytest.param(
        V2.format(root="/", mount="/sys/fs/cgroup"),
        limits_below("/sys/fs/cgroup", "/a"),
        b"0::/a/b\n",
        [],
        id="an own folder that is not there makes the root of the mount stand in",
    ),
    pytest.param(
        V2.format(root="/docker/x", mount="/sys/fs/cgroup"),
        limits_below("/sys/fs/cgroup", "", "/job"),
        b"0::/docker/x/job\n",
        [(2, "/job"), (2, "/")],
        id="the root that mountinfo shows is stripped from the path",
    ),
    pytest.param(
        V2.format(root="/docker/x", mount="/sys/fs/cgroup"),
        limits_below("/sys/fs/cgroup", ""),
        b"0::/docker/xyz\n",
        [(2, "/")],
        id="a path that only begins like the root is not below it",
    ),
    pytest.param(
        V2.format(root="/", mount="/sys/fs/cgroup"),
        limits_below("/sys/fs/cgroup", "", "/init"),
        b"0::/../../init\n",
        [(2, "/")],
        id="a path above the namespace means the root of the mount",
    ),
    pytest.param(
        V2.format(root="/../..", mount="/sys/fs/cgroup"),
        limits_below("/sys/fs/cgroup", "", "/pod"),
        b"0::/\n",
        [(2, "/")],
        id="a mount from outside the namespace counts by its root",
    ),
    pytest.param(
        V2.format(root="/../..", mount="/sys/fs/cgroup"),
        limits_below("/sys/fs/cgroup", "", "/pod"),
        b"0::/../../pod\n",
        [(2, "/pod"), (2, "/")],
        id="path and mount outside the namespace meet",
    ),
    pytest.param(
        V2.format(root="/", mount="/sys/fs/cgroup") + "\n" + MEMORY_V1.format(root="/", mount="/m"),
        limits_below("/m", "/a", file="memory.limit_in_bytes"),
        b"4:memory:/a\n0::/a\n",
        [(1, "/a")],
        id="in a hybrid the hierarchy without the controller adds nothing",
    ),
    pytest.param(
        MEMORY_V1.format(root="/", mount="/mnt/with\\040space"),
        limits_below("/mnt/with space", "/a", file="memory.limit_in_bytes"),
        b"4:memory:/a\n",
        [(1, "/a")],
        id="spaces in the mount point are unescaped",
    ),
    pytest.param(
        MEMORY_V1.format(root="/elsewhere", mount="/m1")
        + "\n"
        + MEMORY_V1.format(root="/", mount="/m2"),
        [
            *limits_below("/m1", "", file="memory.limit_in_bytes"),
            *limits_below("/m2", "/a", file="memory.limit_in_bytes"),
        ],
        b"4:memory:/a\n",
        [(1, "/a")],
        id="of two mounts the one that holds the own folder counts",
    ),
    pytest.param(
        MEMORY_V1.format(root="/", mount="/m"),
        limits_below("/m", "/a:b", file="memory.limit_in_bytes"),
        b"4:memory:/a:b\n",
        [(1, "/a:b")],
        id="a path may hold colons",
    ),
    pytest.param(
        None,
        limits_below("/sys/fs/cgroup", "/a"),
        b"0::/a\n",
        [(2, "/a")],
        id="without a mount table v2 is sought in the usual place",
    ),
    pytest.param(
        None,
        limits_below("/sys/fs/cgroup/memory", "/a", file="memory.limit_in_bytes"),
        b"4:memory:/a\n",
        [(1, "/a")],
        id="without a mount table v1 is sought in the usual place",
    ),
    pytest.param(None, [], b"", [], id="without control groups there are none"),
]


@pytest.mark.parametrize(("mountinfo", "limited", "memberships", "names"), CASES)
def test_the_groups_are_found_where(tmp_path, mountinfo, limited, memberships, names):
    root = make_tree(tmp_path, mountinfo, limited)

    assert memory_names(root, memberships) == names


def test_a_process_that_moves_to_another_group_is_seen_by_the_same_probe(tmp_path):
    root = make_tree(
        tmp_path,
        V2.format(root="/", mount="/sys/fs/cgroup"),
        limits_below("/sys/fs/cgroup", "/a", "/b"),
    )
    membership = tmp_path / "proc/self/cgroup"
    membership.write_text("0::/a\n")
    probe = HostProbe(root)
    before = probe.take(0.0)

    membership.write_text("0::/b\n")

    assert before.limit_source == "cgroup v2 memory.max at /a"
    assert probe.take(0.0).limit_source == "cgroup v2 memory.max at /b"


def test_a_limit_that_changes_is_read_anew(tmp_path):
    root = make_tree(
        tmp_path, V2.format(root="/", mount="/sys/fs/cgroup"), limits_below("/sys/fs/cgroup", "")
    )
    probe = HostProbe(root)
    probe.take(0.0)

    (tmp_path / "sys/fs/cgroup/memory.max").write_text("2000000\n")

    assert probe.take(0.0).limit_bytes == 2_000_000


@given(st.text())
def test_no_line_of_a_mount_table_raises(line):
    cgroup._parse_mount("/", line)


@given(st.binary())
def test_no_list_of_memberships_raises(text):
    find_groups("/nowhere", text)
