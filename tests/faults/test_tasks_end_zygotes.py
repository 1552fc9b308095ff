"""A task that ends its worker's starter each time is a suspect like any other, and ends as one."""

import os
import signal
import time

import pytest

from adaptive_exec import PoisonTaskError
from tests.levels import work
from tests.levels.ladder import executor_at


def end_the_zygote(log, item):
    work.note(log, item)
    if item == 3:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return item


@pytest.mark.parametrize("settings", [{}, {"task_timeout": 30}, {"retries": 1}])
def test_a_task_that_ends_its_zygote_each_time_is_poison(settings, tmp_path):
    log = tmp_path / "log"
    with executor_at("process", max_workers=2, **settings) as executor:
        outcomes = list(executor.outcomes(end_the_zygote, [log] * 8, range(8)))
    errors = {one.index: one.error for one in outcomes if one.error is not None}
    assert list(errors) == [3]
    assert isinstance(errors[3], PoisonTaskError)
    assert work.executions(log, 3) <= settings.get("retries", 2) + 2, "excused once"
