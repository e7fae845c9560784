"""Searches whose trials take no time: their rewards are the surrogate's, with the noise of seeds."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autodropout.benchmark.deviation import Noise
from autodropout.engine.base import Scored, Searcher
from autodropout.engine.confirm import Confirmation
from autodropout.engine.dealing import Dealer, Dealt
from autodropout.engine.seeds import derived_seed

Floats = NDArray[np.float64]
Tokens = tuple[int, ...]
Predict = Callable[[Sequence[Tokens]], Floats]
"""Returns the noise-free reward of each policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How searches are simulated.

    Attributes:
        trials: Trials of each.
        capacity: Trials under way at a time: the next is proposed when one ends, oldest first. 1 lets a
            searcher learn from everything before it proposes.
        confirm: How each ends.
        looks: Trials after which it is looked at what it would end with.
        budgets: Those of them that the searcher is planned for.
        seed: What all randomness follows from.
        common_seed: Whether all trials of a search have the same seed.
    """

    trials: int
    capacity: int
    confirm: Confirmation
    looks: tuple[int, ...]
    budgets: tuple[int, ...]
    seed: int
    common_seed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """What searches came to, one row per repetition.

    Attributes:
        looks: Trials made at each look.
        budgets: Those of them that the searcher was planned for.
        ended: Noise-free reward of the policy that a user would end with after confirmation,
            (repetitions, looks).
        unconfirmed: The same of the single best trial's policy, (repetitions, looks).
        proposed: Noise-free reward of every proposal, in order, (repetitions, trials).
    """

    looks: tuple[int, ...]
    budgets: tuple[int, ...]
    ended: Floats
    unconfirmed: Floats
    proposed: Floats


def simulate(
    make: Callable[[int], Searcher],
    predict: Predict,
    noise: Noise,
    setup: Setup,
    repetitions: Sequence[int],
    same: Callable[[Tokens], Tokens] = tuple,
) -> Simulated:
    """Run searches side by side, so that the surrogate is asked about all of them at once.

    Repetition k meets the same noise in its i-th trial, whoever searches; with a common seed a policy that
    is tried again has the luck that it had.

    Args:
        make: Returns a new searcher from a seed.
        predict: The surrogate.
        noise: Deviation of a reward from seed to seed.
        setup: How.
        repetitions: Numbers of the repetitions, which their seeds follow from.
        same: Returns the tokens that stand for all that describe the same policy, as ``Canonical`` does.
    """
    rngs = [np.random.default_rng(derived_seed(setup.seed, "noise", number)) for number in repetitions]
    luck = np.array([rng.standard_normal(setup.trials) for rng in rngs])
    searches = [_search(make(derived_seed(setup.seed, "searcher", number)), setup) for number in repetitions]
    asked: list[Tokens] = [next(search) for search in searches]
    tokens: list[list[Tokens]] = [[] for _ in searches]
    proposed, rewards = np.zeros_like(luck), np.zeros_like(luck)
    for trial in range(setup.trials):
        proposed[:, trial] = predict(asked)
        policies = [same(asking) for asking in asked]
        if setup.common_seed:
            _repeat_luck(luck, trial, policies, tokens)
        deviation = noise.at(proposed[:, trial], same_seed=setup.common_seed)
        rewards[:, trial] = proposed[:, trial] + deviation * luck[:, trial]
        for row, search in enumerate(searches):
            tokens[row].append(policies[row])
            asked[row] = search.send(float(rewards[row, trial]))
    ends = [
        _ends(tokens[row], proposed[row], rewards[row], noise, setup, number)
        for row, number in enumerate(repetitions)
    ]
    return Simulated(
        looks=setup.looks,
        budgets=setup.budgets,
        ended=np.array([ended for ended, _ in ends]),
        unconfirmed=np.array([unconfirmed for _, unconfirmed in ends]),
        proposed=proposed,
    )


def _search(searcher: Searcher, setup: Setup) -> Generator[Tokens, float, None]:
    """Yield what is to be tried, take its reward, teach every M of them: the loop's two queues.

    After the last trial it yields nothing to try any more: no tokens, for ever.
    """
    dealer = Dealer(searcher, update=0)
    running: deque[Dealt] = deque()
    finished: list[Scored] = []
    for trial in range(1, setup.trials + 1):
        while len(running) < min(setup.capacity, setup.trials - trial + 1):
            running.append(dealer.deal())
        dealt = running.popleft()
        reward = yield dealt.proposal.tokens
        finished.append(_scored(trial, dealt, reward))
        if len(finished) == searcher.batch:
            searcher.learn(finished)
            dealer.learned()
            finished = []
    while True:
        yield ()


def _repeat_luck(
    luck: Floats, trial: int, asked: Sequence[Tokens], tried: Sequence[Sequence[Tokens]]
) -> None:
    """Give a policy that was tried before, with the same seed, the luck that it had."""
    for row, tokens in enumerate(asked):
        if tokens in tried[row]:
            luck[row, trial] = luck[row, tried[row].index(tokens)]


def _scored(trial: int, dealt: Dealt, reward: float) -> Scored:
    return Scored(
        trial=trial,
        tokens=dealt.proposal.tokens,
        log_prob=dealt.proposal.log_prob,
        reward=reward,
        floored=False,
        update=dealt.update,
    )


def _ends(
    tokens: Sequence[Tokens], values: Floats, rewards: Floats, noise: Noise, setup: Setup, number: int
) -> tuple[list[float], list[float]]:
    """Return the value that the search would end with at each look, confirmed and unconfirmed.

    Confirmation gives all policies the same seeds.
    """
    rng = np.random.default_rng(derived_seed(setup.seed, "confirm", number))
    top = max(setup.confirm.top, 1)
    luck = rng.standard_normal((top, setup.confirm.seeds)).mean(axis=1)
    ended, unconfirmed = [], []
    for look in setup.looks:
        best = _top(tokens, rewards[:look], top)
        means = values[best] + noise.at(values[best], same_seed=True) * luck[: len(best)]
        winner = best[int(np.argmax(means))] if setup.confirm.top else best[0]
        ended.append(float(values[winner]))
        unconfirmed.append(float(values[best[0]]))
    return ended, unconfirmed


def _top(tokens: Sequence[Tokens], rewards: Floats, top: int) -> list[int]:
    """Return the trials with the highest rewards, one per policy."""
    found: dict[Tokens, int] = {}
    for trial in np.argsort(-rewards, kind="stable"):
        if len(found) == top:
            break
        found.setdefault(tokens[trial], int(trial))
    return list(found.values())
