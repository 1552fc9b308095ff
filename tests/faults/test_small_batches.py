"""Few tasks run in threads of the caller, whom the kernel would kill with them: he lives."""

from typing import Final

import pytest

from tests.cgroups import memory_group

MIB: Final = 1024 * 1024
LIMIT_BYTES: Final = 512 * MIB
FEW: Final = """
import time
from adaptive_exec import adaptive_executor

def hold(megabytes):
    block = bytearray(b"x") * (megabytes * 1_000_000)
    time.sleep(0.3)
    return len(block) // 1_000_000

sizes = [{megabytes}] * {tasks}
with adaptive_executor(sizes, {settings}) as executor:
    print(list(executor.map(hold, sizes)) == sizes, executor.report.levels)
"""
CROWDED: Final = """
import time
from adaptive_exec import adaptive_executor

mine = bytearray(b"x") * ({held} * 1_000_000)

def hold(number):
    block = bytearray(b"x") * (100_000_000 if number == 7 else 100_000)
    time.sleep(0.02)
    return len(block)

with adaptive_executor(range(20)) as executor:
    outcomes = list(executor.outcomes(hold, range(20)))
    failed = [outcome for outcome in outcomes if outcome.error]
    print(len(outcomes), [type(outcome.error).__name__ for outcome in failed])
"""


def run(script):
    with memory_group(LIMIT_BYTES) as group:
        ran = group.run_python(script)
        kills = group.kernel_kills()
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip(), kills


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["", "levels=('thread',)"], ids=["chosen", "told"])
@pytest.mark.parametrize(("tasks", "megabytes"), [(3, 200), (2, 300)])
def test_few_tasks_that_do_not_fit_together_run_one_after_the_other(tasks, megabytes, settings):
    said, kills = run(FEW.format(tasks=tasks, megabytes=megabytes, settings=settings))

    assert said == "True ('thread',)"
    assert kills == 0


@pytest.mark.slow
@pytest.mark.parametrize("held", [430, 460, 480])
def test_a_caller_that_holds_nearly_all_outlives_a_task_that_does_not_fit(held):
    said, _ = run(CROWDED.format(held=held))

    assert said == "20 ['PoisonTaskError']"
