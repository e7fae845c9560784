"""How far the same policy's reward moves from seed to seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from autodropout.benchmark.released import Released
from autodropout.errors import DataError
from autodropout.policy import Policy
from autodropout.significance import checked_fraction, seed_residual, shared_seeds

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
class OwnNoise:
    """The part of the noise that is left among policies trained with the same seed.

    What a seed does to all policies alike does not tell them apart; this does.

    Attributes:
        sd: The standard deviation, pooled over sets of policies that share their seeds.
        low: Lower end of its interval, from the chi-squared distribution.
        high: Upper end.
        degrees: Degrees of freedom.
        policies: Policies in these sets.
        fraction: Of the variance between seeds of the same policies, at most 1.
    """

    sd: float
    low: float
    high: float
    degrees: int
    policies: int
    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise of a task.

    Attributes:
        pooled: Over all repeated policies.
        levels: Over each third of them, worst rewards first; only the pooled one where a third is too small.
        own: What is left of it among policies of the same seed; None if no two share their seeds.
    """

    pooled: Deviation
    levels: tuple[Deviation, ...]
    own: OwnNoise | None = None

    def at(self, rewards: Floats, *, same_seed: bool = False) -> Floats:
        """Return the standard deviation at these true rewards: linear between the levels, constant beyond.

        Args:
            rewards: Any shape.
            same_seed: Only that by which rewards of the same seed differ; all of it where that is unknown.
        """
        centres = [level.reward for level in self.levels]
        all_of_it = np.interp(rewards, centres, [level.sd for level in self.levels])
        return all_of_it * self.own.fraction**0.5 if same_seed and self.own is not None else all_of_it


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
    own = own_noise_of(trials, confidence=confidence)
    if min(_degrees(third) for third in thirds) < _LEAST_DEGREES:
        return Noise(pooled=pooled, levels=(pooled,), own=own)
    return Noise(pooled=pooled, levels=tuple(_deviation(third, confidence) for third in thirds), own=own)


def own_noise_of(trials: Sequence[Released], *, confidence: float = 0.95) -> OwnNoise | None:
    """Return the noise among policies of the same seed, from the confirmations of each study.

    sd^2 = sum of what ``seed_residual`` leaves of each study's table / sum of its degrees of freedom

    over the tables of all studies, each of a study's confirmed policies and their seeds.

    Args:
        trials: Trials of a landscape.
        confidence: Coverage of the interval, between 0 and 1.

    Returns:
        The noise; None if no study confirmed two policies on the same two seeds.
    """
    checked_fraction("confidence", confidence)
    tables = _tables(trials)
    if not tables:
        return None
    residuals = [seed_residual(table) for table in tables]
    squares, degrees = sum(left for left, _ in residuals), sum(number for _, number in residuals)
    within = float(sum(table.var(axis=1).sum() * table.shape[1] for table in tables))
    between_seeds = within / sum(table.shape[0] * (table.shape[1] - 1) for table in tables)
    low, high = _interval(squares, degrees, confidence)
    return OwnNoise(
        sd=(squares / degrees) ** 0.5,
        low=low,
        high=high,
        degrees=degrees,
        policies=sum(len(table) for table in tables),
        fraction=min(1.0, squares / degrees / between_seeds) if between_seeds else 1.0,
    )


def without_dropout(trials: Sequence[Released]) -> Floats:
    """Return the rewards of trials without any dropout, one per seed."""
    return _by_seed(measured(trials).get(Policy({}).key, []))


def repeatability(trials: Sequence[Released]) -> tuple[Floats, Floats]:
    """Return the rewards of repeated policies with one seed and with another, policy by policy."""
    groups = [_by_seed(group) for group in measured(trials).values()]
    pairs = np.array([group[:2] for group in groups if len(group) > 1]).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _by_seed(group: Sequence[Released]) -> Floats:
    """Return one reward per seed: the same seed again says nothing new."""
    return np.array(list({trial.seed: trial.result.reward for trial in group}.values()))


def _tables(trials: Sequence[Released]) -> list[Floats]:
    """Return what each study's confirmed policies returned, (policies, seeds), those with every seed only."""
    studies: dict[str, dict[str, dict[int, float]]] = {}
    for trial in trials:
        if trial.kind == "confirm" and not trial.diverged:
            rewards = studies.setdefault(trial.study, {}).setdefault(trial.policy.key, {})
            rewards[trial.seed] = trial.result.reward
    tables = []
    for policies in studies.values():
        rows = shared_seeds(policies)
        if len(rows) > 1 and len(rows[0]) > 1:
            tables.append(np.array(rows))
    return tables


def _degrees(groups: Sequence[Floats]) -> int:
    return sum(len(group) - 1 for group in groups)


def _deviation(groups: Sequence[Floats], confidence: float) -> Deviation:
    squares = float(sum(((group - group.mean()) ** 2).sum() for group in groups))
    degrees = _degrees(groups)
    low, high = _interval(squares, degrees, confidence)
    return Deviation(
        sd=(squares / degrees) ** 0.5,
        low=low,
        high=high,
        degrees=degrees,
        policies=len(groups),
        reward=float(np.mean([group.mean() for group in groups])),
    )


def _interval(squares: float, degrees: int, confidence: float) -> tuple[float, float]:
    tail = (1.0 - confidence) / 2
    return (
        (squares / float(chdtri(degrees, tail))) ** 0.5,
        (squares / float(chdtri(degrees, 1.0 - tail))) ** 0.5,
    )
