"""What lies ready for callers' own threads, at the level that runs inline. Decides nothing."""

from collections.abc import Mapping

from adaptive_exec.levels.base import Runner
from adaptive_exec.levels.sequential import SequentialRunner
from adaptive_exec.specs import INLINE


class Inline:
    """The callers' side of the inline level.

    Args:
        runners: Those of the levels that were opened, by level.
    """

    def __init__(self, runners: Mapping[str, Runner]) -> None:
        self._runners = runners

    def has_work(self, batch: int) -> bool:
        """Say whether a chunk of a batch lies ready for the thread that takes its results."""
        runner = self._runners.get(INLINE)
        return isinstance(runner, SequentialRunner) and runner.has_work(batch)

    def lacks_hands(self, batch: int) -> bool:
        """Say whether no thread could be started to run a batch's submitted calls."""
        runner = self._runners.get(INLINE)
        return isinstance(runner, SequentialRunner) and runner.unhelped == batch

    def work(self, batch: int) -> bool:
        """Run one chunk of a batch in the calling thread; return False when none lay ready."""
        runner = self._runners.get(INLINE)
        return isinstance(runner, SequentialRunner) and runner.work(batch)

    def hand_back(self, batch: int) -> None:
        """Take back what lies ready for a thread that will not come for it; from any thread."""
        runner = self._runners.get(INLINE)
        if isinstance(runner, SequentialRunner):
            runner.hand_back(batch)

    def has_unhelped(self) -> bool:
        """Say whether calls lie ready for which no thread could be started."""
        sequential = self._runners.get(INLINE)
        return isinstance(sequential, SequentialRunner) and sequential.unhelped is not None
