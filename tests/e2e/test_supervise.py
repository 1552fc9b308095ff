"""Supervising real commands: leaks, age, crashes, low memory, stops, a killed supervisor."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptive_exec.config import MIB
from adaptive_exec.system.identity import started_at, this_process
from tests.cgroups import CHILD_SECONDS, RealGroup, memory_group
from tests.e2e import shell
from tests.e2e.shell import MAIN, WAIT_SECONDS, run, stop, wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs process groups")

STARTED: "list[subprocess.Popen[str]]" = []
PID_FILE = "adaptive-exec-supervise.pid"
COPY = """
import os, pathlib, signal, subprocess, sys, time
here, what = pathlib.Path("lives"), sys.argv[1]
here.mkdir(exist_ok=True)
number = os.environ["ADAPTIVE_EXEC_WORKER"]
lives = len(list(here.glob(f"{number}-*")))
(here / f"{number}-{os.getpid()}").touch()
if what == "leak" or (what == "leak once" and not lives):
    held = []
    for step in range(600):  # quickly to 110 MiB; then so that a busy supervisor has seconds to act
        held.append(bytearray(b"1") * 2**20 * 2)
        time.sleep(0.01 if step < 55 else 0.2)
if what == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if what == "crash once" and not lives:
    os.kill(os.getpid(), signal.SIGKILL)
if what == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if what == "parent":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (here / f"child-{child.pid}").touch()
if what in {"nap", "stubborn", "parent"}:
    (here / f"ready-{os.getpid()}").touch()
    time.sleep(600)
sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "copy.py").write_text(COPY)
    yield tmp_path
    for process in STARTED:
        if process.returncode is None:  # the test failed before its end
            process.terminate()
            process.communicate(timeout=WAIT_SECONDS)
    STARTED.clear()


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    STARTED.append(shell.start(folder, *arguments))
    return STARTED[-1]


def supervise(*options: str) -> list[str]:
    return ["supervise", *options, "--", sys.executable, "copy.py"]


def lives(here: Path, number: int) -> int:
    return len(list(here.glob(f"lives/{number}-*")))


def ready(here: Path) -> list[int]:
    return [int(path.name.split("-")[1]) for path in here.glob("lives/ready-*")]


def wait_until_known(here: Path, count: int) -> None:
    """Wait until so many copies are at work, and whoever may have to end them knows of each."""
    book = here / PID_FILE
    wait_for(
        lambda: (
            len(ready(here)) == count
            and {f" {pid} " in book.read_text() for pid in ready(here) if is_alive(pid)} == {True}
        )
    )


def children(here: Path) -> list[int]:
    return [int(path.name.split("-")[1]) for path in here.glob("lives/child-*")]


def is_alive(pid: int) -> bool:
    return state_of(pid) not in ("", "Z", "X")


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_copies_that_finish_with_zero_are_done(here: Path):
    ended = run(here, *supervise("-n", "2"), "work", "0")

    assert ended.returncode == 0, ended.stderr
    assert (lives(here, 1), lives(here, 2)) == (1, 1)
    assert re.search(r"^\[[\d:]+\] done: worker 1 reason=copy_done", ended.stderr, re.MULTILINE)
    assert not (here / PID_FILE).exists()


def test_a_failure_of_its_own_is_not_repeated_and_is_the_exit_code(here: Path):
    ended = run(here, *supervise("-n", "2"), "work", "7")

    assert ended.returncode == 1
    assert (lives(here, 1), lives(here, 2)) == (1, 1)
    assert "failed: worker 1 reason=copy_failed exit=7\n" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["supervise", "-n", "2"], "needs a command", id="no command"),
        pytest.param(["supervise", "--", "no-such-program"], "no-such-program", id="no program"),
        pytest.param(["supervise", "--max-age", "soon", "--", "true"], "--max-age", id="no time"),
        pytest.param(
            ["supervise", "--max-memory", "much", "--", "true"], "--max-memory", id="size"
        ),
        pytest.param(["supervise", "-n", "0", "--", "true"], "--copies", id="no copies"),
        pytest.param(["supervise", "--pid-file", "no/p", "--", "true"], "no/p", id="no folder"),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(arguments: list[str], said: str, here: Path):
    ended = run(here, *arguments)

    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "; " in ended.stderr


def test_what_copies_print_comes_in_whole_lines_with_their_numbers(here: Path):
    code = (
        "import sys; print('to output'); print('to error', file=sys.stderr); print('end', end='')"
    )

    ended = run(here, "supervise", "-n", "2", "--", sys.executable, "-c", code)

    assert ended.returncode == 0, ended.stderr
    whole = {f"[{number}] {text}" for number in (1, 2) for text in ("to output", "end")}
    assert set(ended.stdout.splitlines()) == whole
    assert {"[1] to error", "[2] to error"} < set(ended.stderr.splitlines())


def test_who_reads_no_output_holds_up_no_end(here: Path):
    code = "import time\nprint('x' * 2**20, flush=True)\ntime.sleep(600)"
    process = start(here, "supervise", "--grace", "0.5s", "--", sys.executable, "-c", code)
    assert process.stderr is not None
    while "healthy" not in (line := process.stderr.readline()) and "started" not in line:
        assert line, "it ended"

    process.send_signal(signal.SIGINT)
    wait_for(lambda: process.poll() is not None)
    process.communicate(timeout=WAIT_SECONDS)

    assert process.returncode == 130


@pytest.mark.slow
def test_a_crashed_copy_is_started_again(here: Path):
    ended = run(here, *supervise(), "crash once")

    assert ended.returncode == 0, ended.stderr
    assert lives(here, 1) == 2
    assert "ended: worker 1 reason=copy_signalled signal=9 wait=1.0s strikes=1\n" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_all_copies_and_says_its_code(number: signal.Signals, here: Path):
    process = start(here, *supervise("-n", "2"), "nap")
    wait_until_known(here, 2)

    _, err, took = stop(process, number)

    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert took < 20
    assert err.count("reason=stop_asked\n") == 4
    assert not any(is_alive(pid) for pid in ready(here))
    assert not (here / PID_FILE).exists()


def test_each_check_writes_a_line_per_copy(here: Path):
    process = start(here, *supervise("-n", "2", "--check-every", "0.2s", "--max-age", "1h"), "nap")
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(6)]

    stop(process, signal.SIGINT)

    form = (
        r"\[\d\d:\d\d:\d\d\] Worker (\d) PID \d+ healthy "
        r"\(age: (\d+)s/3600s, mem: 0\.\d\dGB, restart in (\d+)s\)\n"
    )
    found = [re.fullmatch(form, line) for line in lines[2:]]
    assert all(found), lines
    assert {match[1] for match in found} == {"1", "2"}
    assert all(int(match[2]) + int(match[3]) == 3600 for match in found)


@pytest.mark.slow
def test_who_does_not_go_is_killed_when_the_grace_is_over(here: Path):
    process = start(here, *supervise("-n", "2", "--grace", "1.5s"), "stubborn")
    wait_until_known(here, 2)

    _, err, took = stop(process, signal.SIGTERM)

    assert process.returncode == 143
    assert 1.4 < took < 60
    assert err.count("reason=grace_over grace=1.5s\n") == 2
    assert not any(is_alive(pid) for pid in ready(here))


@pytest.mark.slow
def test_a_second_interrupt_does_not_wait_for_the_grace(here: Path):
    process = start(here, *supervise("--grace", "100s"), "stubborn")
    wait_until_known(here, 1)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "reason=stop_asked" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1.2)  # below a second it counts as the same

    _, _, took = stop(process, signal.SIGINT)

    assert process.returncode == 130
    assert took < 60
    assert not any(is_alive(pid) for pid in ready(here))


def test_what_a_copy_started_ends_with_it(here: Path):
    process = start(here, *supervise("-n", "2"), "parent")
    wait_until_known(here, 2)

    stop(process, signal.SIGINT)

    assert len(children(here)) == 2
    wait_for(lambda: not any(is_alive(pid) for pid in children(here)))


@pytest.mark.slow
def test_what_a_crashed_copy_started_ends_too(here: Path):
    process = start(here, *supervise(), "parent")
    wait_until_known(here, 1)
    os.kill(ready(here)[0], signal.SIGKILL)
    wait_until_known(here, 2)

    wait_for(lambda: list(map(is_alive, children(here))).count(True) == 1)
    assert len(children(here)) == 2
    stop(process, signal.SIGINT)


@pytest.mark.slow
def test_an_old_copy_is_replaced(here: Path):
    process = start(here, *supervise("-n", "2", "--max-age", "1.5s"), "nap")
    wait_for(lambda: lives(here, 1) >= 3 and lives(here, 2) >= 3)

    _, err, _ = stop(process, signal.SIGINT)

    assert "stopping: worker 2 reason=copy_old" in err
    assert "strikes=0" in err
    assert not any(is_alive(pid) for pid in ready(here))


@pytest.mark.slow
def test_a_crash_loop_is_slowed_down(here: Path):
    process = start(here, *supervise(), "crash")
    wait_for(lambda: lives(here, 1) >= 4)

    _, err, _ = stop(process, signal.SIGINT)

    waits = [float(found) for found in re.findall(r"signal=11 wait=([\d.]+)s", err)]
    assert waits[:3] == [1.0, 2.0, 4.0]
    assert lives(here, 1) <= 5


def run_in(group: RealGroup, here: Path, command: list[str]) -> tuple[int, str]:
    """Run a command in a group; return its exit code and what it said."""
    process = subprocess.Popen(group.command(command), cwd=here, stderr=subprocess.PIPE, text=True)
    _, err = process.communicate(timeout=CHILD_SECONDS)
    return process.returncode, err


@pytest.mark.faults
def test_in_a_real_group_a_leaking_copy_is_replaced_before_the_kernel_kills(here: Path):
    with memory_group(400 * MIB) as group:
        command = supervise("-n", "2", "--max-memory", "120MiB", "--check-every", "0.3s")
        code, err = run_in(group, here, [*MAIN, *command, "leak once"])
        kills = group.kernel_kills()

    assert code == 0, err
    assert (lives(here, 1), lives(here, 2)) == (2, 2)
    for number in (1, 2):
        line = rf"^\[[\d:]+\] Worker {number} memory leak detected - restarting reason=copy_large "
        assert len(re.findall(line, err, re.MULTILINE)) == 1
    assert kills == 0


@pytest.mark.faults
def test_in_a_real_group_the_largest_goes_first_when_the_host_runs_low(here: Path):
    (here / "one.py").write_text(
        COPY.replace('what == "leak once"', 'number == "2" and what == "leak once"')
    )
    with memory_group(300 * MIB) as group:
        command = ["supervise", "-n", "2", "--min-available", "130MiB", "--check-every", "1h"]
        command += ["--", sys.executable, "one.py", "leak once"]
        code, err = run_in(group, here, [*MAIN, *command])
        kills = group.kernel_kills()

    assert code == 0, err
    assert (lives(here, 1), lives(here, 2)) == (1, 2)
    assert re.search(r"^\[[\d:]+\] stopping: worker 2 reason=host_low ", err, re.MULTILINE)
    assert kills == 0


@pytest.mark.faults
@pytest.mark.parametrize("what", ["parent", "stubborn"])
def test_a_killed_supervisor_leaves_no_copy(what: str, here: Path):
    process = start(here, *supervise("-n", "2"), what)
    wait_until_known(here, 2)

    _, _, took = stop(process, signal.SIGKILL)

    wait_for(lambda: not any(is_alive(pid) for pid in [*ready(here), *children(here)]))
    assert took < 20
    assert (here / PID_FILE).exists()
    again = run(here, *supervise(), "work", "0")
    assert again.returncode == 0, again.stderr
    assert not (here / PID_FILE).exists()


@pytest.mark.faults
def test_a_lost_sentinel_is_replaced_and_does_its_work(here: Path):
    process = start(here, *supervise("-n", "2"), "parent")
    wait_until_known(here, 2)
    (first,) = sentinels(process.pid)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: sentinels(process.pid) not in ([], [first]))
    wait_for(lambda: state_of(process.pid) == "S")  # it has told the new one who lives

    stop(process, signal.SIGKILL)

    wait_for(lambda: not any(is_alive(pid) for pid in [*ready(here), *children(here)]))


@pytest.mark.faults
def test_the_next_supervisor_ends_what_a_killed_one_and_its_sentinel_left(here: Path):
    process = start(here, *supervise("-n", "2"), "parent")
    wait_until_known(here, 2)
    (sentinel,) = sentinels(process.pid)
    os.kill(process.pid, signal.SIGSTOP)  # so that it starts no other
    os.kill(sentinel, signal.SIGKILL)
    process.kill()
    process.wait(WAIT_SECONDS)  # its outputs stay open: its copies have them
    assert all(is_alive(pid) for pid in ready(here))

    again = run(here, *supervise(), "work", "0")

    assert again.returncode == 0, again.stderr
    assert "left behind by a killed supervisor, ending: pids=" in again.stderr
    assert not any(is_alive(pid) for pid in [*ready(here), *children(here)])
    process.communicate(timeout=WAIT_SECONDS)


def test_two_supervisors_do_not_share_a_pid_file(here: Path):
    process = start(here, *supervise(), "nap")
    wait_until_known(here, 1)

    other = run(here, *supervise(), "work", "0")

    assert other.returncode == 2
    assert f"got pid {process.pid} " in other.stderr
    lines = (here / PID_FILE).read_text().splitlines()
    assert lines[0] == str(process.pid)
    assert lines[2].startswith(f"1 {ready(here)[0]} ")
    stop(process, signal.SIGINT)


@pytest.fixture
def bystander() -> "Iterator[subprocess.Popen[bytes]]":
    """A process of ours that no supervisor has to do with."""
    other = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], process_group=0
    )
    yield other
    other.kill()
    other.wait(WAIT_SECONDS)


def pid_lines(pid: int, *, started: int, boot: str = "") -> str:
    me = this_process()
    return f"999999\nin {boot or me.boot} {me.space}\n1 {pid} {started}\n2 x y\nrubbish\n"


@pytest.mark.parametrize(
    ("started", "boot"),
    [
        pytest.param(12345, "", id="another start"),
        pytest.param(0, "", id="no start"),
        pytest.param(None, "another", id="another boot"),
    ],
)
def test_a_number_that_now_names_another_process_is_left_alone(
    here: Path, bystander: "subprocess.Popen[bytes]", started: int | None, boot: str
):
    begun = started_at(bystander.pid) if started is None else started
    (here / PID_FILE).write_text(pid_lines(bystander.pid, started=begun, boot=boot))

    ended = run(here, *supervise(), "work", "0")

    assert ended.returncode == 0, ended.stderr
    assert bystander.poll() is None


def stranger(path: Path, text: str) -> None:
    """Have another user write the file, as into a folder where everybody may."""
    path.parent.chmod(0o1777)
    pid = os.fork()
    if not pid:
        try:
            os.chdir(path.parent)
            os.setuid(12345)
            Path(path.name).write_text(text)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def through_a_link(path: Path, text: str) -> None:
    path.with_name("elsewhere").write_text(text)
    path.symlink_to("elsewhere")


def second_name(path: Path, text: str) -> None:
    path.with_name("elsewhere").write_text(text)
    path.hardlink_to(path.with_name("elsewhere"))


def for_all_to_write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o666)


def other_kind(path: Path, text: str) -> None:
    path.write_text(f"# my notes\n{text}")


needs_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        pytest.param(stranger, "not ours", id="a stranger's", marks=needs_root),
        pytest.param(through_a_link, "a link", id="a link"),
        pytest.param(second_name, "2 names", id="a second name"),
        pytest.param(for_all_to_write, "writable by others", id="writable by all"),
        pytest.param(other_kind, "no pid file", id="another kind of file"),
    ],
)
def test_a_pid_file_that_is_not_ours_ends_nobody_and_stays_as_it_is(
    here: Path, bystander: "subprocess.Popen[bytes]", write, said: str
):
    write(here / PID_FILE, pid_lines(bystander.pid, started=started_at(bystander.pid)))
    before = (here / PID_FILE).read_text()

    ended = run(here, *supervise(), "work", "0")

    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert (here / PID_FILE).read_text() == before
    assert bystander.poll() is None


def test_a_file_of_ours_with_the_right_start_ends_what_was_left_behind(
    here: Path, bystander: "subprocess.Popen[bytes]"
):
    (here / PID_FILE).write_text(
        pid_lines(bystander.pid, started=started_at(bystander.pid))
    )  # else the tests above would show nothing

    reaper = threading.Thread(target=bystander.wait)  # what is not reaped is there to the end
    reaper.start()
    ended = run(here, *supervise("--grace", "100s"), "work", "0")

    assert ended.returncode == 0, ended.stderr
    reaper.join(WAIT_SECONDS)
    assert bystander.returncode == -signal.SIGTERM


def sentinels(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            ppid = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if ppid == parent and b"sentinel.py" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found
