"""The brake for Optuna: a trial that meets a host without memory ends before the host does.

`TrialGuard` asks a `MemoryGuard` and writes what happened into the trial; when trial after trial is
ended in this way the study is stopped. Reads no memory itself and starts nothing.
"""

import contextlib
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import optuna
from optuna.trial import FrozenTrial

from adaptive_exec.errors import MemoryPressureError
from adaptive_exec.guard import MemoryGuard
from adaptive_exec.log import LOGGER

BRAKES_MAX: Final = 10
"""Trials in a row that the brake may end before a study is stopped. Source: the trials system."""

GB = 10**9
"""Bytes."""
KILLED_ATTR = "emergency_killed"

_GUARD = MemoryGuard()


class TrialGuard:
    """Watches memory for one trial.

    Args:
        trial: The trial of the objective.
        guard: The marks; None takes those of `MemoryGuard()`. Give all trials the same one, so
            that they share its log lines.
        worst: What `check` returns instead of pruning: the score that tells the sampler that the
            trial was bad, one value per direction. None prunes.
        brakes_max: Trials in a row that end in this way until the study is stopped, 1 or more.

    Raises:
        ValueError: `brakes_max` is below 1.

    >>> import optuna
    >>> def objective(trial):
    ...     guard = TrialGuard(trial, MemoryGuard(warn="2MiB", critical="1MiB"))
    ...     for split in range(3):
    ...         guard.check(f"split {split + 1}/3")
    ...     return trial.suggest_float("x", 0, 1)
    >>> optuna.logging.set_verbosity(optuna.logging.ERROR)
    >>> study = optuna.create_study()
    >>> study.optimize(objective, n_trials=2)
    >>> [trial.state.name for trial in study.trials]
    ['COMPLETE', 'COMPLETE']
    """

    def __init__(
        self,
        trial: optuna.trial.BaseTrial,
        guard: MemoryGuard | None = None,
        *,
        worst: float | Sequence[float] | None = None,
        brakes_max: int = BRAKES_MAX,
    ) -> None:
        if brakes_max < 1:
            message = (
                f"brakes_max must be 1 or more, got {brakes_max}; leave it out for {BRAKES_MAX}"
            )
            raise ValueError(message)
        self._trial = trial
        self._guard = guard or _GUARD
        self._worst = worst
        self._brakes_max = brakes_max

    def check(self, where: str = "") -> float | Sequence[float] | None:
        """Look at memory, and end the trial if it is running out.

        Args:
            where: What the trial is doing, e.g. `"split 3/5"`.

        Returns:
            None while there is memory. Else `worst`, to be returned by the objective, if one was
            given.

        Raises:
            optuna.TrialPruned: Memory is running out and no `worst` was given.
        """
        try:
            self._guard.check(where)
        except MemoryPressureError as error:
            return self._brake(error)
        return None

    def _brake(self, error: MemoryPressureError) -> float | Sequence[float]:
        self._trial.set_user_attr(KILLED_ATTR, value=True)
        self._trial.set_user_attr("kill_reason", _kill_reason(error))
        self._trial.set_user_attr("available_gb_at_kill", round(error.available_bytes / GB, 3))
        said = self._stop_if_hopeless()
        if self._worst is not None:
            return self._worst
        message = f"{error}{said}"
        raise optuna.TrialPruned(message) from error

    def _stop_if_hopeless(self) -> str:
        study = getattr(self._trial, "study", None)  # a FixedTrial has none
        if study is None:
            return ""
        brakes = brakes_in_a_row(study.get_trials(deepcopy=False), self._trial.number)
        if brakes < self._brakes_max:
            return ""
        line = (
            f"study stopped: {study.study_name} reason=brakes_in_a_row brakes={brakes}; "
            f"memory does not come back between trials: start this process afresh, run fewer "
            f"at once, or make the model smaller"
        )
        LOGGER.log(logging.ERROR, "%s", line)
        with contextlib.suppress(
            RuntimeError
        ):  # ask-and-tell: it is the caller's loop that goes on
            study.stop()
        return f"; {line}"


def brakes_in_a_row(trials: Sequence[FrozenTrial], number: int) -> int:
    """Count the latest trials that the brake ended, one after the other.

    Args:
        trials: All trials of the study.
        number: The trial that is being ended; it counts, wherever it stands.

    Returns:
        How many, over all processes that share the study's storage; 1 or more.
    """
    ended = [trial for trial in trials if trial.number != number and _counts(trial)]
    ended.sort(key=_ended_at, reverse=True)
    count = 1
    for trial in ended:
        if not trial.user_attrs.get(KILLED_ATTR):
            break
        count += 1
    return count


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial has ended, or is about to by the brake in another thread or process."""
    is_known = trial.state.is_finished() or bool(trial.user_attrs.get(KILLED_ATTR))
    return is_known and trial.datetime_start is not None


def _ended_at(trial: FrozenTrial) -> datetime:
    ended = trial.datetime_complete or trial.datetime_start
    assert ended is not None, "only a trial that waits has neither"
    return ended


def _kill_reason(error: MemoryPressureError) -> str:
    return f"memory_critical at {error.where or 'check'}: {error}"
