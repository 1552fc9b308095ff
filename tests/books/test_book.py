"""A journal knows what was done, shares tasks out, and refuses what is not its own."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptive_exec.errors import JournalError
from adaptive_exec.journal import store as store_module
from adaptive_exec.journal.book import AWAY, KNOWN, RUN, Book
from adaptive_exec.journal.rows import Ended
from adaptive_exec.journal.section import Section
from adaptive_exec.journal.store import Store
from adaptive_exec.system.identity import this_process
from tests.architecture.house import ROOT

DETAIL = (0.5, 0.25, 1024)


def work(x):
    return x


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


def same(task):
    return task


def admit(section: Section, tasks, function=work):
    return section.admit(function, list(tasks), same)


def record(section: Section, keys, values, failures=None, function=work):
    details = [DETAIL] * len(keys)
    ended = Ended(keys, values, failures or {}, details)
    section.record(function, ended, level="process", worker=3, attempt=2)
    section.book.commit()


def write(path: Path, tasks, *, function=work) -> None:
    book = Book(path)
    section = Section(book)
    admitted = admit(section, tasks, function)
    record(section, admitted.keys, [task * 10 for task in tasks], function=function)
    book.close()


def test_what_was_done_is_known_to_the_next_run(path: Path):
    write(path, [1, 2, 3])

    book = Book(path)
    admitted = admit(Section(book), [3, 4, 1])

    assert admitted.fates == [KNOWN, RUN, KNOWN]
    assert [admitted.found[at].value for at in (0, 2)] == [30, 10]
    found = admitted.found[0]
    assert (found.detail, found.level, found.attempt) == (DETAIL, "process", 2)
    book.close()


def test_equal_tasks_are_told_apart_by_their_number(path: Path):
    write(path, [7, 7])

    book = Book(path)
    admitted = admit(Section(book), [7, 7, 7])

    assert admitted.fates == [KNOWN, KNOWN, RUN]
    book.close()


def test_another_batch_of_the_same_run_knows_what_the_first_one_did(path: Path):
    book = Book(path)
    first = Section(book)
    record(first, admit(first, [1, 2]).keys, ["a", "b"])

    assert admit(Section(book), [2]).found[0].value == "b"
    book.close()


def test_failures_are_known_until_they_are_to_be_run_again(path: Path):
    book = Book(path)
    section = Section(book)
    record(section, admit(section, [1, 2]).keys, [None, 5], {0: ValueError("bad")})
    book.close()

    book = Book(path)
    known = admit(Section(book), [1, 2])
    book.close()
    again = Book(path, retries_failed=True)
    retried = admit(Section(again), [1, 2])
    again.close()

    assert repr(known.found[0].error) == "ValueError('bad')"
    assert retried.fates == [RUN, KNOWN]


def test_a_value_that_cannot_be_stored_is_marked_and_run_again(path: Path):
    book = Book(path)
    section = Section(book)
    record(section, admit(section, [1, 2]).keys, [(one for one in "a"), 5])
    book.close()

    book = Book(path)
    assert admit(Section(book), [1, 2]).fates == [RUN, KNOWN]
    book.close()


def test_a_task_without_a_key_is_run_and_not_journaled(path: Path):
    book = Book(path)
    section = Section(book)
    with (path.parent / "file").open("w") as file:
        admitted = admit(section, [file, 5])

    assert admitted.keys[0] is None
    assert "has no key" in admitted.unkeyed
    record(section, admitted.keys, [1, 2])
    assert admit(Section(book), [5]).found[0].value == 2
    book.close()


def test_nothing_is_written_before_the_group_is_committed(path: Path):
    book = Book(path)
    section = Section(book)
    keys = admit(section, [1]).keys
    section.record(work, Ended(keys, ["a"], {}, None), level="thread", worker=1, attempt=1)
    other = Book(path)

    before = admit(Section(other), [1]).fates
    book.commit()
    done, freed = other.look_again({5: keys[0]})

    assert before == [AWAY]
    assert done[5].value == "a"
    assert freed == []
    other.close()
    book.close()


def test_a_group_waits_at_most_a_tenth_of_a_second(path: Path):
    book = Book(path)
    section = Section(book)
    assert book.commit_at == float("inf")
    record(section, admit(section, [1]).keys, ["a"])
    keys = admit(section, [2]).keys
    section.record(work, Ended(keys, ["a"], {}, None), level="thread", worker=1, attempt=1)

    assert book.commit_at <= time.monotonic() + 0.1
    book.close()


def test_two_instances_share_tasks_without_doing_one_twice(path: Path):
    one, other = Book(path), Book(path)
    first = admit(Section(one), range(6))
    second = admit(Section(other), range(3, 9))

    assert first.fates == [RUN] * 6
    assert second.fates == [AWAY] * 3 + [RUN] * 3
    one.close()
    done, freed = other.look_again(dict(enumerate(second.keys[:3])))
    assert done == {}
    assert freed == [0, 1, 2]
    other.close()


CLAIMER = """
import sys, time
from pathlib import Path
from adaptive_exec.journal.book import Book
from adaptive_exec.journal.section import Section
from tests.books.test_book import work, same
section = Section(Book(Path(sys.argv[1])))
section.admit(work, [1, 2, 3], same)
print("claimed", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("is_reaped", [True, False], ids=["gone", "not yet reaped"])
def test_a_dead_instances_claims_are_free_at_once(path: Path, is_reaped):
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIMER, str(path)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout.readline() == b"claimed\n"
    book = Book(path)
    while_alive = admit(Section(book), [1, 2, 3, 4])
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    if is_reaped:
        process.wait()

    new = Book(path)
    after_death = admit(Section(new), [1, 2, 3])

    assert while_alive.fates == [AWAY, AWAY, AWAY, RUN]
    assert after_death.fates == [RUN, RUN, RUN]
    process.wait()
    process.stdout.close()
    book.close()
    new.close()


def mend(text: str):
    return text.replace("return x", "return x  # the same")


def test_a_changed_function_is_refused_unless_its_change_is_accepted(path: Path):
    store = Store(path, this_process())
    store.enter_function(b"f" * 16, "mine:f", b"old", accepts_change=False)

    with pytest.raises(JournalError) as refused:
        store.enter_function(b"f" * 16, "mine:f", b"new", accepts_change=False)
    number = store.enter_function(b"f" * 16, "mine:f", b"new", accepts_change=True)

    assert refused.value.kind == "changed"
    assert "--accept-changed" in str(refused.value)
    assert store.enter_function(b"f" * 16, "mine:f", b"new", accepts_change=False) == number
    store.close()


def test_a_closed_journal_is_one_file(path: Path):
    write(path, range(100))

    assert [one.name for one in path.parent.iterdir()] == ["run.journal"]


def test_on_a_network_file_system_a_rollback_journal_is_used(path: Path, monkeypatch):
    monkeypatch.setattr(store_module, "file_system_of", lambda folder: "nfs4")

    write(path, range(10))
    book = Book(path)

    assert not book.has_log
    assert book.file_system == "nfs4"
    assert admit(Section(book), [3]).fates == [KNOWN]
    assert not Path(f"{path}-wal").exists()
    book.close()


def test_an_empty_file_becomes_a_journal(path: Path):
    path.touch()

    write(path, [1])

    assert path.stat().st_size > 0


def foreign_database(path: Path) -> None:
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE mine (a)")
    base.commit()
    base.close()


def cut(path: Path) -> None:
    write(path, range(5000))
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def cut_short(path: Path) -> None:
    write(path, [1])
    os.truncate(path, 50)


def raise_format(path: Path) -> None:
    write(path, [1])
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version = 99")
    base.commit()
    base.close()


def scribble(path: Path) -> None:
    write(path, range(5000))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        pytest.param(lambda path: path.write_bytes(b"a,b\n1,2\n"), "foreign", id="text"),
        pytest.param(lambda path: path.write_bytes(os.urandom(9000)), "foreign", id="noise"),
        pytest.param(foreign_database, "foreign", id="somebody else's database"),
        pytest.param(cut, "truncated", id="cut"),
        pytest.param(cut_short, "truncated", id="cut short"),
        pytest.param(raise_format, "newer", id="a newer format"),
        pytest.param(scribble, "damaged", id="scribbled over"),
        pytest.param(lambda path: path.mkdir(), "unusable", id="a folder"),
    ],
)
def test_what_is_no_journal_is_refused_and_left_as_it_is(path: Path, spoil, kind: str):
    spoil(path)
    before = path.read_bytes() if path.is_file() else None

    with pytest.raises(JournalError) as refused:
        Section(Book(path)).admit(work, [1], same)

    assert refused.value.kind == kind
    assert str(path) in str(refused.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_there_must_be_a_folder(path: Path):
    with pytest.raises(JournalError) as refused:
        Book(path.parent / "absent" / "run.journal")

    assert refused.value.kind == "unusable"


def test_a_log_that_was_left_behind_is_read(path: Path, tmp_path: Path):
    book = Book(path)
    section = Section(book)
    record(section, admit(section, range(2000)).keys, list(range(2000)))
    left = tmp_path / "left"
    left.mkdir()
    for one in tmp_path.glob("run.journal*"):
        shutil.copy(one, left / one.name)
    book.close()

    again = Book(left / "run.journal")

    assert admit(Section(again), range(2000)).fates == [KNOWN] * 2000
    again.close()


def test_who_only_looks_leaves_nothing_behind(path: Path):
    write(path, [1, 2, 3])
    before = path.read_bytes()

    Store(path, None, is_reader=True).close()

    assert [found.name for found in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before
