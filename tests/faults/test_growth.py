"""What maps and calls leave behind: nothing, be they many or large, also in a small container.

Memory is each process's own and shared; it is read when all rests, after a quarter and at the end.
"""

import os
import threading
import time
from pathlib import Path
from typing import Final

import numpy as np
import psutil
import pytest

from adaptive_exec import adaptive_executor
from tests.cgroups import memory_group
from tests.levels import work
from tests.levels.leaks import descendants, eventually

MIB: Final = 1024 * 1024
SCRIPT: Final = Path(__file__).with_name("scripts") / "large_global.py"
REST_SECONDS: Final = 1.5
"""Seconds after which what nobody uses is given back, on an idle host."""
NOISE_DESCRIPTORS: Final = 3
"""What the library's own threads may have open for a moment."""
NOISE_BYTES: Final = 4 * MIB
"""By how much all processes together may grow by chance, in hundreds of maps."""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["map", "submit"])
@pytest.mark.parametrize("kind", ["array", "bytes", "list"])
def test_ten_maps_over_a_large_global_fit_into_a_small_container(kind, way):
    with memory_group(512 * MIB) as group:
        ran = group.run_python(
            f"import runpy, sys; sys.argv = ['large_global.py', '{kind}', '10', '{way}'];"
            f"runpy.run_path('{SCRIPT}', run_name='__main__')"
        )
        kills = group.kernel_kills()
    assert ran.returncode == 0, ran.stderr
    assert kills == 0
    assert int(ran.stdout) < 30 * MIB


def closures(size):
    def run(executor, number):
        held = np.full(size, number % 200, np.uint8)
        text = [str(number)] * (size // 16)
        found = executor.map(lambda _: int(held[-1]) + len(text), range(8))
        assert list(found) == [number % 200 + len(text)] * 8

    return run


def lambdas(executor, number):
    assert list(executor.map(lambda one: one + number, range(8))) == list(range(number, number + 8))


def arguments(executor, number):
    items = [np.full(MIB, number % 200 + one, np.uint8) for one in range(8)]
    for one, result in enumerate(executor.map(work.same, items)):
        assert result[-1] == number % 200 + one


def large_calls(executor, number):
    held = np.full(2 * MIB, number % 200, np.uint8)
    futures = [executor.submit(lambda: int(held[-1])) for _ in range(3)]
    assert {one.result(60) for one in futures} == {number % 200}


def failures(executor, number):
    held = np.full(2 * MIB, number % 200, np.uint8)
    found = list(executor.outcomes(lambda one: one // (len(held) - 2 * MIB), range(4)))
    assert {type(one.error) for one in found} == {ZeroDivisionError}


def dropped(executor, number):
    held = np.full(2 * MIB, number % 200, np.uint8)
    results = executor.map(lambda _: int(held[-1]), range(1000))
    assert next(results) == number % 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "times"),
    [
        (closures(5 * MIB), 200),
        (lambdas, 1000),
        (arguments, 200),
        (large_calls, 200),
        (failures, 200),
        (dropped, 200),
    ],
    ids=["large closures", "lambdas", "large arguments", "large calls", "failures", "dropped"],
)
def test_hundreds_of_maps_leave_what_fifty_left(run, times):
    with adaptive_executor(levels="process", max_workers=2, share_host=False) as executor:
        for number in range(times // 4):
            run(executor, number)
        early = readings()
        for number in range(times // 4, times):
            run(executor, number)
        assert eventually(lambda: stays_within(early, readings())), (early, readings())


def stays_within(early, late):
    noise = {
        "bytes": NOISE_BYTES, "descriptors": NOISE_DESCRIPTORS, "threads": 0, "processes": 0,
    }  # fmt: skip
    return all(late[name] <= early[name] + noise[name] for name in noise)


def readings():
    time.sleep(REST_SECONDS)
    processes = [psutil.Process(), *descendants()]
    return {
        "bytes": sum(map(own_bytes, processes)),
        "each": [own_bytes(one) >> 10 for one in processes],
        "descriptors": sum(map(descriptors_of, processes)),
        "threads": threading.active_count(),
        "processes": len(processes),
        "pieces": Path(f"/proc/{os.getpid()}/maps").read_text().count("adaptive-exec-piece"),
    }


def descriptors_of(process):
    try:
        return process.num_fds()
    except psutil.NoSuchProcess:  # it has ended since it was found
        return 0


def own_bytes(process):
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:  # it has ended since it was found
        return 0
    return sum(
        int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssShmem"))
    )
