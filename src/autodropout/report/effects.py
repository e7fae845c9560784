"""Which values of which choice mattered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autodropout.report.record import Record, reward_of
from autodropout.result import Trial
from autodropout.significance import Summary, summarise
from autodropout.space import Choice, Value

_SHUFFLES = 200
_SHUFFLES_SEED = 0
_CHANCE_QUANTILE = 0.95
_LEAST_PER_VALUE = 3  # trials on average, below which a share of variance says nothing

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueEffect:
    """The trials that chose one value.

    Attributes:
        value: The value.
        summary: Rewards of those that returned a finite one; None if none did.
        without: Number of those that did not: they diverged or failed.
    """

    value: Value
    summary: Summary | None
    without: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceEffect:
    """How a choice goes with the reward. An association: a learning searcher favours what did well.

    Attributes:
        site: Key of the site; empty for a choice about the whole policy.
        name: What is chosen, such as ``"stride"``.
        n: Trials with a reward in which the choice was live, its site being on.
        explained: Share of those trials' variance that the value explains, corrected for the number of
            values (epsilon squared, Kelley 1935), so that chance alone gives 0 on average; None if there
            are fewer than three trials per value that was chosen, or their rewards do not differ.
        values: Each value's trials.
    """

    site: str
    name: str
    n: int
    explained: float | None
    values: tuple[ValueEffect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """All choices.

    Attributes:
        choices: The one that explains most first.
        n: Number of trials with a reward.
        mean: Their mean reward; None without any.
        chance: Share that the strongest choice would explain by chance in one of twenty studies, from
            shuffled rewards; None where no share can be computed.
    """

    choices: tuple[ChoiceEffect, ...]
    n: int
    mean: float | None
    chance: float | None


def effects(record: Record) -> Effects:
    """Return mean reward and 95% t-interval of every value of every choice.

    A trial counts for a choice only where that choice was live. Trials without a finite reward of their
    own are counted apart: their floor, far below everything else, would drown what the others say.
    """
    ended = record.ended
    space, rewards = record.space, _rewards(ended)
    shape = (len(ended), len(space))
    tokens = np.array([trial.tokens for trial in ended], dtype=np.int64).reshape(shape)
    live = np.array([space.live(trial.tokens) for trial in ended], dtype=bool).reshape(shape)
    choices = [
        _choice(choice, tokens[live[:, place], place], rewards[live[:, place]])
        for place, choice in enumerate(space.choices)
    ]
    choices.sort(key=lambda effect: -math.inf if effect.explained is None else effect.explained, reverse=True)
    finite = np.isfinite(rewards)
    return Effects(
        choices=tuple(choices),
        n=int(finite.sum()),
        mean=float(rewards[finite].mean()) if finite.any() else None,
        chance=_chance(tokens[finite], live[finite], rewards[finite]),
    )


def explained_variance(tokens: Tokens, rewards: Floats) -> Floats:
    """Return the share of variance that groups explain, corrected for their number.

    epsilon^2 = (SS_between - df_between MS_within) / SS_total            (Kelley 1935)

    Args:
        tokens: Group of each trial, (n,).
        rewards: One column per set of rewards, (n, k).

    Returns:
        (k,); NaN with fewer than three trials per group, or equal rewards. Negative where the groups differ
        less than chance would make them.
    """
    groups, index = np.unique(tokens, return_inverse=True)
    n, between = len(tokens), len(groups) - 1
    if between < 1 or n < _LEAST_PER_VALUE * len(groups):
        return np.full(rewards.shape[1], np.nan)
    member = np.eye(len(groups))[index]
    centred = rewards - rewards.mean(axis=0)
    total = (centred**2).sum(axis=0)
    explained = ((member.T @ centred) ** 2 / member.sum(axis=0)[:, None]).sum(axis=0)
    within = (total - explained) / (n - len(groups))
    # Equal rewards leave rounding errors behind, which are no variance.
    varied = total > n * (1e-12 * np.abs(rewards).max(axis=0)) ** 2
    return np.where(varied, (explained - between * within) / np.where(varied, total, 1.0), np.nan)


def _rewards(trials: Sequence[Trial]) -> Floats:
    """Return each trial's reward, NaN where it returned no finite one."""
    rewards = [reward_of(trial) for trial in trials]
    return np.array([math.nan if reward is None else reward for reward in rewards], dtype=np.float64)


def _choice(choice: Choice, tokens: Tokens, rewards: Floats) -> ChoiceEffect:
    finite = np.isfinite(rewards)
    share = float(_shares(tokens[finite], rewards[finite][:, None])[0])
    return ChoiceEffect(
        site=choice.site,
        name=choice.name,
        n=int(finite.sum()),
        explained=None if math.isnan(share) else share,
        values=tuple(
            ValueEffect(
                value=value,
                summary=_summary(rewards[finite & (tokens == token)]),
                without=int((~finite & (tokens == token)).sum()),
            )
            for token, value in enumerate(choice.values)
        ),
    )


def _summary(rewards: Floats) -> Summary | None:
    return summarise(rewards.tolist()) if len(rewards) else None


def _chance(tokens: Tokens, live: NDArray[np.bool_], rewards: Floats) -> float | None:
    if len(rewards) == 0:
        return None
    rng = np.random.default_rng(_SHUFFLES_SEED)
    shuffled = np.stack([rng.permutation(rewards) for _ in range(_SHUFFLES)], axis=1)
    shares = np.stack([_shares(tokens[on, place], shuffled[on]) for place, on in enumerate(live.T)])
    strongest = np.where(np.isnan(shares), -np.inf, shares).max(axis=0)
    return float(np.quantile(strongest, _CHANCE_QUANTILE)) if np.isfinite(strongest).all() else None


def _shares(tokens: Tokens, rewards: Floats) -> Floats:
    return explained_variance(tokens, rewards) if len(tokens) else np.full(rewards.shape[1], np.nan)
