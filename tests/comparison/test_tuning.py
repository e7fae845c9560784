import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodropout.comparison import compare
from autodropout.comparison.tuning import LEAST_TRIALS, Sweep
from autodropout.engine.trial_seeds import trial_seed
from autodropout.errors import StudyError, UsageError

GRID = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


@pytest.mark.parametrize(
    ("trials", "strengths", "seeds"),
    [
        (4, (0.02, 0.5), 2),
        (6, (0.02, 0.2, 0.5), 2),
        (8, (0.02, 0.1, 0.3, 0.5), 2),
        (15, (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5), 2),
        (16, GRID, 2),
        (23, GRID, 2),
        (24, GRID, 3),
    ],
)
def test_trials_are_spread_over_the_grid(trials, strengths, seeds):
    sweep = Sweep.spread("dropout", GRID, trials)
    assert (sweep.strengths, sweep.seeds) == (strengths, seeds)


@given(
    grid=st.lists(st.integers(1, 1000), min_size=2, max_size=30, unique=True).map(sorted),
    trials=st.integers(LEAST_TRIALS, 200),
)
def test_both_ends_are_tried_and_the_budget_is_kept(grid, trials):
    sweep = Sweep.spread("x", grid, trials)
    assert sweep.strengths[0] == grid[0]
    assert sweep.strengths[-1] == grid[-1]
    assert list(sweep.strengths) == sorted(set(sweep.strengths))
    assert set(sweep.strengths) <= set(grid)
    assert sweep.seeds >= 2
    spent = len(sweep.strengths) * sweep.seeds
    assert spent <= trials
    assert trials - spent < max(2, len(grid))


def test_too_few_trials():
    with pytest.raises(UsageError) as caught:
        Sweep.spread("dropout", GRID, 3)
    assert str(caught.value) == "tune_trials is 3; expected at least 4: two strengths on two seeds"


def found(out, sweep, train_at, **changes):
    settings = {"seeds": sweep.seeds, "figure": "reward", "executor": "inline", "out": out}
    return compare(lambda policy, seed: 0.0, sweep.arms(train_at), **settings | changes)


def test_the_best_mean_wins(tmp_path):
    sweep = Sweep.spread("dropout", GRID, 16)
    rewards = dict(zip(GRID, (1, 2, 3, 6, 5, 4, 3, 2), strict=True))
    tuned = sweep.read(found(tmp_path, sweep, lambda strength: lambda seed: rewards[strength]))
    assert (tuned.strength, tuned.reward, tuned.trials) == (0.15, 6.0, 16)
    assert tuned.rewards == tuple(map(float, rewards.values()))
    assert str(tuned) == (
        "dropout: strength 0.15, mean reward 6.0000 (tuned in 16 trials: 8 strengths on 2 seeds)"
    )


@pytest.mark.parametrize(
    ("sign", "words"), [(1, "0.5, the strongest tried"), (-1, "0.02, the weakest tried")]
)
def test_a_strength_at_the_edge_is_said(tmp_path, sign, words):
    sweep = Sweep.spread("dropout", GRID, 8)
    tuned = sweep.read(found(tmp_path, sweep, lambda strength: lambda seed: sign * strength))
    assert f"strength {words}, mean" in str(tuned)


def test_the_weakest_of_equals_and_no_strength_that_fails(tmp_path):
    def train_at(strength):
        return lambda seed: float("nan") if strength < 0.2 else 1.0

    sweep = Sweep.spread("dropout", GRID, 16)
    tuned = sweep.read(found(tmp_path, sweep, train_at))
    assert tuned.strength == 0.2
    assert tuned.rewards[:4] == (None,) * 4


def test_nothing_works(tmp_path):
    sweep = Sweep.spread("dropout", GRID, 4)
    with pytest.raises(StudyError) as caught:
        sweep.read(found(tmp_path, sweep, lambda strength: lambda seed: float("nan")))
    assert str(caught.value) == (
        "no trial of the baseline 'dropout' has a reward (diverged: its reward is nan)"
    )


def test_tuning_has_seeds_that_nothing_else_has(tmp_path):
    seen = []
    sweep = Sweep.spread("dropout", (0.1, 0.2), 2 * 200)
    found(tmp_path, sweep, lambda strength: lambda seed: seen.append(seed) or 0.5)
    assert len(set(seen)) == 200
    assert seen[::2] == seen[1::2]
    assert all(0 <= seed < 2**31 for seed in seen)
    others = {trial_seed(0, k, n) for k in ("search", "confirm", "compare") for n in range(5000)}
    assert not others & set(seen)
