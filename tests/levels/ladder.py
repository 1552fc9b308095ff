"""The rows of the contract suite: each level, the process level once for each way to start workers.

`process` starts them as this system does by itself, from a zygote; `loky` is the other way. Its
workers take a third of a second each, so its rows are marked slow.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from adaptive_exec import adaptive_executor
from adaptive_exec.specs import SPECS, LevelSpec
from tests.levels.leaks import eventually

_SPECS = {spec.name: spec for spec in SPECS}
TRAITS: Final[dict[str, LevelSpec]] = {
    "process": _SPECS["process"],
    "snapshot": _SPECS["process"],
    "loky": _SPECS["process"],
    "thread": _SPECS["thread"],
    "sequential": _SPECS["sequential"],
}
SETTINGS: Final = {
    "process": {"levels": ("process",), "start": "fresh"},
    "snapshot": {"levels": ("process",), "start": "snapshot"},
    "loky": {"levels": ("process",), "start": "loky"},
}
"""Settings of the rows that are not just a level's name."""


def rows_of(names):
    """Return rows for `parametrize`, with the marks that keep the quick ring quick."""
    return [pytest.param(name, marks=pytest.mark.slow if name == "loky" else ()) for name in names]


LEVELS: Final = rows_of(TRAITS)
ISOLATED: Final = rows_of(name for name in TRAITS if TRAITS[name].isolates)
SHARING: Final = rows_of(name for name in TRAITS if TRAITS[name].shares_memory)


def settings_at(row):
    """Return the settings that confine an executor to a row."""
    return SETTINGS.get(row, {"levels": (row,)})


def name_of(row):
    """Return the name that the executor itself gives to a row's level."""
    return settings_at(row)["levels"][0]


def executor_at(row, **settings):
    """Make an executor of one row, with two workers unless told otherwise."""
    return adaptive_executor(**settings_at(row), **{"max_workers": 2, **settings})


def start_what_is_kept(items):
    """Start the resource trackers that Python and loky keep as long as the program lives.

    Args:
        items: The tests of this session.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # workers are told of it where multiprocessing is used
    if any("loky" in item.nodeid.lower() for item in items):
        from loky.backend import resource_tracker as loky_tracker

        loky_tracker.ensure_running()


_shared = {}


@contextmanager
def shared_at(level) -> Iterator[object]:
    """Yield an executor with two workers that tests of one module share, so that they are quick."""
    yield share(level)


def share(level):
    """Return the shared executor of a level, with all that it will ever hold."""
    if level not in _shared:
        executor = _shared[level] = executor_at(level, share_host=False)
        list(executor.map(_nap, range(8), chunksize=1))
        executor.submit(_nap, 1).result(60)
    executor = _shared[level]
    if level == "loky":  # takes half a second to replace a worker that the last test has ended
        assert eventually(
            lambda: len(set(executor.map(_nap, range(4), chunksize=1))) == 2, seconds=60
        )
    return executor


def close_shared() -> None:
    """Shut all shared executors down."""
    while _shared:
        _shared.popitem()[1].shutdown()


def _nap(_number):
    time.sleep(0.01)
    return os.getpid()
