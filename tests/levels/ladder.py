"""The levels that the contract suite runs over, with what each declares of itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from adaptive_exec import adaptive_executor
from adaptive_exec.levels.base import Traits
from adaptive_exec.levels.process import ProcessRunner
from adaptive_exec.levels.sequential import SequentialRunner
from adaptive_exec.levels.thread import ThreadRunner

TRAITS: Final[dict[str, Traits]] = {
    "process": ProcessRunner.traits,
    "thread": ThreadRunner.traits,
    "sequential": SequentialRunner.traits,
}
LEVELS: Final = tuple(TRAITS)
ISOLATED: Final = tuple(name for name in LEVELS if TRAITS[name].isolates_crashes)
SHARING: Final = tuple(name for name in LEVELS if TRAITS[name].shares_memory)


def executor_at(level, **settings):
    """Make an executor that may use one level only, with two workers unless told otherwise."""
    return adaptive_executor(levels=(level,), **{"max_workers": 2, **settings})


_shared = {}


@contextmanager
def shared_at(level) -> Iterator[object]:
    """Yield an executor with two workers that tests of one module share, so that they are quick."""
    yield share(level)


def share(level):
    """Return the shared executor of a level, with all that it will ever hold."""
    if level not in _shared:
        executor = _shared[level] = executor_at(level)
        list(executor.map(_nap, range(8), chunksize=1))
        executor.submit(_nap, 1).result(30)
    return _shared[level]


def close_shared() -> None:
    """Shut all shared executors down."""
    while _shared:
        _shared.popitem()[1].shutdown()


def _nap(_number):
    time.sleep(0.01)
