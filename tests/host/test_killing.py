"""Whether a kill of the kernel's ends more than one process, read from saved trees."""

import os

import pytest

from adaptive_exec.host.survey import HostProbe

MOUNT = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"


def make_tree(root, path, *, limits=None, together=(), files=None):
    """Lay down a version 2 hierarchy with one group for each part of a path."""
    files = dict(files or {})
    files |= {"proc/self/mountinfo": MOUNT, "proc/self/cgroup": f"0::{path}\n"}
    parts = [part for part in path.split("/") if part]
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        files[f"sys/fs/cgroup/{name}/memory.max"] = (limits or {}).get(name, "max\n")
        files[f"sys/fs/cgroup/{name}/memory.oom.group"] = "1\n" if name in together else "0\n"
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return HostProbe(str(root)).take(0.0).wide_kill


LIMITED = {"pods/pod": "1000000000\n", "pods/pod/box": "500000000\n"}


@pytest.mark.parametrize(
    ("limits", "together", "expected"),
    [
        pytest.param(LIMITED, (), "", id="nobody is killed together"),
        pytest.param(LIMITED, ("pods/pod/box",), "/pods/pod/box", id="the own group is"),
        pytest.param(LIMITED, ("pods/pod",), "/pods/pod", id="a limited one above is"),
        pytest.param(LIMITED, ("pods",), "", id="one above every limit is not reached"),
        pytest.param({}, ("pods",), "/pods", id="without a limit the host's reaches all"),
    ],
)
def test_a_group_that_is_killed_as_a_whole_is_named(tmp_path, limits, together, expected):
    found = make_tree(tmp_path, "/pods/pod/box", limits=limits, together=together)

    assert found == (f"cgroup v2 memory.oom.group at {expected}" if expected else "")


@pytest.mark.parametrize(
    ("highs", "expected"),
    [
        pytest.param({}, "", id="none"),
        pytest.param({"pods/pod/box": "400000000\n"}, "/pods/pod/box", id="below the own limit"),
        pytest.param({"pods": "400000000\n"}, "/pods", id="above, the lowest of all"),
        pytest.param({"pods/pod": "600000000\n"}, "", id="above, and higher than the own limit"),
        pytest.param({"pods/pod/box": "500000000\n"}, "", id="not below the limit"),
    ],
)
def test_a_group_that_is_held_up_before_anybody_is_killed_is_named(tmp_path, highs, expected):
    files = {f"sys/fs/cgroup/{name}/memory.high": text for name, text in highs.items()}
    files |= {f"sys/fs/cgroup/{name}/memory.current": "0\n" for name in (*LIMITED, "pods")}
    found = make_tree(tmp_path, "/pods/pod/box", limits=LIMITED, files=files)

    assert found == (f"cgroup v2 memory.high at {expected}" if expected else "")


SERVICE, SCOPE = "/system.slice/work.service", "/user.slice/run-u5.scope"
INSTANCE = "/system.slice/work@3.service/deeper"
UNIT = "etc/systemd/system/work.service"


@pytest.mark.parametrize(
    ("path", "files", "policy"),
    [
        pytest.param(SERVICE, {}, "stop of work.service", id="a service by default"),
        pytest.param(SCOPE, {}, "stop of run-u5.scope", id="a scope by default"),
        pytest.param(SERVICE, {UNIT: "[Service]\nOOMPolicy=continue\n"}, "", id="continued"),
        pytest.param(SERVICE, {UNIT: "OOMPolicy=kill\n"}, "kill of work.service", id="killed"),
        pytest.param(SERVICE, {UNIT: "Delegate=yes\n"}, "", id="delegated"),
        pytest.param(SERVICE, {UNIT: "Delegate = memory cpu\n"}, "", id="delegated in part"),
        pytest.param(
            SERVICE, {UNIT: "Delegate=yes\nOOMPolicy=stop\n"}, "stop of work.service",
            id="delegated and stopped all the same",
        ),
        pytest.param(
            SERVICE,
            {UNIT: "OOMPolicy=stop\n", f"{UNIT}.d/20-mine.conf": "OOMPolicy=continue\n"},
            "", id="a part beside the unit wins",
        ),
        pytest.param(
            SCOPE, {"run/systemd/transient/run-u5.scope": "[Scope]\nOOMPolicy=continue\n"}, "",
            id="a transient unit",
        ),
        pytest.param(
            INSTANCE, {"usr/lib/systemd/system/work@.service": "OOMPolicy=continue\n"}, "",
            id="an instance of a template, from a group below it",
        ),
        pytest.param(
            SERVICE, {"etc/systemd/system.conf": "[Manager]\nDefaultOOMPolicy=continue\n"}, "",
            id="by default as the host's owner has it",
        ),
    ],
)  # fmt: skip
def test_a_unit_that_systemd_ends_after_a_kill_is_named(tmp_path, path, files, policy):
    found = make_tree(tmp_path, path, files={"run/systemd/system/there": "", **files})

    assert found == (f"systemd OOMPolicy={policy}" if policy else "")


def test_a_users_own_unit_is_read_where_users_have_theirs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/me/.config")
    path = "/user.slice/user-1000.slice/user@1000.service/app.slice/mine.scope"
    transient = f"run/user/{os.getuid()}/systemd/transient/mine.scope"
    here = {"run/systemd/system/there": ""}

    assert make_tree(tmp_path / "a", path, files=here) == "systemd OOMPolicy=stop of mine.scope"
    assert make_tree(tmp_path / "b", path, files={**here, transient: "OOMPolicy=continue\n"}) == ""


def test_a_name_like_a_units_says_nothing_where_no_systemd_runs(tmp_path):
    assert make_tree(tmp_path, SERVICE) == ""
