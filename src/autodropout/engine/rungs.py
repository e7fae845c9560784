"""The rungs of successive halving: who goes on, and what is taught of whom.

A policy meets rungs k = 0 ... K. It shows f_k on rung k < K and its full reward F on rung K. On rung k it
goes on with a probability p_k that depends on f_k and on trials that ended before, and g_k = g_k(f_k) is
what those predict for F. What is taught when it ends, stopped or complete, is the telescoping sum

    V = g_0 + (g_1 - g_0) / p_0 + (g_2 - g_1) / (p_0 p_1) + ...,    g_K = F,

over the rungs that it reached. Each term is divided by the probability of being there, so E[V | policy] =
E[F | policy] whatever the predictions are, provided that every p_k > 0: stopping early and predicting badly
cost variance, no bias. That is the doubly robust estimator of causal inference (Robins et al. 1994).
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from dataclasses import dataclass
from statistics import fmean

from autodropout.engine.halving import Halving
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_records import Unfinished
from autodropout.engine.seeds import derived_seed

_ENOUGH_FOR_A_SLOPE = 8
_MOST_PAIRS = 64
_SLACK, _STEEPNESS = 2.0, 4
"""How many trials may go on beyond the share before the bar rises, and how steeply it does: measured so that
searches that learn cost about what ``Halving.trainings`` says (tests/engine/test_halving.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """The policy has shown all that it will; this is what is taught."""

    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """The policy goes on: with this budget, and with these terms of ``carried + weight * value``."""

    budget: float
    carried: float
    weight: float


class Rungs:
    """Decides, trial by trial, who goes on; its state is a pure function of the ledger's endings.

    Args:
        halving: Its settings.
        seed: Seed of the study: whether a trial is spared follows from it and the trial's number.
        reader: The ledger that the search goes on with.
    """

    def __init__(self, halving: Halving, seed: int, reader: LedgerReader) -> None:
        self._halving, self._seed, self._budgets = halving, seed, halving.budgets
        self._lower = [_Rung(halving.window) for _ in self._budgets[:-1]]
        self._paths: dict[int, tuple[float, ...]] = {}
        for number, source, budget, reward, promoted in reader.rungs():
            self._note(number, source, budget, reward, promoted)

    def settle(self, trial: Unfinished, reward: float) -> Taught | Onward:
        """Say what becomes of a trial that returned this finite reward, and remember it."""
        place = self._budgets.index(trial.budget)
        if place == len(self._lower):
            self._note(trial.id, trial.source, trial.budget, reward, False)
            return Taught(reward=trial.carried + trial.weight * reward)
        rung = self._lower[place]
        value, chance = rung.predicted(reward), self._chance(rung, reward)
        promoted = _coin(self._seed, trial.id) < chance
        self._note(trial.id, trial.source, trial.budget, reward, promoted)
        known = trial.carried + trial.weight * value
        if not promoted:
            return Taught(reward=known)
        # Searchers that keep the best instead of averaging would fall for large weights.
        fair = self._halving.spared > 0.0 and trial.log_prob is not None
        weight = trial.weight / chance if fair else trial.weight
        return Onward(budget=self._budgets[place + 1], carried=known - weight * value, weight=weight)

    def _chance(self, rung: "_Rung", reward: float) -> float:
        """Return the probability of going on: 1 among the best, ``spared`` below, between on the edge."""
        if self._starting(rung):
            return 1.0
        better, equal = rung.standing(reward)
        kept = min(1.0, (self._halving.share * rung.decided + _SLACK) / (rung.promoted + _SLACK))
        places = (len(rung.rewards) + 1) / self._halving.factor * kept**_STEEPNESS
        return min(1.0, max(self._halving.spared, (places - better) / (equal + 1)))

    def _starting(self, rung: "_Rung") -> bool:
        return len(rung.rewards) < self._halving.startup or not rung.pairs

    def _note(self, number: int, source: int | None, budget: float, reward: float, promoted: bool) -> None:
        path = (*self._paths.pop(source, ()), reward) if source is not None else (reward,)
        if len(path) <= len(self._lower):
            self._paths[number] = path
            rung = self._lower[self._budgets.index(budget)]
            if not self._starting(rung):
                rung.decided += 1
                rung.promoted += promoted
            rung.add(reward)
            return
        for rung, early in zip(self._lower, path, strict=False):
            rung.pairs.append((early, reward))


class _Rung:
    """What happened on one rung: rewards of late, what those came to that went all the way, who went on."""

    def __init__(self, window: int) -> None:
        self.rewards: deque[float] = deque(maxlen=window)
        self.pairs: deque[tuple[float, float]] = deque(maxlen=_MOST_PAIRS)
        self.decided = self.promoted = 0
        self._sorted: list[float] = []

    def add(self, reward: float) -> None:
        if len(self.rewards) == self.rewards.maxlen:
            del self._sorted[bisect_left(self._sorted, self.rewards[0])]
        self.rewards.append(reward)
        insort(self._sorted, reward)

    def standing(self, reward: float) -> tuple[int, int]:
        """Return how many were better and how many equal."""
        low, high = bisect_left(self._sorted, reward), bisect_right(self._sorted, reward)
        return len(self._sorted) - high, high - low

    def predicted(self, reward: float) -> float:
        """Return the full reward to expect: a line through the pairs, of slope 1 while they are few.

        Who went on depends on early rewards alone, which leaves a regression on them unbiased.
        """
        if not self.pairs:
            return reward
        early, full = fmean(x for x, _ in self.pairs), fmean(y for _, y in self.pairs)
        return full + self._slope(early, full) * (reward - early)

    def _slope(self, early: float, full: float) -> float:
        spread = sum((x - early) * (x - early) for x, _ in self.pairs)
        if len(self.pairs) < _ENOUGH_FOR_A_SLOPE or spread == 0.0:
            return 1.0
        return max(0.0, sum((x - early) * (y - full) for x, y in self.pairs) / spread)


def _coin(seed: int, trial: int) -> float:
    """Return a number in [0, 1) that nothing else depends on."""
    return derived_seed(seed, "rung", trial) / 2**64
