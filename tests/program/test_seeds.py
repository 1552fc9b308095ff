"""With a seed each task draws the same, at every level, in any worker, order, attempt and run."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from adaptive_exec import Journal, adaptive_executor, current_task
from adaptive_exec.program import seeds
from tests.levels.ladder import LEVELS, settings_at


def draw(_item=None):
    task = current_task()
    return (
        task.seed,
        random.random(),
        np.random.random(),  # noqa: NPY002  # the old ways are what is tested
        task.rng().random(),
        task.rng().random(),
    )


def expected(seed, count):
    children = np.random.SeedSequence(seed).spawn(count)
    return [np.random.default_rng(child).random() for child in children]


@pytest.fixture(scope="module")
def usual():
    with adaptive_executor(levels="process", seed=7, share_host=False) as ex:
        return list(ex.map(draw, range(12)))


def test_streams_are_those_of_the_seeds_children(usual):
    assert [one[3] for one in usual] == [one[4] for one in usual] == expected(7, 12)
    for column in range(4):
        assert len({one[column] for one in usual}) == 12


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("chunksize", [1, 5])
def test_tasks_draw_the_same_at_every_level(usual, level, chunksize):
    with adaptive_executor(**settings_at(level), max_workers=3, seed=7) as ex:
        assert list(ex.map(draw, range(12), chunksize=chunksize)) == usual


@pytest.mark.parametrize("level", LEVELS)
def test_submitted_calls_draw_as_the_tasks_of_a_map(usual, level):
    with adaptive_executor(**settings_at(level), max_workers=2, seed=7) as ex:
        assert [one.result(60) for one in [ex.submit(draw) for _ in range(12)]] == usual


@pytest.mark.parametrize("count", [1, 3])
def test_few_tasks_draw_as_many(usual, count):
    with adaptive_executor(range(count), seed=7) as ex:
        assert list(ex.map(draw, range(count))) == usual[:count]
        assert ex.report.levels == ("process",)


def test_the_next_batch_draws_other_numbers(usual):
    def run():
        with adaptive_executor(levels="process", seed=7, share_host=False) as ex:
            return list(ex.map(draw, range(12))), list(ex.map(draw, range(12)))

    first, second = run()
    assert first == usual
    assert not {one[1] for one in first} & {one[1] for one in second}
    assert run() == (first, second)


def die_once(item):
    if item % 4 == 1 and current_task().attempt == 1:
        random.random()
        os.kill(os.getpid(), signal.SIGKILL)
    return draw()


def test_a_task_that_runs_again_draws_the_same(usual):
    with adaptive_executor(levels="process", seed=7, share_host=False) as ex:
        assert list(ex.map(die_once, range(12))) == usual


def fail_at_first(item):
    path, number = item
    if number % 3 == 2 and not path.exists():
        raise OSError
    return draw()


def test_a_resumed_run_draws_the_same(usual, tmp_path):
    journal, gate = tmp_path / "run.journal", tmp_path / "gate"
    settings = {"levels": "process", "seed": 7, "share_host": False}
    items = [(gate, number) for number in range(12)]
    with adaptive_executor(journal=journal, **settings) as ex:
        first = list(ex.outcomes(fail_at_first, items))
    gate.touch()
    with adaptive_executor(journal=Journal(journal, retry_failed=True), **settings) as ex:
        again = list(ex.map(fail_at_first, items))

    assert sum(one.error is not None for one in first) == 4
    assert again == usual


@pytest.mark.parametrize("level", ["thread", "sequential"])
def test_the_callers_own_generators_go_on_where_they_were(level):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  # as above
    with adaptive_executor(levels=level, seed=7) as ex:
        list(ex.map(draw, range(5)))
        ex.submit(draw).result(30)
    drawn = random.random(), np.random.random()  # noqa: NPY002  # as above

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  # as above
    assert drawn == (random.random(), np.random.random())  # noqa: NPY002  # as above


def test_without_a_seed_there_is_none():
    with adaptive_executor(levels="process", share_host=False) as ex:
        drawn = list(ex.map(draw, range(4)))

    assert {one[0] for one in drawn} == {None}
    assert len({one[3] for one in drawn}) == 4


LATE = """
import sys
from adaptive_exec import adaptive_executor

def late(_):
    import numpy as np
    return np.random.random()

def main():
    found = set()
    for level in ("process", "thread", "sequential"):
        with adaptive_executor(levels=level, seed=3) as ex:
            found.add(tuple(ex.map(late, range(3))))
        assert level != "process" or "numpy" not in sys.modules
    print(len(found), len(found.pop()))

if __name__ == "__main__":
    main()
"""


def run_script(script):
    command = [sys.executable, script]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_what_a_task_imports_itself_is_seeded_too(tmp_path):
    script = tmp_path / "late.py"
    script.write_text(LATE)
    done = run_script(script)

    assert done.stdout == "1 3\n", done.stderr


def test_streams_are_the_same_for_ever():
    assert seeds.seed_of((7, 0), 3) == 23121558726673043713970583582794791222
    assert seeds.spawn_key((7, 0), 3) == (3,)
    assert seeds.spawn_key((7, 2), 3) == (3, 2)
