"""A control group of a worker's own, with real ones."""

import subprocess
import sys

import pytest

from adaptive_exec.host.cgroup import WORKERS
from adaptive_exec.levels.own_groups import OwnGroups
from tests.cgroups import memory_group

MIB = 1024 * 1024
FILL = "import sys; sys.stdin.read(1); b = b'x' * (int(sys.argv[1]) << 20); sys.stdin.read(1)"
END_SECONDS = 30


def make_groups(folder, version, leaf):
    settings = {"source": "", "prefix": WORKERS, "may_swap": False}
    return OwnGroups(folder=folder, version=version, leaf=leaf, **settings)


@pytest.fixture
def place():
    with memory_group(512 * MIB) as group:
        leaf = "rest" if group.version > 1 else ""
        groups = make_groups(str(group.folder), group.version, leaf)
        groups.open()
        yield group, groups
        groups.finish()


def begin(own, megabytes):
    child = subprocess.Popen([sys.executable, "-S", "-c", FILL, str(megabytes)], stdin=-1)
    own.take(child.pid)
    return child


def test_what_takes_more_than_it_may_is_killed_there_and_that_is_known(place):
    _, groups = place
    own = groups.make()
    child = begin(own, 200)
    own.bound(50 * MIB)
    child.communicate(b"gg", timeout=END_SECONDS)

    assert child.returncode == -9
    assert own.has_killed()
    assert own.was_full()
    assert own.peak_bytes() >= 45 * MIB
    groups.drop(own)


def test_what_takes_less_lives_and_what_somebody_else_kills_was_not_for_its_limit(place):
    _, groups = place
    own = groups.make()
    child = begin(own, 20)
    own.bound(50 * MIB)
    child.stdin.write(b"g")
    child.stdin.flush()
    child.kill()
    child.communicate(timeout=END_SECONDS)

    assert not own.has_killed()
    groups.drop(own)


def test_a_limit_is_moved_and_taken_away_and_never_goes_below_what_is_in_use(place):
    _, groups = place
    own = groups.make()
    child = begin(own, 100)
    own.bound(10 * MIB)
    own.move(1)
    own.move(150 * MIB)
    own.bound(None)
    own.bound(150 * MIB)
    child.communicate(b"gg", timeout=END_SECONDS)

    assert child.returncode == 0
    groups.drop(own)


def test_groups_are_removed_once_all_in_them_have_ended(place):
    group, groups = place
    own = groups.make()
    child = begin(own, 1)
    groups.drop(own)  # version 2 kills what is in it
    child.kill()
    child.communicate(timeout=END_SECONDS)
    groups.finish()

    assert not [one for one in group.folder.iterdir() if one.name.startswith(WORKERS)]


def test_where_there_is_no_group_that_is_said():
    groups = make_groups("", 2, "")

    with pytest.raises(OSError, match="no control group of this process can be written"):
        groups.open()
