import random
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from autodropout.benchmark import regressors
from autodropout.benchmark.canonical import Canonical
from autodropout.benchmark.features import Features, drop_rate
from autodropout.benchmark.held_out import by_source, ceiling, compare_regressors, correlation
from autodropout.benchmark.landscapes import Benchmark
from autodropout.benchmark.surrogate import Surrogate
from autodropout.conv_space import ConvSpace
from autodropout.errors import DataError, SpaceError, UsageError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.token_space import TokenSpace
from toy_landscape import MAPS, SPACE, true_reward

CONV = ConvSpace(sites={"a": (8, 8), "b": (16, 16)}, schedule=True)


def drawn(space, n):
    return [space.sample(random.Random(seed)) for seed in range(n)]


@pytest.mark.parametrize("space", [SPACE, CONV], ids=["token", "conv"])
def test_features_tell_policies_apart(space):
    tokens = drawn(space, 200)
    rows = Features([space]).of(space, tokens)
    assert rows.shape == (200, Features([space]).number)
    assert np.isfinite(rows).all()
    assert len(np.unique(rows, axis=0)) == len({space.decode(t) for t in tokens})


def test_features_of_no_dropout_are_zeros():
    assert not Features([SPACE]).of(SPACE, [(0,) * len(SPACE)]).any()


def test_features_hold_the_exact_drop_rate():
    space = TokenSpace.wide(("ffn",))
    tokens = (2, 1, 0, 1, 3)
    row = Features([space]).of(space, [tokens])[0]
    rate = space.decode(tokens).sites["role:ffn"].drop_rate()
    assert row[:5] == pytest.approx([1.0, rate, np.log(rate), rate, 0.0])
    assert drop_rate(CONV, "b", (1, 0, 0, 0, 0, 0, 0, 0)) == CONV.decode(
        (0,) * 8 + (1, 0, 0, 0, 0, 0, 0, 0, 0)
    ).sites["b"].drop_rate(16, 16)


def test_a_smaller_space_has_the_features_of_the_larger(benchmark):
    small = TokenSpace.wide(("residual", "ffn"), sizes=(4, "whole"), rates=(0.3,))
    policy = small.decode((2, 1, 1, 0, 2, 1, 0, 0, 1, 0))
    features = Features([SPACE])
    mine, theirs = features.of(small, [small.encode(policy)]), features.of(SPACE, [SPACE.encode(policy)])
    assert np.array_equal(mine, theirs)
    assert benchmark.surrogate.predict([small.encode(policy)], small)[0] == benchmark.surrogate.value(policy)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (TokenSpace(sites=("ffn", "other")), r"the landscape has no site 'other'; it has \['role:query'"),
        (
            TokenSpace(sites=("ffn",), rates=(0.7,)),
            r"the landscape has no rate 0.7 at 'role:ffn'; it has \[0.05",
        ),
    ],
)
def test_a_space_beyond_the_landscape_is_refused(benchmark, space, message):
    with pytest.raises(SpaceError, match=message):
        benchmark.surrogate.predict([(0,) * len(space)], space)
    with pytest.raises(SpaceError, match=message):
        benchmark.surrogate.check(space)


def test_features_see_the_shortcut_and_shared_channels_of_a_feature_map():
    features = Features([MAPS])

    def row(**fields):
        pattern = ConvPattern(**{"height": 2, "width": 2, "stride": 2, "share_c": False} | fields)
        return features.of(MAPS, [MAPS.encode(Policy({"group1.0.bn2": pattern}))])[0]

    rate = ConvPattern(height=2, width=2, stride=2).drop_rate(8, 8)
    plain, shared, both = row(), row(share_c=True), row(residual=True)
    assert plain[:5] == pytest.approx([1.0, rate, np.log(rate), 0.0, 0.0])
    assert shared[:5] == pytest.approx([1.0, rate, np.log(rate), rate, 0.0])
    assert (plain != shared).sum() == 2  # the rate of what is shared, and the flag
    assert (plain != both).sum() == 1
    assert features.of(MAPS, [MAPS.encode(Policy({"bn": ConvPattern(height=1, width=1, stride=1)}))]).any()


def test_equal_policies_have_equal_features_whatever_tokens_or_space_describe_them():
    """At a tile of one pixel a stride of half a side and one of a side are both one pixel."""
    half, one = ((1, stride, 4, 0, 2, 2, 0, 0) + (0,) * 8 for stride in (0, 1))
    assert MAPS.decode(half) == MAPS.decode(one)
    features = Features([MAPS])
    first, second = features.of(MAPS, [half, one])
    assert np.array_equal(first, second)
    fewer = replace(MAPS, strides=(1.0, 2.0))
    policy = fewer.decode((1, 0, 4, 0, 2, 2, 0, 0) + (0,) * 8)
    assert policy == MAPS.decode(half)
    assert np.array_equal(features.of(fewer, [fewer.encode(policy)])[0], first)


@pytest.mark.parametrize("space", [SPACE, CONV], ids=["token", "conv"])
def test_canonical_tokens_are_the_lowest_of_the_same_policy(space):
    canonical = Canonical(space)
    for tokens in drawn(space, 200):
        assert canonical(tokens) == space.encode(space.decode(tokens))


def test_features_need_a_space():
    with pytest.raises(SpaceError, match="at least one space"):
        Features([])


@pytest.mark.parametrize("name", regressors.REGRESSORS)
def test_every_regressor_learns_and_repeats_itself(release, name):
    fitted, again = (Surrogate(release.trials, release.spaces, regressor=name, seed=3) for _ in range(2))
    tokens = drawn(SPACE, 150)
    predicted = fitted.predict(tokens)
    assert np.array_equal(predicted, again.predict(tokens))
    assert spearmanr(predicted, [true_reward(SPACE.decode(t)) for t in tokens])[0] > 0.75


def test_values_and_batches_agree(benchmark):
    tokens = drawn(SPACE, 20)
    one_by_one = [benchmark.surrogate.value(SPACE.decode(t)) for t in tokens]
    assert benchmark.surrogate.predict(tokens) == pytest.approx(one_by_one)
    assert benchmark.surrogate.predict([]).shape == (0,)
    assert benchmark.surrogate.predict_trials(benchmark.trials).shape == (len(benchmark.trials),)


def test_a_policy_costs_little_in_a_batch(benchmark):
    tokens = drawn(SPACE, 2000)
    benchmark.surrogate.predict(tokens)  # the rows of its patterns are kept from now on
    began = time.process_time()
    benchmark.surrogate.predict(tokens)
    assert (time.process_time() - began) / len(tokens) < 200e-6  # 50 on an idle machine


def test_errors(release, monkeypatch):
    with pytest.raises(
        UsageError,
        match="there is no regressor 'forrest'; did you mean 'forest'\\? Choose one of ridge, pairs",
    ):
        Surrogate(release.trials, release.spaces, regressor="forrest")
    with pytest.raises(DataError, match="has 5 finite rewards; a surrogate needs 20"):
        Surrogate([t for t in release.trials if not t.diverged][:5], release.spaces, regressor="ridge")
    monkeypatch.setattr(regressors, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'autodropout\[benchmark\]'"):
        Surrogate(release.trials, release.spaces, regressor="ridge")


def test_held_out_policies_are_ranked_and_the_best_regressor_comes_first(release):
    found = compare_regressors(release, names=("forest", "ridge"), folds=4)
    assert {held.regressor for held in found} == {"ridge", "forest"}
    assert found[0].overall.rho >= found[1].overall.rho > 0.5
    policies = {t.policy.key for t in release.trials if not t.diverged}
    for held in found:
        assert held.overall.n == len(policies)
        assert held.best_third.n == pytest.approx(len(policies) / 3, abs=1)
        assert held.overall.low < held.overall.rho < held.overall.high
        assert held.best_third.low < held.best_third.rho < held.best_third.high
    assert compare_regressors(release, names=("ridge",), folds=4)[0] in found  # the same folds every time


def test_repeats_of_a_held_out_policy_are_held_out(release):
    """Rewards by chance, the same for all repeats of a policy: only a leak could predict them."""
    rng = random.Random(0)
    by_policy = {t.policy.key: rng.random() for t in release.trials}
    trials = tuple(
        replace(t, result=replace(t.result, reward=by_policy[t.policy.key]), repeat=r, seed=t.seed + r)
        for t in release.trials
        for r in range(4)
    )
    (held,) = compare_regressors(replace(release, trials=trials), names=("forest",), folds=2)
    assert abs(held.overall.rho) < 0.3


def test_sources_are_predicted_from_the_others(release):
    found = by_source(release)
    assert set(found) == {"random", "random-biased", "evolution"}
    assert all(result.rho > 0.4 for result in found.values())
    assert found["evolution"].n == len(
        {t.policy.key for t in release.trials if t.source == "evolution" and not t.diverged}
    )


def test_the_ceiling_is_what_two_seeds_agree_on(release):
    assert ceiling(release).n == 12
    assert ceiling(release).rho > 0.9
    assert ceiling(replace(release, trials=release.trials[:9])) is None


def test_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    a = rng.integers(5, size=40).astype(float)
    b = a + rng.normal(size=40)
    found = correlation(a, b, seed=1)
    assert found.rho == pytest.approx(spearmanr(a, b)[0])
    assert found == correlation(a, b, seed=1)
    assert found.low < found.rho < found.high
    assert correlation(a, np.zeros(40), seed=0).rho == 0.0


def test_too_few_policies_are_said(release):
    kept = replace(release, trials=tuple(t for t in release.trials if not t.diverged)[:6])
    with pytest.raises(DataError, match="has 6 policies; to hold some out takes 10 or more"):
        compare_regressors(kept, names=("ridge",))


def test_loading_needs_neither_scikit_learn_nor_torch(release, tmp_path):
    release.save(tmp_path / "toy.jsonl")
    code = (
        "import sys\n"
        "import autodropout as ad\n"
        f"b = ad.benchmark.load({str(tmp_path / 'toy.jsonl')!r})\n"
        "b.space, b.noise, b.trials[0].policy\n"
        "print(len(b.trials), sorted({'torch', 'sklearn', 'pandas', 'pyarrow'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(release.trials)), "[]"]


def test_no_dropout_has_the_mean_of_its_trials_or_the_surrogates_word(benchmark, release):
    bare = Policy({})
    tried = replace(
        release.trials[0], policy=bare, tokens=(0,) * len(SPACE), result=Result(reward=0.9), kind="confirm"
    )
    other = replace(tried, seed=tried.seed + 1, result=Result(reward=0.7))
    others = tuple(t for t in release.trials if t.policy != bare)
    assert Benchmark(replace(release, trials=(*others, tried, other)), "x").none == pytest.approx(0.8)
    untried = Benchmark(replace(release, trials=others), "x")
    assert untried.none == untried.surrogate.value(bare)


@pytest.mark.parametrize(
    ("tokens", "space", "message"),
    [
        ([(0,) * 10], None, r"given as 10 tokens; expected 35, one per decision .*: name the space"),
        ((0,) * 35, None, r"given as 0; expected 35"),
        ([(0,) * 10], TokenSpace(sites=("ffn",)), "given as 10 tokens; expected 5"),
        ([(0,) * 6], TokenSpace(sites=("ffn",), schedule=True), "the landscape has no schedules"),
    ],
)
def test_tokens_that_are_not_the_spaces_are_refused(benchmark, tokens, space, message):
    with pytest.raises(SpaceError, match=message):
        benchmark.surrogate.predict(tokens, space)
