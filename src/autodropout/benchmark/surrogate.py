"""A stand-in for training: the reward that the landscape lets one expect of a policy."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autodropout.benchmark.deviation import measured
from autodropout.benchmark.features import Features
from autodropout.benchmark.regressors import make_regressor
from autodropout.benchmark.released import Released
from autodropout.errors import DataError
from autodropout.policy import Policy
from autodropout.space import Space

Floats = NDArray[np.float64]

_LEAST = 20
_DECIMALS = 9


class Surrogate:
    """Predicts the noise-free reward of a policy; the same trials and seed give the same predictions.

    It is fitted to every finite reward, but not to the search reward of a policy that was confirmed: that
    reward chose it. It knows only what the landscape holds: where searches lead away from that, it guesses.

    Args:
        trials: Trials of the landscape.
        spaces: Their spaces, by key, that of ``value`` first.
        regressor: One of ``regressors.REGRESSORS``.
        seed: Seed of a regressor that draws.

    Raises:
        DataError: There are fewer than 20 finite rewards.
        UsageError: There is no such regressor, or scikit-learn is not installed.
    """

    def __init__(
        self, trials: Sequence[Released], spaces: Mapping[str, Space], *, regressor: str, seed: int = 0
    ) -> None:
        kept = [trial for group in measured(trials).values() for trial in group]
        if len(kept) < _LEAST:
            raise DataError(
                f"the landscape has {len(kept)} finite rewards; a surrogate needs {_LEAST} or more"
            )
        self.regressor, self.seed = regressor, seed
        self._spaces = dict(spaces)
        self._features = Features(self._spaces.values())
        self._fitted = make_regressor(regressor, self._features.number, seed)
        self._fitted.fit(self._rows(kept), np.array([trial.result.reward for trial in kept]))

    def predict(self, tokens: Iterable[Sequence[int]], space: Space | None = None) -> Floats:
        """Return the expected reward of each policy, (n,). Many at once cost much less than one by one.

        Args:
            tokens: Tokens of each policy.
            space: The space they belong to, whose sites and values were all in the landscape; None for
                the landscape's first.

        Raises:
            SpaceError: A site or value was not in the landscape, or a policy has not one token per decision.
        """
        rows = list(tokens)
        home = next(iter(self._spaces.values()))
        return self._expected(self._features.of(space or home, rows)) if rows else np.zeros(0)

    def check(self, space: Space) -> None:
        """Refuse a space that the landscape says nothing about.

        Raises:
            SpaceError: A site or value of the space was not in the landscape.
        """
        self._features.check(space)

    def value(self, policy: Policy) -> float:
        """Return the expected reward of one policy of the landscape's first space.

        Raises:
            SpaceError: The policy is not in that space.
        """
        return float(self.predict([next(iter(self._spaces.values())).encode(policy)])[0])

    def predict_trials(self, trials: Sequence[Released]) -> Floats:
        """Return the expected reward of each trial's policy, (n,), whatever space it is from."""
        return self._expected(self._rows(trials))

    def _expected(self, rows: Floats) -> Floats:
        """Predict, and cut off what depends on how many rows are multiplied at once."""
        predicted: Floats = np.asarray(self._fitted.predict(rows), dtype=np.float64)
        return predicted.round(_DECIMALS)

    def _rows(self, trials: Sequence[Released]) -> Floats:
        rows = np.zeros((len(trials), self._features.number))
        for key, space in self._spaces.items():
            mine = [place for place, trial in enumerate(trials) if trial.space == key]
            rows[mine] = self._features.of(space, [trials[place].tokens for place in mine])
        return rows
