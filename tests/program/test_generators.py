"""No generator that was made at import gives two workers the same numbers."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.program import generators
from tests.levels.ladder import ISOLATED, settings_at
from tests.program import frozen_of_mine, seeded_of_mine

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", [seeded_of_mine, frozen_of_mine], ids=["loaded", "frozen"])
@pytest.mark.parametrize("level", ISOLATED)
def test_no_two_workers_draw_the_same(level, module):
    settings = settings_at(level) | {"max_workers": 2, "max_tasks_per_worker": 1}
    with adaptive_executor(**settings, share_host=False) as ex:
        draws = list(ex.map(module.draw_all, range(4), chunksize=1))

    for number, place in enumerate(seeded_of_mine.PLACES):
        assert len({draw[number] for draw in draws}) == 4, place.__name__


def test_an_argument_keeps_its_stream():
    expected = np.random.default_rng(5).random(), random.Random(5).random()
    with adaptive_executor(levels="process", max_tasks_per_worker=1, share_host=False) as ex:
        mapped = list(ex.map(seeded_of_mine.argument, [np.random.default_rng(5)] * 3))
        one = ex.submit(seeded_of_mine.argument, random.Random(5)).result(60)

    assert mapped == [expected[0]] * 3
    assert one == expected[1]


def test_what_is_shared_keeps_its_stream():
    with adaptive_executor(levels="process", max_tasks_per_worker=1, share_host=False) as ex:
        shared = ex.share(np.random.default_rng(8))
        drawn = list(ex.map(seeded_of_mine.argument, [shared] * 2, chunksize=1))

    assert drawn == [np.random.default_rng(8).random()] * 2


KEPT = []


def keep(rng):
    KEPT.append(rng)


def draw_kept(_item):
    return KEPT[0].random()


def test_an_argument_of_the_initializer_keeps_its_stream():
    settings = {"initializer": keep, "initargs": (np.random.default_rng(6),)}
    with adaptive_executor(levels="process", max_workers=1, share_host=False, **settings) as ex:
        assert ex.submit(draw_kept, None).result(60) == np.random.default_rng(6).random()


SCRIPT = """
import random
import sys
import numpy as np
from adaptive_exec import adaptive_executor

NEW, PLAIN, SEEDED = np.random.default_rng(), random.Random(), np.random.default_rng(42)

class Sampler:
    rng = np.random.default_rng()

def draw(item, mine=np.random.default_rng()):
    return [NEW.random(), PLAIN.random(), SEEDED.random(), Sampler.rng.random(), mine.random()]

def main(start):
    with adaptive_executor(
        levels="process", start=start, max_workers=2, max_tasks_per_worker=1, share_host=False
    ) as ex:
        draws = list(ex.map(draw, range(4), chunksize=1))
        draws += [one.result() for one in [ex.submit(draw, item) for item in range(4)]]
    print([len(set(column)) for column in zip(*draws)])

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("start", ["zygote", pytest.param("loky", marks=pytest.mark.slow)])
def test_generators_of_the_script_itself_are_no_exception(tmp_path, start):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, start],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        check=False,
    )

    assert done.stdout.split("\n")[0] == "[8, 8, 8, 8, 8]", done.stderr


def test_what_is_loaded_is_told_from_what_was_there():
    there = random.Random(1)
    loaded = generators.load_afresh(lambda: [random.Random(1), np.random.default_rng(1)])

    assert there.random() == random.Random(1).random() != loaded[0].random()
    assert loaded[1].random() != np.random.default_rng(1).random()


def test_a_generator_that_takes_no_seed_does_no_harm():
    class Odd(random.Random):
        def seed(self, *_):
            raise TypeError("not me")

    class Late(Odd):
        def __init__(self):
            pass

    generators.reseed([Late(), random.Random()])
