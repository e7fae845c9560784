"""A search over its trials, and its learner over its updates, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from autodropout.report.record import Record, reward_of
from autodropout.significance import Summary, summarise

_MOST_POINTS = 200
_LEAST_WINDOW = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A trial on a curve.

    Attributes:
        place: Its position in the order in which the search trials ended, from 1.
        trial: Its number.
        value: The curve's value there.
    """

    place: int
    trial: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A running mean.

    Attributes:
        place: Position of the last trial in the window.
        summary: Mean and interval over the window.
    """

    place: int
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomPart:
    """What random search gives, as far as this study knows: its trials that no learning has touched.

    These are the trials drawn before the first update: random draws from the searcher's start, which is
    the starting bias of the space. They are few, so the curve of the expected best ends where they do:
    anything beyond would be invented. Only a random search with as many trials says more.

    Attributes:
        summary: Mean and interval of their rewards; None without any.
        best: Highest of their rewards; None without any.
        expected_best: (k, mean of the best of k of them over all choices of k), k from 1.
        whole: Whether every trial is one of them, because the searcher does not learn.
    """

    summary: Summary | None
    best: float | None
    expected_best: tuple[tuple[int, float], ...]
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a search went, trial by trial; trials without a finite reward of their own are left out.

    Attributes:
        ended: Number of search trials that ended, those without a reward included.
        rewards: Each trial's reward.
        best: Highest reward so far, after each trial.
        window: Trials in the running mean.
        mean: Running mean over the last ``window`` trials.
        random: The random part.
    """

    ended: int
    rewards: tuple[Point, ...]
    best: tuple[Point, ...]
    window: int
    mean: tuple[Mean, ...]
    random: RandomPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One of the searcher's own figures over its updates.

    Attributes:
        name: Its name in the ledger.
        title: Its name in words.
        meaning: What it says, in one sentence.
        values: (update, value).
    """

    name: str
    title: str
    meaning: str
    values: tuple[tuple[int, float], ...]


FIGURES = {
    "mean_reward": ("Mean reward", "Mean reward of the trials in each update, floors included."),
    "baseline": ("Baseline", "What a reward was compared with; a trial above it became more likely."),
    "entropy": ("Entropy", "Nats per live decision: how open the proposals still are; 0 is one policy."),
    "ess": ("Effective sample size", "How many of an update's trials count after importance weighting."),
    "staleness": ("Staleness", "Mean number of updates made between drawing a trial and learning from it."),
    "truncated": ("Truncated weights", "Importance weights cut at their bound, per update."),
    "grad_norm": ("Gradient norm", "Length of the gradient before the step."),
}
"""Title and meaning of the figures that the library's own searchers give."""


def progress(record: Record) -> Progress:
    """Return the rewards in the order in which trials ended, their best and their running mean."""
    rewards = _rewards(record)
    window = max(_LEAST_WINDOW, 2 * record.study.batch)
    best = accumulate(rewards, _higher)
    return Progress(
        ended=len(record.ended),
        rewards=rewards,
        best=tuple(
            Point(place=at.place, trial=held.trial, value=held.value)
            for at, held in zip(rewards, best, strict=True)
        ),
        window=window,
        mean=tuple(
            Mean(
                place=rewards[end - 1].place,
                summary=summarise([point.value for point in rewards[max(0, end - window) : end]]),
            )
            for end in _thinned(range(_LEAST_WINDOW // 2, len(rewards) + 1))
        ),
        random=_random_part(record),
    )


def learner(record: Record) -> tuple[Figure, ...]:
    """Return the searcher's figures over its updates: known ones first, then others by name."""
    names = {name for update in record.updates for name in update.figures} - {"updates"}
    known = [name for name in FIGURES if name in names]
    return tuple(_figure(record, name) for name in (*known, *sorted(names - set(known))))


def expected_best(rewards: Sequence[float], draws: int) -> float:
    """Return the mean of the best of ``draws`` rewards over all choices of that many.

    E = sum over i of x_(i) C(i - 1, k - 1) / C(n, k), x_(1) <= ... <= x_(n): the unbiased estimate of what
    the best of k independent draws would be.

    Args:
        rewards: The n rewards.
        draws: k, from 1 to n.

    Example:
        >>> expected_best([1.0, 2.0, 3.0], 2)
        2.6666666666666665
    """
    ordered = np.sort(np.asarray(rewards, dtype=np.float64))
    n = len(ordered)
    places = np.arange(n, draws, -1)  # i, from the largest down
    ratios = np.concatenate([[draws / n], (places - draws) / (places - 1)])
    return float(np.cumprod(ratios) @ ordered[draws - 1 :][::-1])


def _rewards(record: Record) -> tuple[Point, ...]:
    return tuple(
        Point(place=place, trial=trial.id, value=reward)
        for place, trial in enumerate(record.ended, start=1)
        if (reward := reward_of(trial)) is not None
    )


def _higher(held: Point, new: Point) -> Point:
    return new if new.value > held.value else held


def _random_part(record: Record) -> RandomPart:
    whole = record.study.searcher == "random"
    drawn = [trial for trial in record.ended if whole or trial.update == 0]
    rewards = [reward for trial in drawn if (reward := reward_of(trial)) is not None]
    return RandomPart(
        summary=summarise(rewards) if rewards else None,
        best=max(rewards, default=None),
        expected_best=tuple((k, expected_best(rewards, k)) for k in _thinned(range(1, len(rewards) + 1))),
        whole=whole,
    )


def _figure(record: Record, name: str) -> Figure:
    title, meaning = FIGURES.get(name, (name.replace("_", " ").capitalize(), ""))
    values = tuple(
        (update.number, update.figures[name]) for update in record.updates if name in update.figures
    )
    return Figure(name=name, title=title, meaning=meaning, values=values)


def _thinned(places: range) -> Sequence[int]:
    """Return at most _MOST_POINTS of the places, first and last among them."""
    if len(places) <= _MOST_POINTS:
        return places
    return [places[round(i * (len(places) - 1) / (_MOST_POINTS - 1))] for i in range(_MOST_POINTS)]
