"""How well a surrogate ranks policies that it has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from autodropout.benchmark.deviation import measured, repeatability
from autodropout.benchmark.gathering import REPEATS
from autodropout.benchmark.regressors import REGRESSORS
from autodropout.benchmark.released import Release, Released
from autodropout.benchmark.surrogate import Surrogate
from autodropout.errors import DataError

Floats = NDArray[np.float64]

_DRAWS = 1_000
_LEAST = 10
"""Policies below which a correlation is not worth saying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation.

    Attributes:
        n: Policies.
        rho: The correlation.
        low: 2.5% quantile over policies drawn with replacement.
        high: 97.5% quantile.
    """

    n: int
    rho: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """How a regressor did on policies that were held out, with all their repeats.

    Attributes:
        regressor: Which one.
        folds: Parts that the policies were cut into; each was predicted from the others.
        overall: Over all policies.
        best_third: Over the third of them with the highest rewards.
        error: Root of the mean squared error of the reward.
    """

    regressor: str
    folds: int
    overall: Correlation
    best_third: Correlation
    error: float


def compare_regressors(
    release: Release, *, names: Sequence[str] = REGRESSORS, folds: int = 5, seed: int = 0
) -> tuple[HeldOut, ...]:
    """Return how regressors do on the same folds, the highest correlation over all policies first.

    Args:
        release: The landscape; which regressor it names does not matter.
        names: Regressors to compare.
        folds: Parts, at least 2. The repeats of a policy are in its part.
        seed: Seed of the parts, of regressors that draw, and of the intervals.

    Raises:
        DataError: There are too few policies.
    """
    groups = list(measured(release.trials).values())
    if len(groups) < max(folds, _LEAST):
        raise DataError(
            f"the landscape has {len(groups)} policies; to hold some out takes {max(folds, _LEAST)} or more"
        )
    rng = np.random.default_rng(seed)
    parts = rng.permutation(len(groups)) % folds
    rewards = _means(groups)
    found = [_held_out(name, release, groups, rewards, parts, seed) for name in names]
    return tuple(sorted(found, key=lambda result: -result.overall.rho))


def by_source(release: Release, *, seed: int = 0) -> Mapping[str, Correlation]:
    """Return how the release's regressor ranks a searcher's policies when it saw none of that searcher's.

    This is nearer to its use than parts at random: a search that learns proposes relatives of its own
    policies, and a relative in the training set makes a policy easy.
    """
    groups = list(measured(release.trials).values())
    sources = {trial.source for group in groups for trial in group} - {REPEATS}
    found = {}
    for source in sorted(sources):
        theirs = np.array([any(trial.source == source for trial in group) for group in groups])
        if theirs.sum() >= _LEAST and (~theirs).sum() >= 2 * _LEAST:
            mine = [group for group, out in zip(groups, theirs, strict=True) if out]
            rest = [group for group, out in zip(groups, theirs, strict=True) if not out]
            predicted = _predicted(release.regressor, release, rest, mine, seed)
            found[source] = correlation(predicted, _means(mine), seed)
    return found


def ceiling(release: Release, *, seed: int = 0) -> Correlation | None:
    """Return how well one seed's reward ranks policies by another seed's; None with too few repeats."""
    first, second = repeatability(release.trials)
    return correlation(first, second, seed) if len(first) >= _LEAST else None


def correlation(first: Floats, second: Floats, seed: int) -> Correlation:
    """Return Spearman's correlation with a bootstrap interval over pairs.

    Args:
        first: One number per policy.
        second: Another, in the same order.
        seed: Seed of the bootstrap.
    """
    n = len(first)
    drawn = np.random.default_rng(seed).integers(n, size=(_DRAWS, n))
    low, high = np.quantile(_spearman(first[drawn], second[drawn]), [0.025, 0.975])
    rho = float(_spearman(first[None], second[None])[0])
    return Correlation(n=n, rho=rho, low=float(low), high=float(high))


def _held_out(
    name: str,
    release: Release,
    groups: Sequence[Sequence[Released]],
    rewards: Floats,
    parts: NDArray[np.int64],
    seed: int,
) -> HeldOut:
    predicted = np.zeros(len(groups))
    for part in np.unique(parts):
        rest = [group for group, mine in zip(groups, parts == part, strict=True) if not mine]
        out = [group for group, mine in zip(groups, parts == part, strict=True) if mine]
        predicted[parts == part] = _predicted(name, release, rest, out, seed)
    best = rewards >= np.quantile(rewards, 2 / 3)
    return HeldOut(
        regressor=name,
        folds=len(np.unique(parts)),
        overall=correlation(predicted, rewards, seed),
        best_third=correlation(predicted[best], rewards[best], seed),
        error=float(np.sqrt(((predicted - rewards) ** 2).mean())),
    )


def _predicted(
    name: str,
    release: Release,
    rest: Sequence[Sequence[Released]],
    out: Sequence[Sequence[Released]],
    seed: int,
) -> Floats:
    fitted = Surrogate([t for group in rest for t in group], release.spaces, regressor=name, seed=seed)
    return fitted.predict_trials([group[0] for group in out])


def _means(groups: Sequence[Sequence[Released]]) -> Floats:
    return np.array([np.mean([trial.result.reward for trial in group]) for group in groups])


def _spearman(first: Floats, second: Floats) -> Floats:
    """Return one correlation per row; 0 where a row does not vary."""
    a, b = (rankdata(rows, axis=1) - (rows.shape[1] + 1) / 2 for rows in (first, second))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.where(scale > 0, scale, 1.0))
