"""How strong a random policy is, and how often it beats no dropout."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from scipy.special import betaincinv

from autodropout.benchmark.features import drop_rate
from autodropout.benchmark.main_effects import RANDOM_SOURCES, random_part
from autodropout.benchmark.released import Released
from autodropout.space import PAD, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """The policies that one way of drawing gives.

    Attributes:
        source: ``"random"`` (uniform) or ``"random-biased"`` (from the space's starting bias).
        n: Policies.
        sites: Median number of sites that are on.
        rate: Median drop rate of a site that is on.
        quantiles: Reward at 5, 25, 50, 75 and 95 percent.
        best: Highest reward: of a single trial, so flattered by its seed.
        better: Share of policies whose reward is above that of no dropout.
        low: Lower end of that share's 95% interval (Clopper and Pearson 1934).
        high: Upper end.
    """

    source: str
    n: int
    sites: float
    rate: float
    quantiles: tuple[float, ...]
    best: float
    better: float
    low: float
    high: float


def strengths(trials: Sequence[Released], space: Space, none: float) -> tuple[Strength, ...]:
    """Return the strength of uniformly random policies and of those from the starting bias.

    Args:
        trials: Trials of a landscape.
        space: The space that they were drawn from.
        none: Reward of no dropout.
    """
    drawn = random_part(trials, space)
    groups = {source: [trial for trial in drawn if trial.source == source] for source in RANDOM_SOURCES}
    return tuple(_strength(source, group, space, none) for source, group in groups.items() if group)


def _strength(source: str, trials: Sequence[Released], space: Space, none: float) -> Strength:
    rates = [_rates(trial, space) for trial in trials]
    rewards = np.array([trial.result.reward for trial in trials])
    n, better = len(trials), int((rewards > none).sum())
    return Strength(
        source=source,
        n=n,
        sites=float(median(map(len, rates))),
        rate=float(median([rate for row in rates for rate in row] or [0.0])),
        quantiles=tuple(np.quantile(rewards, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist()),
        best=float(rewards.max()),
        better=better / n,
        low=float(betaincinv(better, n - better + 1, 0.025)) if better else 0.0,
        high=float(betaincinv(better + 1, n - better, 0.975)) if better < n else 1.0,
    )


def _rates(trial: Released, space: Space) -> list[float]:
    """Return the drop rates of the sites that are on."""
    rates, start = [], 0
    for site, group in space.site_choices.items():
        mine = trial.tokens[start : start + len(group)]
        start += len(group)
        if mine[0] != PAD:
            rates.append(drop_rate(space, site, mine))
    return rates
