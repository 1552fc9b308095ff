"""Optuna trials that want too much memory are ended by the brake; the study goes on."""

import logging
import resource
from pathlib import Path

import optuna

from adaptive_exec import MemoryGuard
from adaptive_exec.clients.optuna import TrialGuard

MB = 10**6


def train(trial: optuna.Trial) -> float:
    layers = trial.suggest_categorical("layers", [1, 2, 50])
    parts: list[bytearray] = []
    for split in range(1, 6):
        TrialGuard(trial, guard).check(f"split {split}/5")
        parts.append(bytearray(layers * 4 * MB))  # each split keeps its part
    return layers


if __name__ == "__main__":
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 800 * MB,) * 2)  # a small host
    guard = MemoryGuard(warn="500MB", critical="300MB")
    logging.getLogger("adaptive_exec").addHandler(logging.NullHandler())
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.GridSampler({"layers": [1, 2, 50]}, seed=1))
    study.optimize(train, n_trials=3)
    for trial in sorted(study.trials, key=lambda trial: trial.params["layers"]):
        why = trial.user_attrs.get("kill_reason", "")[:31]
        print(f"{trial.params['layers']} layers: {trial.state.name} {why}")
