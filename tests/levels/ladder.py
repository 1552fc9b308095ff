"""The levels that the contract suite runs over, with what each declares of itself."""

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
