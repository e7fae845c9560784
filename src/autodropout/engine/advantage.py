"""How much better than the baseline each trial was: A_i = (Perf(r_i) - b) / s.

Eq. 2 of AutoDropout has b, a moving average of the reward, and s = 1. Rewards of a few hundred noisy
trials learn faster with b and s taken from the batch, or with ranks, so these are here, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Literal, get_args

from autodropout.errors import StudyError

Mode = Literal["rank", "standardised", "ema"]
MODES: tuple[Mode, ...] = get_args(Mode)

FLOOR_DEVIATIONS = 3.0
"""A trial at the floor enters at no less than b - 3 s: how bad it is must not drown what the others say."""

_LEAST_DEVIATION = 1e-6
"""Of |b| (at least 1): the smallest s, below which rewards count as equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advantages:
    """The advantages of a batch.

    Attributes:
        values: A_i, in the order of the rewards.
        baseline: The b that was used; the mean of the b_i where they differ.
        rewards: The rewards as they entered, those at the floor raised.
    """

    values: tuple[float, ...]
    baseline: float
    rewards: tuple[float, ...]


def advantages(
    rewards: Sequence[float], floored: Sequence[bool], mode: Mode, average: float | None
) -> Advantages:
    """Return A_i = (Perf(r_i) - b) / s for a batch of finished trials.

    ``"ema"`` (the paper's): b is the moving average before this batch, s = 1; without an average
    yet, b_i is the mean of the other trials. ``"standardised"``: b and s are mean and deviation of the
    batch, s at least 1e-6. ``"rank"``: the rewards' ranks, ties sharing their mean, in place of the
    rewards, then standardised likewise.

    Args:
        rewards: Perf(r_i), finite.
        floored: Whether the reward is the floor. Such a trial has no say in b and s and enters at no less
            than b - 3 s. Ranks need no such care: there it counts as any other.
        mode: How b and s are found.
        average: The moving average, None before the first update.

    Raises:
        StudyError: The rewards are too large to calculate with.
    """
    try:
        return _advantages(rewards, floored, mode, average)
    except OverflowError as error:
        raise StudyError(
            f"the rewards from {min(rewards):.3g} to {max(rewards):.3g} are too large to learn from; "
            "scale the reward, return NaN for what diverges, and search in another directory"
        ) from error


def _advantages(
    rewards: Sequence[float], floored: Sequence[bool], mode: Mode, average: float | None
) -> Advantages:
    judged = [r for r, low in zip(rewards, floored, strict=True) if not low] or list(rewards)
    match mode:
        case "ema":
            entered = _raised(rewards, floored, fmean(judged) if average is None else average, 1.0)
            baselines = _others(entered) if average is None else [average] * len(entered)
            return _result(
                [r - b for r, b in zip(entered, baselines, strict=True)], fmean(baselines), entered
            )
        case "standardised":
            baseline, deviation = fmean(judged), _deviation(judged)
            entered = _raised(rewards, floored, baseline, deviation)
            return _result([(r - baseline) / deviation for r in entered], baseline, entered)
        case "rank":
            entered = _raised(rewards, floored, fmean(judged), _deviation(judged))
            ranks = _ranks(rewards)
            middle, deviation = fmean(ranks), _deviation(ranks)
            return _result([(rank - middle) / deviation for rank in ranks], fmean(judged), entered)


def moved(average: float | None, rewards: Sequence[float], decay: float) -> float:
    """Return the moving average after these rewards: b <- decay b + (1 - decay) r, one after the other.

    The first batch sets it to its mean.
    """
    if average is None:
        return fmean(rewards)
    for reward in rewards:
        average = decay * average + (1.0 - decay) * reward
    return average


def _result(values: Sequence[float], baseline: float, entered: Sequence[float]) -> Advantages:
    return Advantages(values=tuple(values), baseline=baseline, rewards=tuple(entered))


def _raised(rewards: Sequence[float], floored: Sequence[bool], b: float, s: float) -> list[float]:
    least = b - FLOOR_DEVIATIONS * s
    return [max(r, least) if low else r for r, low in zip(rewards, floored, strict=True)]


def _others(rewards: Sequence[float]) -> list[float]:
    """Return for each reward the mean of all others; a lone one is its own baseline."""
    total, others = sum(rewards), len(rewards) - 1
    return [(total - r) / others for r in rewards] if others else list(rewards)


def _deviation(values: Sequence[float]) -> float:
    return max(pstdev(values), _LEAST_DEVIATION * max(1.0, abs(fmean(values))))


def _ranks(values: Sequence[float]) -> list[float]:
    """Return ranks from 0, ties sharing their mean."""
    return [sum(v < value for v in values) + (sum(v == value for v in values) - 1) / 2 for value in values]
