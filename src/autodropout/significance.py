"""What repeated runs say: means with intervals, paired tests, and how many seeds it would take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtr, ndtri, stdtr, stdtrit

from autodropout.errors import UsageError

_ROUNDING = 1e-6  # a spread below this share of the values is what float32 leaves of equal differences
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(128)  # on (-1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of one arm.

    Attributes:
        n: Number of runs.
        mean: Their mean.
        spread: Their standard deviation (n - 1); None with one run.
        low: Lower end of the t-interval of the mean; None with one run.
        high: Upper end, likewise.
        confidence: Coverage of the interval.
    """

    n: int
    mean: float
    spread: float | None
    low: float | None
    high: float | None
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The difference between two arms that were run on the same seeds.

    Attributes:
        n: Number of pairs.
        difference: Mean of first minus second.
        spread: Standard deviation (n - 1) of the differences; None with one pair, 0 where all are equal.
        low: Lower end of the t-interval of the difference; None with one pair.
        high: Upper end, likewise.
        confidence: Coverage of the interval.
        p: Two-sided p-value of the paired t test; 1 where every difference is 0. None where the test is
            undefined: one pair, or the same difference, not 0, in every pair.
    """

    n: int
    difference: float
    spread: float | None
    low: float | None
    high: float | None
    confidence: float
    p: float | None


def summarise(values: Sequence[float], *, confidence: float = 0.95) -> Summary:
    """Return mean, standard deviation and t-interval of one arm's runs.

    mean +- t(1 - (1 - confidence) / 2, n - 1) * spread / sqrt(n)       (Student 1908)

    Args:
        values: One figure per run, finite.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        UsageError: There are no values, one is NaN or infinite, or ``confidence`` is out of range.

    Example:
        >>> summarise([1.0, 2.0, 3.0]).mean
        2.0
    """
    figures = _figures(values, "values")
    mean, spread, margin = _moments(figures, checked_fraction("confidence", confidence))
    low, high = _ends(mean, margin)
    return Summary(n=len(figures), mean=mean, spread=spread, low=low, high=high, confidence=confidence)


def paired_difference(first: Sequence[float], second: Sequence[float], *, confidence: float = 0.95) -> Paired:
    """Return mean difference, t-interval and p-value of two arms that shared their seeds.

    t = difference / (spread / sqrt(n)), p = 2 P(T_{n-1} > |t|)         (paired t test, Student 1908)

    Args:
        first: One finite figure per seed.
        second: The other arm's, in the same order of seeds.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        UsageError: The arms are empty or of different length, or a figure is NaN or infinite.

    Example:
        >>> round(paired_difference([0.92, 0.93, 0.97], [0.90, 0.92, 0.94]).p, 4)
        0.0742
    """
    a, b = _figures(first, "first"), _figures(second, "second")
    if len(a) != len(b):
        raise UsageError(f"first has {len(a)} runs and second {len(b)}; pairs need one run per seed in each")
    differences = _equalised(a - b, max(np.abs(a).max(), np.abs(b).max()))
    mean, spread, margin = _moments(differences, checked_fraction("confidence", confidence))
    low, high = _ends(mean, margin)
    p = _p_value(mean, spread, len(a))
    return Paired(n=len(a), difference=mean, spread=spread, low=low, high=high, confidence=confidence, p=p)


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p-values adjusted for having made several tests, in the order given.

    With p_(1) <= ... <= p_(m): adjusted p_(i) = max over j <= i of min(1, (m - j + 1) p_(j))  (Holm 1979)

    Args:
        p_values: Each between 0 and 1. None, a test that could not be made, stays None and is not counted.

    Raises:
        UsageError: A p-value is out of range.
    """
    for p in p_values:
        if p is not None and not 0.0 <= p <= 1.0:
            raise UsageError(f"p-value {p!r} is not between 0 and 1")
    made = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - rank) * p))
        adjusted[place] = largest
    return tuple(adjusted)


def power(effect: float, n: int, *, alpha: float = 0.05) -> float:
    """Return the probability that a paired t test over ``n`` seeds finds an effect of this size.

    1 - E[Phi(c S - e sqrt(n)) - Phi(-c S - e sqrt(n))], (n - 1) S^2 ~ chi^2(n - 1)

    with c = t(1 - alpha / 2, n - 1). This is the noncentral t distribution as a mean over S, the observed
    spread over the true one (Cohen 1988), integrated over S's quantiles to about 1e-5: library versions of
    that distribution overflow for large effects.

    Args:
        effect: e: true difference over the standard deviation of the differences; its sign is ignored.
        n: Number of pairs, at least 2.
        alpha: Significance level.

    Raises:
        UsageError: An argument is out of range.
    """
    if n < 2:
        raise UsageError(f"n is {n!r}; a paired test needs at least 2 seeds")
    shift = abs(_finite("effect", effect)) * math.sqrt(n)
    critical = stdtrit(n - 1, 1.0 - checked_fraction("alpha", alpha) / 2)
    limits = critical * np.sqrt(2.0 * gammaincinv((n - 1) / 2, (_NODES + 1.0) / 2) / (n - 1))
    return float(_WEIGHTS @ (1.0 - ndtr(limits - shift) + ndtr(-limits - shift))) / 2


def seeds_needed(difference: float, spread: float, *, target: float = 0.8, alpha: float = 0.05) -> int | None:
    """Return the smallest number of paired seeds with which this difference would be found.

    The smallest n with power(difference / spread, n) >= target. Difference and spread as observed are
    themselves uncertain: read the number as an order of magnitude.

    Args:
        difference: Mean difference, in the figure's own unit.
        spread: Standard deviation of the paired differences, at least 0.
        target: Power wished for, between 0 and 1.
        alpha: Significance level.

    Returns:
        At least 2; None if the difference is 0, which no number of seeds finds.

    Raises:
        UsageError: An argument is out of range.

    Example:
        >>> seeds_needed(0.5, 1.0)
        34
    """
    if _finite("spread", spread) < 0.0:
        raise UsageError(f"spread is {spread!r}; a standard deviation is at least 0")
    checked_fraction("target", target)
    if _finite("difference", difference) == 0.0:
        return None
    if spread == 0.0:
        return 2
    effect = abs(difference) / spread
    # A normal test needs fewer seeds than a t test, so counting up from there cannot miss the smallest.
    normal = (ndtri(1.0 - checked_fraction("alpha", alpha) / 2) + ndtri(target)) / effect
    n = max(2, math.ceil(float(normal) ** 2))
    if n > 100_000:
        return n
    while power(effect, n, alpha=alpha) < target:
        n += 1
    return n


def seed_residual(table: npt.ArrayLike) -> tuple[float, int]:
    """Return what is left of a table of rewards without the means of its rows and of its columns.

    sum over policies p and seeds s of (r[p, s] - mean r[p, :] - mean r[:, s] + mean r)^2

    and its degrees of freedom, (P - 1) (S - 1): the residual of a two-way analysis of variance without
    repeats. What a seed does to all policies alike is no part of it.

    Args:
        table: Rewards of P policies on the same S seeds, (P, S), finite.
    """
    rewards = np.asarray(table, dtype=np.float64)
    left = rewards - rewards.mean(axis=1, keepdims=True)
    left = left - left.mean(axis=0)
    return float((left**2).sum()), (rewards.shape[0] - 1) * (rewards.shape[1] - 1)


def shared_seeds(rewards: Mapping[str, Mapping[int, float]]) -> list[list[float]]:
    """Return a table of rewards, (policies, seeds), of the policies that have every seed of any.

    Args:
        rewards: By policy, by seed.
    """
    seeds = sorted({seed for mine in rewards.values() for seed in mine})
    return [[mine[seed] for seed in seeds] for mine in rewards.values() if len(mine) == len(seeds)]


def checked_fraction(name: str, value: float) -> float:
    """Return a share as a float.

    Raises:
        UsageError: It is not between 0 and 1, both excluded.
    """
    if not 0.0 < value < 1.0:
        raise UsageError(f"{name} is {value!r}; expected a number between 0 and 1, both excluded")
    return float(value)


def _moments(figures: npt.NDArray[np.float64], confidence: float) -> tuple[float, float | None, float | None]:
    """Return mean, spread and half the width of the t-interval."""
    n, mean = len(figures), math.fsum(figures) / len(figures)
    if n < 2:
        return mean, None, None
    spread = 0.0 if np.ptp(figures) == 0.0 else float(figures.std(ddof=1))
    return mean, spread, float(stdtrit(n - 1, (1.0 + confidence) / 2)) * spread / math.sqrt(n)


def _ends(mean: float, margin: float | None) -> tuple[float | None, float | None]:
    return (None, None) if margin is None else (mean - margin, mean + margin)


def _p_value(mean: float, spread: float | None, n: int) -> float | None:
    if spread is None or (spread == 0.0 and mean != 0.0):
        return None
    if spread == 0.0:
        return 1.0
    return float(2.0 * stdtr(n - 1, -abs(mean) / (spread / math.sqrt(n))))


def _equalised(differences: npt.NDArray[np.float64], scale: float) -> npt.NDArray[np.float64]:
    """Return the differences, all equal to their mean where only rounding tells them apart."""
    if np.ptp(differences) > _ROUNDING * scale:
        return differences
    mean = differences.mean()
    return np.full_like(differences, 0.0 if abs(mean) <= _ROUNDING * scale else mean)


def _figures(values: Sequence[float], name: str) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise UsageError(f"{name} has shape {array.shape}; expected one number per run, at least one")
    if bad := int((~np.isfinite(array)).sum()):
        raise UsageError(
            f"{name} has {bad} NaN or infinite of {array.size}; a diverged run has no figure: replace it by "
            "the task's floor, or leave its seed out of every arm"
        )
    return array


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise UsageError(f"{name} is {value!r}; expected a finite number")
    return float(value)
