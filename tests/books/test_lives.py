"""A run on a journal is gone when that is proved: by its lock, its process, or its silence here."""

import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from adaptive_exec.journal import store as store_module
from adaptive_exec.journal.book import AWAY, RUN, Book
from adaptive_exec.journal.contents import Contents
from adaptive_exec.journal.lives import (
    ABSENT_SECONDS,
    LIFE_SECONDS,
    JournalRun,
    Lives,
    is_lock_held,
    lock_path,
)
from adaptive_exec.journal.section import Section
from adaptive_exec.journal.store import Store
from adaptive_exec.system.identity import this_process
from tests.books.test_book import admit, same, work
from tests.system.spaces import CONTAINER, OTHER_CLOCK, OUTER_PROC, end, start

FAR = this_process()._replace(boot="elsewhere")

CLAIMER = """
import itertools, sys, time
from contextlib import closing
from pathlib import Path
from adaptive_exec.journal.lives import LIFE_SECONDS
from adaptive_exec.journal import store
from adaptive_exec.journal.book import Book
from adaptive_exec.journal.section import Section
from adaptive_exec.system import identity
from tests.books.test_book import work, same
path, system, boot = sys.argv[1:]
if system:
    store.file_system_of = lambda folder: system
if boot:
    identity._known[:] = [identity.this_process()._replace(boot=boot)]
book = Book(Path(path))
Section(book).admit(work, [1, 2, 3], same)
print("claimed", flush=True)
for beat in itertools.count(1):
    book.show_life(time.monotonic() + beat * LIFE_SECONDS)
    time.sleep(0.01)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


@pytest.fixture
def claimer(path: Path):
    """Start an instance that has claimed three tasks and shows a sign of life now and then."""
    made = []

    def make(*wrapper: str, system: str = "", boot: str = "") -> "subprocess.Popen[str]":
        made.append(start(wrapper, CLAIMER, str(path), system, boot))
        assert made[-1].stdout.readline() == "claimed\n"
        return made[-1]

    yield make
    for process in made:
        process.send_signal(signal.SIGCONT)
        end(process)


def claims(path: Path) -> int:
    base = sqlite3.connect(path)
    (count,) = base.execute("SELECT count(*) FROM claims").fetchone()
    base.close()
    return count


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


def is_gone_after(
    lives: Lives, clock: Clock, run: JournalRun, *, steps: int, seconds: float
) -> bool:
    gone: list[int] = []
    for _ in range(steps):
        gone = lives.find_gone({1: run})
        clock.now += seconds
    return bool(gone)


# locks


@pytest.mark.parametrize(
    "wrapper",
    [
        pytest.param((), id="process"),
        pytest.param(CONTAINER, id="container"),
        pytest.param(OUTER_PROC, id="container that sees the outer processes"),
        pytest.param(OTHER_CLOCK, id="clock five minutes ahead"),
    ],
)
def test_on_one_machine_a_run_lives_as_long_as_its_lock_and_not_a_moment_longer(
    path: Path, claimer, wrapper
):
    owner = claimer(*wrapper)
    book, clock = Book(path), Clock()
    lives = Lives(path, has_locks=True, clock=clock)
    runs = open_runs(path)
    del runs[book._store.run]
    (run,) = runs

    assert admit(Section(book), [1, 2, 3, 4]).fates == [AWAY, AWAY, AWAY, RUN]
    for _ in range(20):  # an hour without a look at its signs of life
        assert lives.find_gone(runs) == []
        clock.now += 200
    end(owner)
    wait_until_free(path, run)

    new = Book(path)
    assert admit(Section(new), [1, 2, 3]).fates == [RUN] * 3
    assert not Path(lock_path(path, run)).exists()
    book.close()
    new.close()


def open_runs(path: Path):
    """Read what a journal says of those who have it open."""
    with closing(Store(path, None, is_reader=True)) as reader:
        return dict(reader.open_runs())


def wait_until_free(path: Path, run: int) -> None:
    """Wait for the kernel to end what ran in the namespace."""
    deadline = time.monotonic() + 60
    while is_lock_held(path, run):
        assert time.monotonic() < deadline, "the lock outlives its owner"
        time.sleep(0.01)


def test_after_a_boot_nobody_holds_the_lock_so_nothing_waits(path: Path):
    store = Store(path, FAR)
    store._abandon()  # as a kill: the run has not said that it ended

    book = Book(path)

    assert book._store.open_runs() == {}
    book.close()


def test_a_stopped_run_lives(path: Path, claimer):
    owner = claimer(*CONTAINER)
    owner.send_signal(signal.SIGSTOP)
    book = Book(path)

    assert admit(Section(book), [1]).fates == [AWAY]
    book.close()


def test_whose_lock_file_was_removed_lives_by_its_signs(path: Path, claimer):
    claimer(*CONTAINER)
    for lock in path.parent.glob("run.journal-run-*"):
        lock.unlink()
    book = Book(path)

    assert admit(Section(book), [1]).fates == [AWAY]
    book.close()


# signs of life


def test_over_a_network_a_run_is_given_up_after_a_silence_by_our_own_clock(tmp_path: Path):
    clock = Clock()
    lives = Lives(tmp_path / "j", has_locks=False, clock=clock)
    run = JournalRun(FAR, 7)
    steps = round(ABSENT_SECONDS / LIFE_SECONDS)

    assert not is_gone_after(lives, clock, run, steps=steps, seconds=LIFE_SECONDS)
    assert is_gone_after(lives, clock, run, steps=2, seconds=LIFE_SECONDS)


def test_a_sign_of_life_begins_the_silence_anew(tmp_path: Path):
    clock = Clock()
    lives = Lives(tmp_path / "j", has_locks=False, clock=clock)

    for beat in range(30):
        assert not is_gone_after(lives, clock, JournalRun(FAR, beat), steps=5, seconds=LIFE_SECONDS)


def test_who_was_frozen_himself_calls_nobody_gone_for_it(tmp_path: Path):
    clock = Clock()
    lives = Lives(tmp_path / "j", has_locks=False, clock=clock)

    assert not is_gone_after(lives, clock, JournalRun(FAR, 1), steps=3, seconds=3600)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrapper",
    [
        pytest.param((), id="two machines of one name"),
        pytest.param(CONTAINER, id="container"),
        pytest.param(OTHER_CLOCK, id="clock five minutes ahead"),
    ],
)
def test_over_a_network_signs_of_life_count_whatever_the_other_clock_says(
    path: Path, claimer, monkeypatch, wrapper
):
    monkeypatch.setattr(store_module, "file_system_of", lambda folder: "nfs4")
    owner = claimer(*wrapper, system="nfs4", boot="another boot of the same name")
    reader = Store(path, None)  # one that only looks cannot take back what a kill left half done
    clock = Clock()
    lives = Lives(path, has_locks=False, clock=clock)

    for _ in range(round(2 * ABSENT_SECONDS / LIFE_SECONDS)):
        (before,) = reader.open_runs().values()
        assert lives.find_gone(reader.open_runs()) == []
        clock.now += LIFE_SECONDS
        wait_for_sign(reader, before.beat)
    end(owner)
    deadline = time.monotonic() + 60
    while not lives.find_gone(reader.open_runs()):
        assert time.monotonic() < deadline, "its silence is not heard"
        clock.now += LIFE_SECONDS
        time.sleep(0.005)
    reader.close()


def wait_for_sign(reader: Store, beat: int) -> None:
    deadline = time.monotonic() + 60
    while next(iter(reader.open_runs().values())).beat == beat:
        assert time.monotonic() < deadline, "no sign of life came"
        time.sleep(0.005)


def test_who_was_given_up_and_lives_is_heard_again(path: Path):
    book, other = Book(path), Book(path)
    other._store.end_runs([book._store.run])
    assert other._store.open_runs() == {}

    book.show_life(time.monotonic() + LIFE_SECONDS)

    assert list(other._store.open_runs()) == [book._store.run]
    book.close()
    other.close()


# what is left


@pytest.mark.faults
def test_the_claims_of_killed_runs_do_not_stay_in_the_journal(path: Path, claimer):
    left = []
    for _ in range(3):
        end(claimer())
        left.append(claims(path))

    book = Book(path)
    Section(book).admit(work, [7], same)

    assert left == [1, 1, 1], "each removes those of the one before"
    assert claims(path) == 1
    assert len(list(path.parent.glob("run.journal-run-*"))) == 1
    book.close()
    assert claims(path) == 0
    assert [one.name for one in path.parent.iterdir()] == ["run.journal"]


def test_a_run_that_lives_with_another_one_frees_its_claims_too(path: Path, claimer):
    owner = claimer()
    book = Book(path)
    keys = admit(Section(book), [1, 2, 3]).keys
    end(owner)

    deadline, freed = time.monotonic() + 60, []
    while not freed and time.monotonic() < deadline:
        time.sleep(0.05)
        _, freed = book.look_again(dict(enumerate(keys)))

    assert freed == [0, 1, 2]
    assert claims(path) == 1, "our own"
    book.close()


def test_a_look_from_outside_counts_who_may_live(path: Path, claimer):
    owner = claimer(*CONTAINER)

    contents = Contents(path)
    before = contents.summary()
    end(owner)
    wait_until_free(path, 1)
    after = contents.summary()
    contents.close()

    assert (before.runs, before.live_runs) == (1, 1)
    assert (after.runs, after.live_runs) == (1, 0)


FORMAT_1 = store_module._SCHEMA.replace("machine TEXT", "host TEXT").replace(
    "beat INTEGER", "seen REAL"
)


def test_a_journal_of_the_first_format_is_taken_over(path: Path):
    base = sqlite3.connect(path)
    base.executescript(FORMAT_1)
    base.execute("INSERT INTO runs VALUES (1, 'name', 'boot', 'pid:[1]', 5, '77', 1e9, 1e9, NULL)")
    base.execute(f"PRAGMA application_id = {store_module.APPLICATION_ID}")
    base.execute("PRAGMA user_version = 1")
    base.commit()
    base.close()

    contents = Contents(path)
    assert contents.summary().runs == 1
    contents.close()
    book = Book(path)

    assert admit(Section(book), [1]).fates == [RUN]
    assert book._store.open_runs()[1].process.started == 77
    book.close()


def test_a_stranger_who_holds_our_lock_file_only_costs_the_lock(path: Path):
    first = Book(path)
    assert is_lock_held(path, first._store.run)
    path.unlink()  # the journal is made anew while its old one is still in use

    second = Book(path)

    assert second._store.run == first._store.run
    second.close()
    first.close()


def test_a_link_in_the_place_of_a_lock_is_not_followed(path: Path, tmp_path: Path):
    target = tmp_path / "target"
    Path(lock_path(path, 1)).symlink_to(target)

    book = Book(path)

    assert not target.exists()
    assert is_lock_held(path, 1) is None
    book.close()
