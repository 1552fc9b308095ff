"""An executor with a journal: what was done is not run again, at any level, from any door."""

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from adaptive_exec import Journal, JournalError, adaptive_executor
from adaptive_exec.journal.store import Store
from adaptive_exec.records import Records
from tests.architecture.house import ROOT
from tests.levels.leaks import eventually

LEVELS = ["process", "thread", "sequential"]
WAIT_SECONDS = 100.0


def note_and_square(item):
    folder, number = item
    with (Path(folder) / "ran").open("a") as file:
        file.write(f"{number}\n")
    if number < 0:
        raise ValueError(number)
    return number * number


def ran(folder: Path) -> list[int]:
    path = folder / "ran"
    return sorted(map(int, path.read_text().split())) if path.exists() else []


def tasks(folder: Path, numbers):
    return [(str(folder), number) for number in numbers]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


def run(path: Path, numbers, *, function=note_and_square, **settings):
    with adaptive_executor(journal=str(path), **settings) as ex:
        return [one.value for one in ex.outcomes(function, tasks(path.parent, numbers))], ex.report


@pytest.mark.parametrize("levels", LEVELS)
def test_what_was_done_is_not_run_again(path: Path, levels):
    run(path, range(10), levels=levels)

    values, report = run(path, range(5, 15), levels=levels)

    assert ran(path.parent) == list(range(15))
    assert sorted(values) == [number * number for number in range(5, 15)]
    assert report.recalled_tasks == 5
    assert report.tasks == 5


@pytest.mark.parametrize("levels", LEVELS)
def test_results_keep_the_order_of_the_input_whatever_was_done(path: Path, levels):
    run(path, range(0, 20, 3), levels=levels)
    numbers = list(range(20))[::-1]

    with adaptive_executor(journal=path, levels=levels) as ex:
        values = list(ex.map(note_and_square, tasks(path.parent, numbers)))

    assert values == [number * number for number in numbers]
    assert ran(path.parent) == list(range(20))


@pytest.mark.parametrize("levels", LEVELS)
def test_submitted_calls_are_recalled_too(path: Path, levels):
    for _ in range(2):
        with adaptive_executor(journal=path, levels=levels) as ex:
            futures = [ex.submit(note_and_square, one) for one in tasks(path.parent, range(5))]
            assert [future.result(WAIT_SECONDS) for future in futures] == [0, 1, 4, 9, 16]

    assert ran(path.parent) == list(range(5))


def test_submitted_calls_of_many_functions_are_told_apart(path: Path):
    functions = [lambda x, n=number: x + n for number in range(100)]
    for _ in range(2):
        with adaptive_executor(journal=path, levels="thread") as ex:
            futures = [ex.submit(function, 1) for function in functions]
            assert [future.result(WAIT_SECONDS) for future in futures] == list(range(1, 101))
            report = ex.report

    assert (report.tasks, report.recalled_tasks) == (0, 100)


def test_equal_tasks_run_each_and_are_recalled_each(path: Path):
    first, _ = run(path, [2, 2, 3], levels="thread")
    again, report = run(path, [2, 3, 2, 2], levels="thread")

    assert ran(path.parent) == [2, 2, 2, 3]
    assert sorted(first) == [4, 4, 9]
    assert sorted(again) == [4, 4, 4, 9]
    assert report.recalled_tasks == 3


@pytest.mark.slow
def test_a_failure_is_delivered_again_until_failures_are_to_be_retried(path: Path):
    for settings in ({}, {}, {"retry_failed": True}):
        journal = Journal(str(path), **settings)
        with adaptive_executor(journal=journal, levels="process") as ex:
            (one,) = ex.outcomes(note_and_square, tasks(path.parent, [-1]))
        assert isinstance(one.error, ValueError)
        assert one.error.args == (-1,)
        assert "note_and_square" in one.error.__cause__.text

    assert ran(path.parent) == [-1, -1]


def die(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_poison_is_kept_with_its_facts(path: Path):
    for _ in range(2):
        with adaptive_executor(journal=path, levels="process", retries=0, max_workers=1) as ex:
            outcomes = sorted(ex.outcomes(die, range(4)))
            executed = ex.report.chunks

    assert executed == 0
    assert [one.error is None for one in outcomes] == [True, False, True, True]


def test_tasks_of_a_generator_are_recalled_lazily(path: Path):
    run(path, range(100), levels="thread")

    def endless():
        for number in itertools.count():
            yield str(path.parent), number

    with adaptive_executor(journal=path, levels="thread") as ex:
        results = ex.map(note_and_square, endless())
        first = list(itertools.islice(results, 50))
        results.close()

    assert first == [number * number for number in range(50)]


def test_what_the_caller_has_seen_is_in_the_file(path: Path):
    with adaptive_executor(journal=path, levels="process") as ex:
        results = ex.map(note_and_square, tasks(path.parent, range(30)), chunksize=3)
        for seen, _ in enumerate(results, start=1):
            assert count_done(path) >= seen


def count_done(path: Path) -> int:
    base = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    total = sum(len(keys) // 16 for (keys,) in base.execute("SELECT keys FROM results"))
    base.close()
    return total


def test_a_key_of_ones_own_decides_what_is_the_same(path: Path):
    def key(item):
        return item[1] % 3

    for numbers in (range(3), range(3, 6)):
        with adaptive_executor(journal=path, key=key, levels="thread") as ex:
            values = list(ex.map(note_and_square, tasks(path.parent, numbers)))

    assert values == [0, 1, 4]
    assert ran(path.parent) == [0, 1, 2]


def test_a_key_that_fails_costs_the_record_and_not_the_task(path: Path, caplog):
    def key(item):
        raise LookupError(item)

    with adaptive_executor(journal=path, key=key, levels="thread") as ex:
        assert list(ex.map(note_and_square, tasks(path.parent, range(3)))) == [0, 1, 4]

    assert "reason=no_key" in caplog.text
    assert count_done(path) == 0


def test_arrays_come_back_as_they_were(path: Path):
    for _ in range(2):
        with adaptive_executor(journal=path, levels="process") as ex:
            arrays = list(ex.map(np.arange, [10, 100_000, 1_000_000, 5]))
        assert [len(array) for array in arrays] == [10, 100_000, 1_000_000, 5]
        assert arrays[2][-1] == 999_999

    assert ex.report.chunks == 0
    assert path.stat().st_size < 5_000_000  # 8 MB of numbers in order shrink


def make_generator(number):
    return (one for one in range(number))


def test_a_value_that_cannot_be_stored_is_delivered(path: Path):
    with adaptive_executor(journal=path, levels="thread") as ex:
        (one,) = ex.map(make_generator, [3])

    assert list(one) == [0, 1, 2]
    base = sqlite3.connect(path)
    assert base.execute("SELECT marks FROM results").fetchall() == [(b"\x03",)]
    base.close()


def double(number):
    return 2 * number


def test_a_changed_function_is_refused_before_anything_runs(path: Path):
    with adaptive_executor(journal=path, levels="thread") as ex:
        list(ex.map(double, range(5)))
    base = sqlite3.connect(path)
    base.execute("UPDATE functions SET source = x'00'")
    base.commit()
    base.close()

    with adaptive_executor(journal=path, levels="thread") as ex:
        with pytest.raises(JournalError, match="accept_changed=True"):
            ex.map(double, range(5))
        with pytest.raises(JournalError, match="accept_changed=True"):
            ex.submit(double, 5)
    with adaptive_executor(journal=Journal(path, accept_changed=True), levels="thread") as ex:
        assert list(ex.map(double, range(5))) == [0, 2, 4, 6, 8]
        assert ex.report.recalled_tasks == 5


def test_a_file_that_is_no_journal_is_refused_when_the_executor_is_made(path: Path):
    path.write_text("precious")

    with pytest.raises(JournalError, match="foreign"):
        adaptive_executor(journal=path)

    assert path.read_text() == "precious"


@pytest.mark.parametrize("wrong", [7, b"x", "", ["a"]])
def test_a_journal_is_a_path(wrong):
    with pytest.raises(TypeError, match="journal must be the path"):
        adaptive_executor(journal=wrong)


def later_when_written(item):
    """All but the first few run after a first group of results has been written."""
    if item[1] > 9:
        assert eventually((Path(item[0]) / "has written").exists, seconds=WAIT_SECONDS)
    return note_and_square(item)


@pytest.mark.parametrize("levels", LEVELS)
def test_a_disk_that_fills_up_costs_the_journal_and_not_the_run(
    path: Path, levels, caplog, monkeypatch
):
    has_written = path.parent / "has written"

    def add_rows(self, rows):
        if has_written.exists():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        has_written.touch()

    monkeypatch.setattr(Store, "add_rows", add_rows)
    events = []
    with adaptive_executor(journal=path, levels=levels, on_event=events.append) as ex:
        values = list(ex.map(later_when_written, tasks(path.parent, range(30)), chunksize=1))

    assert values == [number * number for number in range(30)]
    assert [one["reason"] for one in events].count("journal_failed") == 1
    assert "reason=journal_failed" in caplog.text


LIMITED = """
import resource, signal, sys
from adaptive_exec import adaptive_executor
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
def text(n):
    import random
    return random.Random(n).randbytes(20_000)
with adaptive_executor(journal=sys.argv[1], levels="thread") as ex:
    results = list(ex.map(text, range(60)))
print(len(results), {len(one) for one in results})
"""


def test_a_real_limit_of_the_files_size_costs_the_journal_and_not_the_run(path: Path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )

    assert done.stdout == "60 {20000}\n"
    assert "reason=journal_failed" in done.stderr
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert base.execute("SELECT count(*) FROM results").fetchone()[0] > 0
    base.close()


def as_the_third(item):
    """End when three have begun: more than one of the executors has workers for."""
    begun = Path(item[0]) / "begun"
    with begun.open("a") as file:
        file.write(f"{item[1]}\n")
    assert eventually(lambda: len(begun.read_text().split()) > 2, seconds=WAIT_SECONDS)
    return note_and_square(item)


@pytest.mark.slow
@pytest.mark.parametrize("levels", ["process", "thread"])
def test_two_executors_on_one_journal_run_each_task_once(path: Path, levels):
    numbers = list(range(40))
    answers = []

    def one_of_two():
        with adaptive_executor(journal=path, levels=levels, max_workers=2) as ex:
            answers.append(list(ex.map(as_the_third, tasks(path.parent, numbers), chunksize=1)))
            answers.append(ex.report.tasks)

    threads = [threading.Thread(target=one_of_two) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)

    assert ran(path.parent) == numbers
    assert [one for one in answers if isinstance(one, list)] == [[n * n for n in numbers]] * 2
    assert sum(one for one in answers if isinstance(one, int)) == 40
    assert min(one for one in answers if isinstance(one, int)) > 0


def nap_and_return(number):
    time.sleep(0.001)
    return number


def test_results_may_come_while_earlier_ones_are_recorded(path: Path, monkeypatch):
    record = Records.record

    def slowly_record(self, *args):
        time.sleep(0.01)
        record(self, *args)

    monkeypatch.setattr(Records, "record", slowly_record)
    with adaptive_executor(journal=path, levels="thread", max_workers=2) as ex:
        values = list(ex.map(nap_and_return, range(100), chunksize=50))

    assert values == list(range(100))


def test_nothing_is_left_but_the_journal(path: Path):
    before = set(Path("/proc/self/fd").iterdir())

    run(path, range(10), levels="process")

    assert sorted(one.name for one in path.parent.iterdir()) == ["ran", "run.journal"]
    assert eventually(
        lambda: len(set(Path("/proc/self/fd").iterdir()) - before) <= 1, seconds=WAIT_SECONDS
    )
