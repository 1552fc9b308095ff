"""An Optuna study whose trainer leaks: each trial leaves 24 MB, and some want far too much."""

import fcntl
import os
import time
from pathlib import Path

import optuna

from adaptive_exec import MemoryGuard
from adaptive_exec.clients.optuna import TrialGuard

MB = 10**6
STUDY = "sqlite:///study.db"
TRIALS = 16
LEAK_BYTES = 24 * MB
SPLITS = 8
WORST = 999.0
LEAKED: list[bytearray] = []
"""What earlier trials of this process have left."""


def grown(size: int) -> bytearray:
    """Return memory that was written to."""
    return bytearray(b"\1") * size


def train(trial: optuna.Trial, guard: MemoryGuard) -> float:
    """Train in eight splits, each of which keeps its part; the worst where memory runs out."""
    rate = trial.suggest_float("rate", 0.0, 1.0)
    layers = trial.suggest_int("layers", 1, 4)
    parts: list[bytearray] = []
    for split in range(1, SPLITS + 1):
        worst = TrialGuard(trial, guard, worst=WORST).check(f"split {split}/{SPLITS}")
        if isinstance(worst, float):
            return worst
        parts.append(grown((80 if trial.number % 8 == 5 else layers) * MB))
        trial.report((rate - 0.3) ** 2 + 1 / split, split)
        if split > SPLITS // 2 and trial.should_prune():
            raise optuna.TrialPruned
        time.sleep(0.02)
    LEAKED.append(grown(LEAK_BYTES))
    return (rate - 0.3) ** 2


def load() -> optuna.Study:
    """Open the study, or make it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with Path("study.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two that make its tables at once fail
        storage = optuna.storages.RDBStorage(STUDY, engine_kwargs={"connect_args": {"timeout": 60}})
        return optuna.create_study(storage=storage, study_name="trials", load_if_exists=True)


def run_trial(study: optuna.Study) -> None:
    """Run a trial; the marks are megabytes left where a training has gigabytes."""
    guard = MemoryGuard(warn="200MB", critical="140MB")
    study.optimize(lambda trial: train(trial, guard), n_trials=1)


def one_trial(_number: int) -> dict[str, object]:
    """Run one trial of the study; what the card's workers do."""
    run_trial(load())
    return {"worker": os.getpid(), "left": len(LEAKED)}


def main() -> None:
    """Run trials until the study has all; what each copy under `supervise` does."""
    study = load()
    while sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)) < TRIALS:
        run_trial(study)
        print(f"trial {study.trials[-1].number}, {len(LEAKED)} left in memory", flush=True)


if __name__ == "__main__":
    main()
