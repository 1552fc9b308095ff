"""The brake in real Optuna studies: attributes, pruning or a worst score, the end after ten."""

import logging
import threading

import pytest

from adaptive_exec import MemoryGuard
from adaptive_exec.clients.optuna import BRAKES_MAX
from adaptive_exec.config import GIB, MIB
from tests.cgroups import memory_group
from tests.core.world import make_host

optuna = pytest.importorskip("optuna", reason="needs optuna: pip install 'adaptive-exec[optuna]'")

from adaptive_exec.clients.optuna import TrialGuard, brakes_in_a_row  # noqa: E402  # it needs optuna

PRUNED, COMPLETE = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.COMPLETE

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.disable_default_handler()


def memory(available):
    """A guard over a host with so much left; a function is asked at each look."""
    look = available if callable(available) else lambda: available
    return MemoryGuard("4GiB", "2GiB", look=lambda: make_host(available=look()))


def make_objective(guard, **settings):
    def objective(trial):
        score = trial.suggest_float("x", 0, 1)
        worst = TrialGuard(trial, guard, **settings).check("split 3/5")
        return score if worst is None else worst

    return objective


def run_study(objective, trials, *, jobs=1, **settings):
    study = optuna.create_study(**settings)
    study.optimize(objective, n_trials=trials, n_jobs=jobs)
    return study


def errors(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "adaptive_exec" and record.levelno == logging.ERROR
    ]


def test_with_memory_a_trial_goes_its_way():
    study = run_study(make_objective(memory(20 * GIB)), 3)

    assert [trial.state for trial in study.trials] == [COMPLETE] * 3
    assert not any("emergency_killed" in trial.user_attrs for trial in study.trials)


def test_without_memory_a_trial_is_pruned_and_says_why(caplog):
    study = run_study(make_objective(memory(1_500_000_000)), 1)

    (trial,) = study.trials
    assert trial.state == PRUNED
    assert trial.user_attrs["emergency_killed"] is True
    assert trial.user_attrs["available_gb_at_kill"] == 1.5
    assert trial.user_attrs["kill_reason"].startswith("memory_critical at split 3/5: ")
    assert errors(caplog)[0].startswith("EMERGENCY BRAKE ACTIVATED [split 3/5] ")


@pytest.mark.parametrize(
    ("worst", "settings"),
    [
        pytest.param(-1.0, {"direction": "maximize"}, id="one score"),
        pytest.param((9.0, -9.0), {"directions": ["minimize", "maximize"]}, id="one per direction"),
    ],
)
def test_a_chosen_worst_score_takes_the_place_of_pruning(worst, settings):
    study = run_study(make_objective(memory(GIB), worst=worst), 2, **settings)

    assert [trial.state for trial in study.trials] == [COMPLETE] * 2
    scores = worst if isinstance(worst, tuple) else (worst,)
    assert all(tuple(trial.values) == scores for trial in study.trials)
    assert all(trial.user_attrs["emergency_killed"] for trial in study.trials)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_after_ten_brakes_in_a_row_the_study_is_stopped_with_a_message(jobs, caplog):
    study = run_study(make_objective(memory(GIB)), 60, jobs=jobs)

    assert BRAKES_MAX <= len(study.trials) <= BRAKES_MAX + 2 * (jobs - 1)
    assert {trial.state for trial in study.trials} == {PRUNED}
    stopped = [line for line in errors(caplog) if line.startswith("study stopped: ")]
    assert 1 <= len(stopped) <= jobs + 1
    assert "reason=brakes_in_a_row brakes=10;" in stopped[0]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_trial_that_ends_well_starts_the_count_afresh(jobs):
    turn, looks = threading.Lock(), []

    def available():
        with turn:
            looks.append(None)
            return 20 * GIB if len(looks) % 9 < 2 else GIB  # a brake takes two looks

    study = run_study(make_objective(memory(available)), 24, jobs=jobs)

    states = [trial.state for trial in study.trials]
    assert len(states) == 24
    assert states.count(COMPLETE) >= 2
    assert states.count(PRUNED) >= 12


@pytest.mark.slow
def test_the_count_goes_over_all_processes_of_a_storage(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    settings = {"storage": storage, "study_name": "shared", "load_if_exists": True}
    run_study(make_objective(memory(GIB)), BRAKES_MAX - 1, **settings)

    study = run_study(make_objective(memory(GIB)), 20, **settings)

    assert len(study.trials) == BRAKES_MAX


@pytest.mark.slow
def test_in_a_loop_of_ones_own_the_message_comes_with_the_pruning(caplog):
    study = optuna.create_study()
    messages = []
    for _ in range(BRAKES_MAX):
        trial = study.ask()
        with pytest.raises(optuna.TrialPruned) as caught:
            TrialGuard(trial, memory(GIB)).check()
        study.tell(trial, state=PRUNED)
        messages.append(str(caught.value))

    assert ["study stopped" in message for message in messages] == [False] * 9 + [True]


def test_a_fixed_trial_has_no_study_to_stop():
    trial = optuna.trial.FixedTrial({"x": 0.5})

    with pytest.raises(optuna.TrialPruned):
        TrialGuard(trial, memory(GIB), brakes_max=1).check("split 1/5")

    assert trial.user_attrs["emergency_killed"] is True


def test_a_limit_of_no_brakes_is_refused():
    with pytest.raises(ValueError, match="brakes_max"):
        TrialGuard(optuna.trial.FixedTrial({}), brakes_max=0)


def test_a_running_trial_that_is_being_ended_counts():
    study = optuna.create_study()
    first, second, third = (study.ask() for _ in range(3))
    first.set_user_attr("emergency_killed", value=True)

    assert brakes_in_a_row(study.get_trials(), third.number) == 2
    assert second.number == 1


STUDY = """
import time
import optuna
from adaptive_exec import MemoryGuard
from adaptive_exec.clients.optuna import TrialGuard
optuna.logging.disable_default_handler()
guard = MemoryGuard(warn="30%", critical="20%")
def objective(trial):
    held, heavy = [], trial.number % 2
    for split in range(5):
        TrialGuard(trial, guard).check(f"split {split + 1}/5")
        held.append(bytearray(b"1") * (60 * 2**20 if heavy else 2**20))
        time.sleep(0.02)
    return 1.0
study = optuna.create_study()
study.optimize(objective, n_trials=6, n_jobs=1)
for trial in study.trials:
    print(trial.state.name, trial.user_attrs.get("available_gb_at_kill", "-"))
"""


@pytest.mark.slow
def test_in_a_real_group_the_large_trials_are_pruned_and_the_study_goes_on():
    with memory_group(300 * MIB) as group:
        done = group.run_python(STUDY)

    assert done.returncode == 0, done.stderr
    states = [line.split()[0] for line in done.stdout.splitlines()]
    assert states == ["COMPLETE", "PRUNED"] * 3
    assert done.stderr.count("EMERGENCY BRAKE ACTIVATED [split ") == 3
