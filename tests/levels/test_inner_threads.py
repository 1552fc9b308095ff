"""Numeric libraries share the cores with the workers, and the user's own word counts."""

import subprocess
import sys

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.levels.inner import INNER_THREADS
from tests.levels import work

numpy = pytest.importorskip("numpy", reason="needs NumPy, a library with threads of its own")
threadpoolctl = pytest.importorskip("threadpoolctl", reason="needs threadpoolctl")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch):
    for name in INNER_THREADS:
        monkeypatch.delenv(name, raising=False)


def inner_threads_here():
    return [one["num_threads"] for one in threadpoolctl.threadpool_info()]


@pytest.mark.parametrize("asked", [1, 3])
def test_workers_are_told_in_the_environment(asked):
    with adaptive_executor(isolate=True, max_workers=1, inner_threads=asked) as executor:
        (found,) = executor.map(work.environment_of, [INNER_THREADS])

    assert found == {name: str(asked) for name in INNER_THREADS}


def test_the_first_of_several_workers_leaves_the_others_their_cores():
    with adaptive_executor(isolate=True, max_workers=10_000) as executor:
        found = executor.submit(work.environment_of, INNER_THREADS).result()

    assert found == dict.fromkeys(INNER_THREADS, "1")


@pytest.mark.parametrize("own", ["1", "5"])
def test_what_the_user_has_set_is_kept_in_workers(own, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", own)
    with adaptive_executor(isolate=True, max_workers=1, inner_threads=3) as executor:
        (found,) = executor.map(work.environment_of, [INNER_THREADS])

    assert found["OMP_NUM_THREADS"] == own


def test_in_threads_loaded_libraries_are_held_back_and_let_go_at_the_end():
    before = inner_threads_here()
    with adaptive_executor(levels="thread", max_workers=2, inner_threads=1) as executor:
        found = list(executor.map(lambda _: inner_threads_here(), range(4)))

    assert all(count == 1 for counts in found for count in counts)
    assert inner_threads_here() == before


OPENMP = """
import sklearn.cluster, threadpoolctl
from adaptive_exec import adaptive_executor

def inner_threads():
    return {one["user_api"]: one["num_threads"] for one in threadpoolctl.threadpool_info()}

with adaptive_executor(levels="thread", max_workers=2, inner_threads=1) as executor:
    print(*executor.map(lambda _: sorted(inner_threads().items()), range(4)), sep="\\n")
"""


@pytest.mark.slow  # scikit-learn takes seconds to load
def test_in_a_thread_openmp_is_held_back_as_well():
    code = [sys.executable, "-c", OPENMP]
    found = subprocess.run(code, text=True, capture_output=True, timeout=120, check=False)
    if "No module named 'sklearn'" in found.stderr:
        pytest.skip("needs scikit-learn, which loads OpenMP")

    assert found.stdout.splitlines() == ["[('blas', 1), ('openmp', 1)]"] * 4, found.stderr


def test_one_thread_is_held_back_where_it_was_asked_for():
    with adaptive_executor(levels="thread", max_workers=1, inner_threads=1) as executor:
        (found,) = executor.map(lambda _: inner_threads_here(), [0])

    assert set(found) <= {1}


def test_in_threads_too_the_users_own_word_counts(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = inner_threads_here()
    with adaptive_executor(levels="thread", max_workers=2, inner_threads=1) as executor:
        found = list(executor.map(lambda _: inner_threads_here(), range(4)))

    assert all(counts == before for counts in found)
