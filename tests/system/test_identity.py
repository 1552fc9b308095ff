"""A process is gone when that is proved, and never because nothing is known of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adaptive_exec.system import identity
from adaptive_exec.system.identity import (
    Identity,
    is_named_gone,
    is_proved_gone,
    is_same_running,
    name_of,
    started_at,
    this_process,
)
from tests.system.spaces import CONTAINER, OTHER_CLOCK, OUTER_PROC, ask

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
NOBODY = 2**22 + 1
"""No process number is as high. Source: proc(5), pid_max."""


def test_this_process_is_here():
    here = this_process()

    assert here.pid == os.getpid()
    assert not is_proved_gone(here)
    assert not is_named_gone(name_of(here))


@needs_proc
def test_a_number_without_a_process_and_one_with_another_start_are_gone():
    here = this_process()

    assert is_same_running(here)
    assert is_proved_gone(here._replace(pid=NOBODY))
    assert is_proved_gone(here._replace(started=here.started + 1))
    assert is_named_gone(name_of(here._replace(pid=NOBODY)))
    assert not is_same_running(here._replace(started=here.started + 1))
    assert not is_same_running(here._replace(started=0))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"boot": "another"}, id="another boot, which may be another machine"),
        pytest.param({"space": "pid:[1]"}, id="another namespace"),
        pytest.param({"boot": ""}, id="a boot that is not known"),
    ],
)
def test_of_what_is_elsewhere_nothing_is_proved(other):
    far = this_process()._replace(pid=NOBODY, started=5, **other)

    assert not is_proved_gone(far)
    assert not is_same_running(far)
    assert not is_named_gone(name_of(far))


@pytest.mark.parametrize("name", ["", "-", "1-2", "some-body-else", "a-b-c-d", "0-0-0-0"])
def test_a_name_of_somebody_else_proves_nothing(name):
    assert not is_named_gone(name)


@needs_proc
def test_a_start_names_a_process_for_good():
    first, init = started_at(os.getpid()), started_at(1)

    assert first == started_at(os.getpid()) == this_process().started
    assert first > init


@needs_proc
def test_a_name_with_spaces_and_parentheses_is_no_trouble(tmp_path: Path):
    program = tmp_path / "a ) R 1 (b"
    program.symlink_to("/bin/cat")
    child = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(b"x")
    child.stdin.flush()
    child.stdout.read(1)
    started = started_at(child.pid)
    child.communicate(timeout=30)

    assert started > started_at(1)


@needs_proc
def test_who_has_ended_and_was_not_asked_for_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    one = this_process()._replace(pid=child.pid, started=started_at(child.pid))
    try:
        assert one.started > 0
        assert not is_proved_gone(one)
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert is_proved_gone(one)
        assert not is_same_running(one)
        assert started_at(child.pid) == 0
    finally:
        child.communicate()


def test_a_forked_child_is_another_process():
    here, (reading, writing) = this_process(), os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writing, str(this_process().pid).encode())
        os._exit(0)
    os.waitpid(pid, 0)

    assert int(os.read(reading, 100)) == pid != here.pid
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    ("hidden", "is_gone"),
    [pytest.param("/nowhere", False, id="no proc"), pytest.param("/proc", True, id="proc")],
)
@needs_proc
def test_where_proc_hides_others_a_living_one_is_not_gone(monkeypatch, hidden, is_gone):
    # As with hidepid=2, where another user's process has no folder but has a number.
    monkeypatch.setattr(identity, "_look", lambda _: None if hidden == "/nowhere" else (b"S", 1))

    assert is_proved_gone(this_process()._replace(pid=1, started=2)) == is_gone


JUDGE = """
import sys
from pathlib import Path
from adaptive_exec.system.identity import Identity, is_proved_gone, is_same_running, this_process
other = Identity(*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]))
here = this_process()
print(is_proved_gone(other), is_same_running(other), is_proved_gone(here), here.boot == other.boot,
      here.space == other.space)
"""


def judged_from(wrapper, other: Identity) -> list[bool]:
    return [word == "True" for word in ask(wrapper, JUDGE, *map(str, other)).split()]


@pytest.mark.parametrize(
    "wrapper",
    [
        pytest.param(CONTAINER, id="container"),
        pytest.param(OUTER_PROC, id="container that sees the outer processes"),
        pytest.param(OTHER_CLOCK, id="clock five minutes ahead"),
    ],
)
@needs_proc
def test_in_another_namespace_nobody_is_called_gone_who_lives(wrapper):
    is_gone, is_running, is_itself_gone, is_boot_same, is_space_same = judged_from(
        wrapper, this_process()
    )

    assert (is_gone, is_running, is_itself_gone) == (False, False, False)
    assert (is_boot_same, is_space_same) == (True, False)
