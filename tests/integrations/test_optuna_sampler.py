"""The controller as an Optuna sampler."""

import importlib
import random
import sys
import warnings

import pytest
from scipy.stats import binomtest

optuna = pytest.importorskip("optuna", reason="the sampler is for Optuna")

from autodropout.engine.reinforce_settings import ReinforceSettings  # noqa: E402
from autodropout.errors import MissingError, UsageError  # noqa: E402
from autodropout.integrations.optuna_sampler import ControllerSampler  # noqa: E402

SETTINGS = ReinforceSettings(batch=4, width=8)
LETTERS = "abcdef"


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def study(seed=0, direction="maximize", settings=SETTINGS, **changes):
    sampler = ControllerSampler(seed=seed, settings=settings)
    return optuna.create_study(sampler=sampler, direction=direction, **changes)


def conditional(trial):
    """Defined by running: what is asked for depends on what was drawn."""
    value = 0.0
    if trial.suggest_categorical("on", [False, True]):
        value += LETTERS.index(trial.suggest_categorical("letter", list(LETTERS)))
        if trial.suggest_categorical("deep", ["no", "yes"]) == "yes":
            value += trial.suggest_categorical("bonus", [0.0, 0.25, 0.5])
    return value


def planted(seed, places=10, values=4):
    hidden = [random.Random(f"{seed} {place}").randrange(values) for place in range(places)]

    def objective(trial):
        drawn = [trial.suggest_categorical(f"p{place}", list(range(values))) for place in range(places)]
        return sum(a == b for a, b in zip(drawn, hidden, strict=True)) / places

    return objective


def table(found):
    return [(t.number, t.params, t.value, t.state) for t in found.trials]


def test_it_comes_nearer_to_a_planted_optimum_than_random():
    """Ten parameters of four values, a million points, 128 trials."""
    better, seeds = 0, 5
    for seed in range(seeds):
        ours = optuna.create_study(sampler=ControllerSampler(trials=128, seed=seed), direction="maximize")
        random_search = optuna.create_study(
            sampler=optuna.samplers.RandomSampler(seed=seed), direction="maximize"
        )
        for found in (ours, random_search):
            found.optimize(planted(seed), n_trials=128)
        better += ours.best_value > random_search.best_value
    assert binomtest(better, seeds, alternative="greater").pvalue < 0.05


def test_it_minimises_too():
    found = study(direction="minimize", settings=None)
    found.optimize(lambda trial: -planted(3, places=4)(trial), n_trials=60)
    assert found.best_value == -1.0


def test_conditional_spaces():
    found = study()
    found.optimize(conditional, n_trials=60)
    assert {len(trial.params) for trial in found.trials} == {1, 3, 4}
    late = [trial.value for trial in found.trials[-20:]]
    assert sum(late) / 20 > sum(trial.value for trial in found.trials[:20]) / 20 + 1


def test_a_seed_repeats_a_study():
    first, again, other = study(1), study(1), study(2)
    for found in (first, again, other):
        found.optimize(conditional, n_trials=30)
    assert table(first) == table(again) != table(other)


def test_without_a_seed_studies_differ():
    first, again = (study(None) for _ in range(2))
    for found in (first, again):
        found.optimize(planted(0), n_trials=8)
    assert table(first) != table(again)


def test_a_study_that_is_loaded_again_goes_on_as_it_would_have():
    whole = study(1)
    whole.optimize(conditional, n_trials=24)
    storage = optuna.storages.InMemoryStorage()
    study(1, storage=storage, study_name="parts").optimize(conditional, n_trials=13)
    # What is drawn by itself begins anew; here all of it was drawn before.
    sampler = ControllerSampler(seed=1, settings=SETTINGS)
    parts = optuna.load_study(study_name="parts", storage=storage, sampler=sampler)
    parts.optimize(conditional, n_trials=11)
    assert table(parts) == table(whole)


def test_threads():
    found = study(settings=None)
    found.optimize(planted(1), n_trials=64, n_jobs=4)
    assert len(found.trials) == 64
    assert all(trial.state.is_finished() for trial in found.trials)
    late = sorted(found.trials, key=lambda trial: trial.datetime_complete)[-16:]
    assert sum(trial.value for trial in late) / 16 > 0.35


def test_failed_pruned_and_nan_trials_are_the_worst():
    def objective(trial):
        value = trial.suggest_categorical("x", [0, 1, 2, 3, 4])
        if value == 0:
            raise ValueError("no")
        if value == 1:
            raise optuna.TrialPruned
        return float("nan") if value == 2 else float(value)

    found = study(settings=None)
    found.optimize(objective, n_trials=80, catch=(ValueError,))
    assert sum(trial.params["x"] == 4 for trial in found.trials[-20:]) >= 12


def test_numbers_are_drawn_by_themselves():
    found = study()
    found.optimize(
        lambda trial: trial.suggest_float("x", 0.0, 1.0) + trial.suggest_categorical("y", [0, 1]), n_trials=20
    )
    assert len({trial.params["x"] for trial in found.trials}) == 20


def test_parameters_that_were_enqueued_are_learned_as_they_were():
    found = study()
    found.enqueue_trial({f"p{place}": 0 for place in range(10)})
    found.optimize(planted(0), n_trials=12)
    assert set(found.trials[0].params.values()) == {0}


def test_nothing_to_decide():
    found = study()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.optimize(lambda trial: 1.0, n_trials=10)
    assert found.best_value == 1.0


def test_several_objectives_are_refused():
    found = optuna.create_study(sampler=ControllerSampler(seed=0), directions=["maximize", "minimize"])
    with pytest.raises(UsageError, match="the study has 2 objectives; the controller maximises or"):
        found.optimize(lambda trial: (trial.suggest_categorical("x", [0, 1]), 0.0), n_trials=1)


def test_wrong_numbers_are_refused_at_once():
    with pytest.raises(UsageError, match="trials is 0; expected a whole number >= 1"):
        ControllerSampler(trials=0)
    with pytest.raises(UsageError, match="seed is 'one'; expected a whole number, or None"):
        ControllerSampler(seed="one")


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna.samplers", None)
    monkeypatch.delitem(sys.modules, "autodropout.integrations.optuna_sampler")
    text = "optuna_sampler needs Optuna, which is not installed; install it with: pip install optuna"
    with pytest.raises(MissingError, match=text):
        importlib.import_module("autodropout.integrations.optuna_sampler")
