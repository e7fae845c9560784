"""How far the same policy's reward moves from seed to seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from autodropout.benchmark.released import Released
from autodropout.errors import DataError
from autodropout.significance import checked_fraction

Floats = NDArray[np.float64]

_LEVELS = 3
_LEAST_DEGREES = 10
"""Degrees of freedom below which a level has no deviation of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A standard deviation between seeds.

    Attributes:
        sd: The standard deviation, pooled over policies.
        low: Lower end of its interval, from the chi-squared distribution.
        high: Upper end.
        degrees: Degrees of freedom: trials less policies.
        policies: Policies with more than one seed.
        reward: Mean reward of these policies.
    """

    sd: float
    low: float
    high: float
    degrees: int
    policies: int
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise of a task.

    Attributes:
        pooled: Over all repeated policies.
        levels: Over each third of them, worst rewards first; only the pooled one where a third is too small.
    """

    pooled: Deviation
    levels: tuple[Deviation, ...]

    def at(self, rewards: Floats) -> Floats:
        """Return the standard deviation at these true rewards: linear between the levels, constant beyond."""
        centres = [level.reward for level in self.levels]
        return np.interp(rewards, centres, [level.sd for level in self.levels])


def measured(trials: Sequence[Released]) -> dict[str, list[Released]]:
    """Return the trials whose reward did not choose them, by key of their policy.

    A policy that was confirmed was chosen for its search reward, which is therefore too high: only its
    confirmations count. Trials that diverged do not.
    """
    groups: dict[str, list[Released]] = {}
    for trial in trials:
        if not trial.diverged:
            groups.setdefault(trial.policy.key, []).append(trial)
    for key, group in groups.items():
        confirmations = [trial for trial in group if trial.kind == "confirm"]
        groups[key] = confirmations or group
    return groups


def noise_of(trials: Sequence[Released], *, confidence: float = 0.95) -> Noise:
    """Return the noise that repeated policies show.

    sd^2 = sum over policies and seeds of (reward - policy's mean)^2 / (trials - policies)

    Args:
        trials: Trials of a landscape; those of one policy have different seeds.
        confidence: Coverage of the intervals, between 0 and 1.

    Raises:
        DataError: No policy was trained with two seeds.
    """
    checked_fraction("confidence", confidence)
    groups = [_by_seed(group) for group in measured(trials).values()]
    repeated = sorted((group for group in groups if len(group) > 1), key=lambda group: float(group.mean()))
    if not repeated:
        raise DataError("no policy of the landscape was trained with two seeds; run its repeats first")
    pooled = _deviation(repeated, confidence)
    thirds = [
        repeated[i * len(repeated) // _LEVELS : (i + 1) * len(repeated) // _LEVELS] for i in range(_LEVELS)
    ]
    if min(_degrees(third) for third in thirds) < _LEAST_DEGREES:
        return Noise(pooled=pooled, levels=(pooled,))
    return Noise(pooled=pooled, levels=tuple(_deviation(third, confidence) for third in thirds))


def repeatability(trials: Sequence[Released]) -> tuple[Floats, Floats]:
    """Return the rewards of repeated policies with one seed and with another, policy by policy."""
    groups = [_by_seed(group) for group in measured(trials).values()]
    pairs = np.array([group[:2] for group in groups if len(group) > 1]).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _by_seed(group: Sequence[Released]) -> Floats:
    """Return one reward per seed: the same seed again says nothing new."""
    return np.array(list({trial.seed: trial.result.reward for trial in group}.values()))


def _degrees(groups: Sequence[Floats]) -> int:
    return sum(len(group) - 1 for group in groups)


def _deviation(groups: Sequence[Floats], confidence: float) -> Deviation:
    squares = float(sum(((group - group.mean()) ** 2).sum() for group in groups))
    degrees, tail = _degrees(groups), (1.0 - confidence) / 2
    return Deviation(
        sd=(squares / degrees) ** 0.5,
        low=(squares / float(chdtri(degrees, tail))) ** 0.5,
        high=(squares / float(chdtri(degrees, 1.0 - tail))) ** 0.5,
        degrees=degrees,
        policies=len(groups),
        reward=float(np.mean([group.mean() for group in groups])),
    )
