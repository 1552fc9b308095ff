"""One word has one hash in all workers of a program, and what tasks start knows nothing of it."""

import os
import signal
import subprocess
import sys

import pytest

from adaptive_exec import adaptive_executor, current_task
from adaptive_exec.program import hashes
from tests.levels.ladder import ISOLATED, settings_at

WORDS = ["alpha", "beta", "gamma"]


def hashes_of(words):
    return os.getpid(), tuple(map(hash, words))


def die_once(words):
    if current_task().attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return hashes_of(words)


def look(_item):
    code = "import os; print(os.environ.get('PYTHONHASHSEED'), hash('alpha'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return os.environ.get(hashes.VARIABLE), *run.stdout.split()


def nest(words):
    with adaptive_executor(levels="process", max_workers=1, share_host=False) as ex:
        return ex.submit(hashes_of, words).result(60)


@pytest.fixture(autouse=True)
def no_seed_from_outside(monkeypatch):
    monkeypatch.delenv(hashes.VARIABLE, raising=False)


@pytest.mark.slow
def test_a_word_has_one_hash_in_every_worker_of_a_program():
    found, workers = set(), set()
    for level in ("process", "loky"):
        with adaptive_executor(**settings_at(level), max_workers=2, max_tasks_per_worker=2) as ex:
            told = list(ex.map(hashes_of, [WORDS] * 8, chunksize=1))
        workers |= {pid for pid, _ in told}
        found |= {numbers for _, numbers in told}

    assert len(workers) >= 4
    assert len(found) == 1


def test_a_word_keeps_its_hash_when_its_worker_dies():
    with adaptive_executor(levels="process", share_host=False) as ex:
        before = ex.submit(hashes_of, WORDS).result(60)
        after = ex.submit(die_once, WORDS).result(60)

    assert before[1] == after[1]


def test_executors_in_tasks_hash_as_their_program_does():
    with adaptive_executor(levels="process", max_workers=1, share_host=False) as ex:
        outer = ex.submit(hashes_of, WORDS).result(60)
        inner = ex.submit(nest, WORDS).result(60)

    assert outer[0] != inner[0]
    assert outer[1] == inner[1]


@pytest.mark.parametrize("level", ISOLATED)
def test_what_a_task_starts_has_a_hash_seed_of_its_own(level):
    with adaptive_executor(**settings_at(level)) as ex:
        first, second = ex.map(look, range(2))

    assert first[:2] == second[:2] == (None, "None")
    assert first[2] != second[2]


@pytest.mark.parametrize("level", ISOLATED)
def test_the_users_own_seed_is_kept_and_seen(level, monkeypatch):
    monkeypatch.setenv(hashes.VARIABLE, "7")
    with adaptive_executor(**settings_at(level)) as ex:
        of_task, of_child, number = ex.submit(look, None).result(60)

    assert (of_task, of_child) == ("7", "7")
    assert number == look(None)[2]


def test_two_programs_have_two_seeds():
    code = "from adaptive_exec.program.hashes import choose_hash_seed as c; print(c(), c())"
    run = [sys.executable, "-c", code]
    seeds = [subprocess.check_output(run, text=True).split() for _ in range(2)]

    assert seeds[0][0] == seeds[0][1] != seeds[1][0]
