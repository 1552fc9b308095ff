"""The ledger on a real file system: who is counted, who is not, and what is done about the rest."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptive_exec.core.instructions import Standing, TradeShare
from adaptive_exec.core.sharing.share import Claim
from adaptive_exec.ledger import leases as leases_module
from adaptive_exec.ledger.facts import Facts
from adaptive_exec.ledger.leases import (
    LEDGER_RECORD_BYTES,
    SUFFIX,
    Ledger,
    read_folder,
    read_ledger,
)
from adaptive_exec.ledger.record import LeaseRecord, RecordError, read_record, write_record
from adaptive_exec.system import folder as folder_module
from adaptive_exec.system.folder import PLACE_VARIABLE, find_folder, folder_paths
from adaptive_exec.system.private import NotOursError, check_folder
from tests.core.world import make_host
from tests.system.spaces import CONTAINER, end, start

HOST = make_host(cores=4)
STANDING = Standing("process", 2, 1, 3, 10, "normal")


def order(wanted=4, held=0, room=0, **claim):
    mine = Claim("", 0.0, wanted_slots=wanted, held_slots=held, **claim)
    return TradeShare(mine, 4, room, STANDING)


def folder_path() -> str:
    return next(folder_paths())


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv(PLACE_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def ledgers(home):
    made = []

    def make(program=""):
        made.append(Ledger(program))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()


# the record


def test_a_record_says_the_same_when_it_is_read():
    record = LeaseRecord(
        "m", "b", "pid:[1]", 7, 8, 1.5, 2.5, Claim("7-1", 0.25, 3, 2, 1, 9, 4, 3), STANDING,
        program="card.py --name x\ny", core_domain="cores 3", memory_domains=("a b", "host"),
        decisions=("planned: batch 1", "shared: run 100% of\x1fit"),
    )  # fmt: skip

    again = read_record(write_record(record))

    assert again.claim == record.claim
    assert again.standing == record.standing
    assert again.memory_domains == ("a b", "host")
    assert again.program == "card.py --name x y"
    assert again.decisions == ("planned: batch 1", "shared: run 100% of it")


GOOD = write_record(LeaseRecord("", "", "", 1, 2, 0.0, 0.0, Claim("1-1", 0.0), STANDING))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        pytest.param(b"", "not a record", id="empty"),
        pytest.param(b"\0" * 100, "not a record", id="zeros"),
        pytest.param(b"[section]\nof = another program\n", "not a record", id="foreign"),
        pytest.param(GOOD[: len(GOOD) // 2], "torn", id="half written"),
        pytest.param(GOOD[:-3], "torn", id="without its last bytes"),
        pytest.param(GOOD.replace(b"claim.wanted_slots i0", b"claim.wanted_slots i9"), "torn",
                     id="one digit changed"),
    ],
)  # fmt: skip
def test_what_is_no_whole_record_is_refused(content, what):
    with pytest.raises(RecordError, match=what):
        read_record(content)


def test_a_record_is_whole_while_the_rest_of_a_longer_one_still_stands_behind_it():
    longer = write_record(read_record(GOOD)._replace(program="card.py --all"))

    assert read_record(GOOD + longer[len(GOOD) :]) == read_record(GOOD)
    assert len(longer) > len(GOOD)


def reseal(body: bytes) -> bytes:
    import binascii

    return body + b"end %08x\n" % binascii.crc32(body)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        pytest.param(b"ledger 2\n", b"ledger 3\n", "another version", id="newer"),
        pytest.param(b"pid i1\n", b"pid ix\n", "bad number", id="no number"),
        pytest.param(b"pid i1\n", b"pid z1\n", "unknown kind", id="a kind of a later version"),
        pytest.param(b"pid i1\n", b"", "lacks", id="a field is missing"),
    ],
)
def test_a_sealed_record_of_another_form_is_refused(old, new, what):
    body = GOOD[: GOOD.rindex(b"end ")]

    with pytest.raises(RecordError, match=what):
        read_record(reseal(body.replace(old, new)))


def test_a_field_that_a_later_version_adds_is_passed_over():
    body = GOOD[: GOOD.rindex(b"end ")] + b"claim.color sblue\nsmell sgood\n"

    assert read_record(reseal(body)).pid == 1


# the folder


def test_the_folder_is_ours_alone(home, ledgers):
    ledgers().trade(order(), HOST)

    (folder,) = home.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert str(os.geteuid()) in folder.name


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_refused_and_the_instance_goes_on_alone(
    home, ledgers, mode
):
    folder = Path(folder_path())
    folder.mkdir()
    folder.chmod(mode)

    share, trouble = ledgers().trade(order(), HOST)

    assert share is None
    assert "writable by others" in trouble
    assert list(folder.iterdir()) == []
    assert read_ledger() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder away")
def test_a_folder_of_somebody_else_is_refused(home, ledgers):
    folder = Path(folder_path())
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)

    share, trouble = ledgers().trade(order(), HOST)

    assert share is None
    assert "user 12345" in trouble


def test_a_link_in_the_place_of_the_folder_is_refused(home, tmp_path_factory):
    Path(folder_path()).symlink_to(tmp_path_factory.mktemp("elsewhere"))

    with pytest.raises(NotOursError, match="not a folder"):
        check_folder(folder_path())


def test_a_place_that_cannot_be_written_leaves_the_instance_alone(monkeypatch, tmp_path):
    monkeypatch.setenv(PLACE_VARIABLE, str(tmp_path / "missing"))

    share, trouble = Ledger().trade(order(), HOST)

    assert share is None
    assert "FileNotFoundError" in trouble


@pytest.fixture
def places(monkeypatch, tmp_path) -> list[Path]:
    """Let the ledger choose among two places."""
    monkeypatch.delenv(PLACE_VARIABLE)
    made = [tmp_path / "first", tmp_path / "second"]
    for place in made:
        place.mkdir()
    monkeypatch.setattr(folder_module, "PLACES", tuple(map(str, made)))
    return made


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="a shell"),
        pytest.param({"XDG_RUNTIME_DIR": None, "TMPDIR": None}, id="cron"),
        pytest.param({"TMPDIR": "/var/tmp", "XDG_RUNTIME_DIR": "/nowhere"}, id="a notebook"),
    ],
)
def test_all_programs_of_a_user_look_in_one_place(monkeypatch, environment):
    monkeypatch.delenv(PLACE_VARIABLE)
    usual = list(folder_paths())
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)

    assert list(folder_paths()) == usual
    assert usual[0].startswith("/dev/shm/adaptive_exec-")


def test_a_place_that_others_have_taken_is_passed_over_by_all(places):
    taken = Path(folder_path())
    taken.mkdir()
    taken.chmod(0o777)
    ledger = Ledger()

    assert ledger.trade(order(), HOST).share.instances == 1

    assert Path(find_folder()).parent == places[1]
    assert len(read_ledger()) == 1
    assert list(taken.iterdir()) == []
    ledger.close()


# several instances


def test_a_lone_instance_has_the_host(ledgers):
    share, trouble = ledgers().trade(order(), HOST)

    assert (share.instances, share.slots, trouble) == (1, 4, "")


def test_a_newcomer_gets_what_is_free_and_the_rest_once_the_older_let_go(ledgers):
    old, new = ledgers(), ledgers()
    old.trade(order(held=0), HOST)

    first = new.trade(order(), HOST).share
    old.trade(order(held=2), HOST)
    second = new.trade(order(held=1), HOST).share

    assert (first.instances, first.slots) == (2, 1)
    assert second.slots == 2


def test_a_closed_lease_counts_no_more(ledgers):
    old, new = ledgers(), ledgers()
    old.trade(order(), HOST)
    old.close()

    assert new.trade(order(), HOST).share.instances == 1


def test_eight_that_trade_one_after_the_other_are_not_promised_the_same_memory(ledgers):
    mib = 2**20
    granted = []
    for _ in range(8):
        claim = {"unit_bytes": 60 * mib, "wanted_bytes": 480 * mib}
        share = ledgers().trade(order(room=500 * mib, **claim), HOST).share
        granted.append(500 * mib if share.slot_bytes is None else share.slot_bytes)

    promised = sum(record.claim.held_bytes for record in read_ledger())
    assert promised <= 500 * mib


def test_watchers_see_what_an_instance_says(ledgers):
    ledger = ledgers("run_card.sh -o")
    facts = Facts(peak_bytes=5, decisions=("planned: batch 1 process",))

    ledger.trade(order(), HOST, facts)

    (record,) = read_ledger()
    assert record.program == "run_card.sh -o"
    assert record.decisions == ("planned: batch 1 process",)
    assert record.standing == STANDING
    assert record.pid == os.getpid()


def test_a_record_that_would_be_too_long_leaves_out_what_is_for_people(ledgers):
    ledger = ledgers("x" * LEDGER_RECORD_BYTES)

    ledger.trade(order(), HOST)

    (record,) = read_ledger()
    assert (record.program, record.claim.wanted_slots) == ("", 4)


@pytest.mark.parametrize(
    "content", [b"another program's", GOOD[:-5], GOOD.replace(b"ledger 2", b"ledger 9")]
)
def test_an_odd_record_that_is_held_is_left_out_and_said_once(ledgers, content):
    ledger = ledgers()
    ledger.trade(order(), HOST)
    odd = Path(folder_path()) / f"999-1{SUFFIX}"
    odd.write_bytes(content)

    with odd.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        first = ledger.trade(order(), HOST)
        second = ledger.trade(order(), HOST)

    assert first.share.instances == 1
    assert odd.name in first.trouble
    assert second.trouble == ""
    assert odd.exists()


def test_a_record_that_is_being_made_is_not_odd(ledgers):
    ledger = ledgers()
    ledger.trade(order(), HOST)
    new = Path(folder_path()) / f"999-1{SUFFIX}"
    new.write_bytes(b"")

    with new.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        share, trouble = ledger.trade(order(), HOST)

    assert (share.instances, trouble) == (1, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_a_file_of_somebody_else_is_left_alone(ledgers):
    ledger = ledgers()
    ledger.trade(order(), HOST)
    foreign = Path(folder_path()) / f"1-1{SUFFIX}"
    foreign.write_bytes(GOOD)
    os.chown(foreign, 12345, -1)

    share, trouble = ledger.trade(order(), HOST)

    assert share.instances == 1
    assert "not ours" in trouble
    assert foreign.exists()


def test_a_fifo_and_a_link_in_the_folder_hold_nobody_up(ledgers, tmp_path):
    ledger = ledgers()
    ledger.trade(order(), HOST)
    os.mkfifo(f"{folder_path()}/1-1{SUFFIX}")
    Path(f"{folder_path()}/2-1{SUFFIX}").symlink_to("/dev/zero")

    share, trouble = ledger.trade(order(), HOST)

    assert share.instances == 1
    assert "1-1" in trouble
    assert "2-1" in trouble


def test_a_lock_that_is_stuck_holds_nobody_up(ledgers):
    ledger = ledgers()
    ledger.trade(order(), HOST)
    with (Path(folder_path()) / "lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        began = time.monotonic()
        share, trouble = ledger.trade(order(), HOST)

        assert time.monotonic() - began < 20, "nobody lets go of it"
        assert share.instances == 1
        assert "stuck" in trouble


def test_a_lease_that_was_swept_away_is_written_anew(ledgers):
    ledger = ledgers()
    ledger.trade(order(), HOST)
    for path in Path(folder_path()).iterdir():
        path.unlink()

    ledger.trade(order(), HOST)

    assert len(read_ledger()) == 1


CHILD = """
import sys, time, os
from adaptive_exec.core.instructions import Standing, TradeShare
from adaptive_exec.core.sharing.share import Claim
from adaptive_exec.ledger.leases import Ledger
from adaptive_exec.system.identity import this_process
from adaptive_exec.system.private import NotOursError, check_folder
from tests.core.world import make_host
ledger = Ledger("child")
claim = Claim("", 0.0, wanted_slots=4, held_slots=0)
order = TradeShare(claim, 4, 0, Standing("process", 0, 0, 0, None, "normal"))
share = ledger.trade(order, make_host(cores=4)).share
if sys.argv[1] == "fork":
    forked = os.fork()
    if forked:
        print(forked, flush=True)
else:
    print(os.getpid(), flush=True)
time.sleep(600)
"""


def start_child(mode: str) -> tuple[subprocess.Popen, int]:
    """Start an instance; return it, and its pid or that of the process it forked."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", CHILD, mode]
    child = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    return child, int(child.stdout.readline())


def test_a_killed_instance_loses_its_lease(home, ledgers):
    ledger = ledgers()
    child, _ = start_child("alone")
    try:
        with_child = ledger.trade(order(), HOST).share.instances
    finally:
        child.kill()
        child.communicate()

    after = ledger.trade(order(), HOST).share.instances

    assert (with_child, after) == (2, 1)
    leases = [path for path in Path(folder_path()).iterdir() if path.suffix == SUFFIX]
    assert len(leases) == 1, "the lease of the dead is taken away"


def test_a_stopped_instance_keeps_its_lease(home, ledgers):
    ledger = ledgers()
    child, _ = start_child("alone")
    try:
        child.send_signal(signal.SIGSTOP)

        assert ledger.trade(order(), HOST).share.instances == 2
    finally:
        child.kill()
        child.communicate()


def test_a_lease_that_only_a_forked_child_holds_ends_with_its_owner(home, ledgers):
    ledger = ledgers()
    child, forked = start_child("fork")
    try:
        assert ledger.trade(order(), HOST).share.instances == 2
        child.kill()
        child.wait()

        assert ledger.trade(order(), HOST).share.instances == 1
    finally:
        os.kill(forked, signal.SIGKILL)
        child.communicate()


def test_reading_removes_only_what_nobody_holds(ledgers):
    ledgers().trade(order(), HOST)
    folder = Path(folder_path())
    (folder / f"5-1{SUFFIX}").write_bytes(GOOD)
    (folder / "5-2.new").write_bytes(b"")

    found = list(read_folder(str(folder)))

    assert len(found) == 1
    assert not (folder / f"5-1{SUFFIX}").exists()
    assert (folder / "5-2.new").exists(), "its maker may be about to lock it"


CONTAINED = CHILD.replace('Ledger("child")', 'Ledger("contained")')


def test_instances_in_containers_that_share_the_place_are_seen_and_do_not_meet_in_a_name(
    home, ledgers
):
    ledger = ledgers()
    ledger.trade(order(), HOST)
    contained = [start(CONTAINER, CONTAINED, "alone") for _ in range(2)]
    pids = [int(process.stdout.readline()) for process in contained]

    seen = read_ledger()
    assert len(seen) == 3
    assert pids[0] == pids[1], "each is the first in its namespace"
    assert ledger.trade(order(), HOST).share.instances == 3
    for process in contained:
        end(process)

    deadline = time.monotonic() + 30
    while len(read_ledger()) > 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [record.pid for record in read_ledger()] == [os.getpid()]


def test_a_reader_never_makes_an_owner_fail(home, ledgers):
    """Readers that look all the time, and a lease that is made again and again."""
    readers = [
        subprocess.Popen([sys.executable, "-c", READER], cwd=Path(__file__).parents[2])
        for _ in range(2)
    ]
    try:
        failures = []
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            ledger = Ledger()
            for _ in range(3):
                share, trouble = ledger.trade(order(), HOST)
                failures += [trouble] if share is None else []
            ledger.close()
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()

    assert failures == []


READER = """
from adaptive_exec.ledger import leases
leases._NEW_SECONDS = -1.0  # as by a clock that was set: what is being made looks left behind
while True:
    leases.read_ledger()
"""


def test_where_no_file_can_be_made_without_a_name_a_lease_is_made_in_two_steps(
    home, ledgers, monkeypatch
):
    monkeypatch.setattr(leases_module, "make_locked", lambda path: -1)
    ledger = ledgers()

    assert ledger.trade(order(), HOST).share.instances == 1
    assert ledgers().trade(order(), HOST).share.instances == 2


def test_a_failure_that_passes_costs_no_trade(home, ledgers, monkeypatch):
    ledger = ledgers()
    failing = iter([OSError(5, "Input/output error")])
    real = os.pwrite

    def write(*arguments):
        for error in failing:
            raise error
        return real(*arguments)

    monkeypatch.setattr(os, "pwrite", write)

    assert ledger.trade(order(), HOST).share.instances == 1


def test_a_trade_beside_seven_others_is_cheap(ledgers):
    for _ in range(7):
        ledgers().trade(order(), HOST)
    mine = ledgers()
    spent = []
    for _ in range(20):
        before = time.perf_counter()
        mine.trade(order(), HOST)
        spent.append(time.perf_counter() - before)

    assert min(spent) < 0.01
