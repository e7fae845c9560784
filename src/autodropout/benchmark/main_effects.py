"""Which values of a space help: effects on the reward in the random part of a landscape."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtrit

from autodropout.benchmark.released import Released
from autodropout.errors import DataError
from autodropout.significance import holm
from autodropout.space import Space, Value

Floats = NDArray[np.float64]

RANDOM_SOURCES = ("random", "random-biased")
"""Searchers whose decisions are independent of one another and of all rewards."""

_TOP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueEffect:
    """A value of a choice.

    Attributes:
        value: The value.
        n: Trials that had it.
        effect: For a site's first choice, its size: mean reward with this size less that with the site off.
            For any other choice: less the mean over the choice's values while the site is on.
        low: Lower end of the effect's 95% interval.
        high: Upper end.
        share: Share of the trials that had it.
        top: Share of the best tenth of the trials that had it.
    """

    value: Value
    n: int
    effect: float
    low: float
    high: float
    share: float
    top: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MainEffect:
    """A choice.

    Attributes:
        site: Key of the site.
        name: What is chosen.
        explained: Share of the reward's variance that only this choice explains, corrected for the number of
            its values: chance gives 0 on average.
        p: Of all its values having the same effect, adjusted for the number of choices (Holm).
        values: Its values.
    """

    site: str
    name: str
    explained: float
    p: float
    values: tuple[ValueEffect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MainEffects:
    """All choices of a space.

    Attributes:
        n: Trials.
        mean: Their mean reward.
        explained: Share of the reward's variance that all choices explain together, corrected likewise.
        choices: That which explains most first. One that has a single value decides nothing and is left out.
    """

    n: int
    mean: float
    explained: float
    choices: tuple[MainEffect, ...]


def random_part(trials: Sequence[Released], space: Space) -> list[Released]:
    """Return the first trial of every policy that chance proposed in this space, if it did not diverge."""
    return [
        trial
        for trial in trials
        if trial.source in RANDOM_SOURCES
        and trial.kind == "search"
        and trial.repeat == 0
        and trial.space == space.key
        and not trial.diverged
    ]


def main_effects(trials: Sequence[Released], space: Space) -> MainEffects:
    """Return the effect of every value, all decisions taken into account at once.

    reward = mean + source + sum over sites of (size + stride + ... if the site is on) + error

    by least squares; intervals and tests have covariances that allow for unequal errors (HC3, MacKinnon
    and White 1985), since some policies are noisier or fit the sum worse than others.

    Args:
        trials: Trials of a landscape; all but its random part is left out.
        space: The space whose choices are meant.

    Raises:
        DataError: There are fewer than two random trials per number to be estimated.
    """
    drawn = random_part(trials, space)
    rewards = np.array([trial.result.reward for trial in drawn])
    design, places = _design(drawn, space)
    if len(drawn) < 2 * design.shape[1]:
        raise DataError(
            f"the landscape has {len(drawn)} random trials; the effects of this space are "
            f"{design.shape[1]} numbers, which take {2 * design.shape[1]} trials or more"
        )
    fit = _Fit(design, rewards)
    tests = [fit.test(columns) for columns in places]
    adjusted = holm([p for _, p in tests])
    best = rewards >= np.quantile(rewards, 1 - _TOP)
    found = [
        MainEffect(
            site=choice.site,
            name=choice.name,
            explained=explained,
            p=p if p is not None else 1.0,
            values=_values(fit, drawn, best, space, place, columns),
        )
        for place, (choice, columns, (explained, _), p) in enumerate(
            zip(space.choices, places, tests, adjusted, strict=True)
        )
        if len(choice.values) > 1
    ]
    together = fit.test([column for columns in places for column in columns])[0]
    return MainEffects(
        n=len(drawn),
        mean=float(rewards.mean()),
        explained=together,
        choices=tuple(sorted(found, key=lambda effect: -effect.explained)),
    )


class _Fit:
    """Least squares with HC3 covariances."""

    def __init__(self, design: Floats, rewards: Floats) -> None:
        self._design, self._rewards = design, rewards
        inverse = np.linalg.pinv(design.T @ design)
        self.coefficients = inverse @ design.T @ rewards
        residuals = rewards - design @ self.coefficients
        leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
        scaled = design * (residuals / np.maximum(1.0 - leverage, 1e-6))[:, None]
        self.covariance = inverse @ (scaled.T @ scaled) @ inverse
        self.degrees = len(rewards) - int(np.linalg.matrix_rank(design))
        self._squares = float((residuals**2).sum())
        self._total = float(((rewards - rewards.mean()) ** 2).sum())

    def estimate(self, weights: Floats) -> tuple[float, float]:
        """Return a sum of coefficients and half its 95% interval."""
        error = float(np.sqrt(max(weights @ self.covariance @ weights, 0.0)))
        return float(weights @ self.coefficients), float(stdtrit(self.degrees, 0.975)) * error

    def test(self, columns: Sequence[int]) -> tuple[float, float | None]:
        """Return the share that columns explain beyond all others, and the p-value of their being 0."""
        number = len(columns)
        if number == 0:
            return 0.0, None
        rest = np.delete(self._design, columns, axis=1)
        without = self._rewards - rest @ np.linalg.lstsq(rest, self._rewards, rcond=None)[0]
        error = self._squares / self.degrees
        share = (float((without**2).sum()) - self._squares - number * error) / self._total
        chosen = self.coefficients[columns]
        wald = float(chosen @ np.linalg.pinv(self.covariance[np.ix_(columns, columns)]) @ chosen) / number
        return share, float(fdtrc(number, self.degrees, wald))


def _design(trials: Sequence[Released], space: Space) -> tuple[Floats, list[list[int]]]:
    """Return the columns of the regression and which of them are each choice's."""
    tokens = np.array([trial.tokens for trial in trials], dtype=np.int64).reshape(len(trials), len(space))
    live = np.array([space.live(trial.tokens) for trial in trials], dtype=bool).reshape(tokens.shape)
    columns: list[Floats] = [np.ones(len(trials))]
    if len({trial.source for trial in trials}) > 1:
        columns.append(np.array([float(trial.source == RANDOM_SOURCES[0]) for trial in trials]))
    places: list[list[int]] = []
    for place, (size, parent) in enumerate(zip(space.cardinalities, space.parents, strict=True)):
        coded = _coded(size, first=parent is None)[tokens[:, place]] * live[:, [place]]
        places.append(list(range(len(columns), len(columns) + coded.shape[1])))
        columns += list(coded.T)
    return np.stack(columns, axis=1), places


def _coded(size: int, *, first: bool) -> Floats:
    """Return a row per value: indicators of all but the first, or columns that sum to 0 over the values."""
    if first:
        return np.eye(size)[:, 1:]
    return np.concatenate([np.eye(size - 1), -np.ones((1, size - 1))])


def _values(
    fit: _Fit,
    trials: Sequence[Released],
    best: NDArray[np.bool_],
    space: Space,
    place: int,
    columns: Sequence[int],
) -> tuple[ValueEffect, ...]:
    choice, first = space.choices[place], space.parents[place] is None
    had = np.array([trial.tokens[place] if space.live(trial.tokens)[place] else -1 for trial in trials])
    found = []
    for token, weights in enumerate(_coded(len(choice.values), first=first)):
        spread = np.zeros(len(fit.coefficients))
        spread[list(columns)] = weights
        effect, margin = fit.estimate(spread)
        mine = had == token
        found.append(
            ValueEffect(
                value=choice.values[token],
                n=int(mine.sum()),
                effect=effect,
                low=effect - margin,
                high=effect + margin,
                share=float(mine.mean()),
                top=float(mine[best].mean()),
            )
        )
    return tuple(found)
