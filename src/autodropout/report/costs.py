"""What a search cost, and where the time went."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from scipy.stats import spearmanr

from autodropout.engine.ledger_records import Timing
from autodropout.report.record import Record, reward_of
from autodropout.result import Trial

PAUSE_SECONDS = 60.0
"""A time without any running trial counts as a stop, not as idleness, if it is longer than this."""

_LEAST_FOR_CORRELATION = 10
_LATE = 0.1  # share of a training by which its ending may be heard of late

_Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A search trial that returned, with its cost.

    Attributes:
        trial: Its number.
        seconds: Its training time.
        reward: What it returned; None if it diverged.
    """

    trial: int
    seconds: float
    reward: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation of reward and training time.

    Attributes:
        rho: From -1 to 1.
        p: Two-sided p-value.
        n: Number of trials.
    """

    rho: float
    p: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Costs of all trials of all kinds that ended.

    Attributes:
        trials: Trials that ended.
        median: Median training time of a search trial in seconds; None without any.
        training: Seconds spent in training by trials that returned.
        occupied: Seconds for which workers were busy with trials, failed last attempts included; never more
            of them at a time than there are.
        wall: Seconds from the first start to the last ending, stops of over a minute left out.
        workers: Number of workers; where the study does not say, most trials that trained at once.
        updating: Seconds spent in updates of the searcher.
        timed: The search trials that returned, by number.
        correlation: Reward against training time; None with too few trials or without any spread.
    """

    trials: int
    median: float | None
    training: float
    occupied: float
    wall: float
    workers: int
    updating: float
    timed: tuple[Timed, ...]
    correlation: Correlation | None

    @property
    def outside(self) -> float | None:
        """Share of the workers' time that was not spent in training; None before any trial ended."""
        spent = self.workers * self.wall
        return max(0.0, 1.0 - self.training / spent) if spent > 0.0 else None

    @property
    def busy(self) -> float | None:
        """Share of the workers' time in which they ran trials; None before any trial ended."""
        spent = self.workers * self.wall
        return min(1.0, self.occupied / spent) if spent > 0.0 else None


def costs(record: Record) -> Costs:
    """Add up what the trials cost, from when they started and ended and from what they measured."""
    spans = sorted(_spans(record))
    timed = tuple(_timed(record.search))
    results = [trial.result for trial in record.trials if trial.result is not None]
    workers = _workers(record)
    return Costs(
        trials=len(spans),
        median=median(trial.seconds for trial in timed) if timed else None,
        training=sum(result.seconds or 0.0 for result in results),
        occupied=_occupied(spans, workers),
        wall=_wall(spans),
        workers=workers,
        updating=sum(update.seconds for update in record.updates),
        timed=timed,
        correlation=_correlation(timed),
    )


def _spans(record: Record) -> Iterable[_Span]:
    return filter(None, map(_span, record.timings.values()))


def _span(timing: Timing) -> _Span | None:
    if timing.started is None or timing.ended is None:
        return None
    return timing.started, max(timing.started, timing.ended)


def _trainings(record: Record) -> Iterable[_Span]:
    """Yield when trials surely trained: at the end of their spans, for they may have waited in a pool."""
    for trial in record.trials:
        span = _span(record.timings[trial.id])
        if span is not None and trial.result is not None and trial.result.seconds is not None:
            started, ended = span
            length = min(trial.result.seconds, ended - started)
            yield ended - length, ended - _LATE * length


def _timed(trials: Iterable[Trial]) -> Iterable[Timed]:
    for trial in trials:
        if trial.result is not None and trial.result.seconds is not None:
            yield Timed(trial=trial.id, seconds=trial.result.seconds, reward=reward_of(trial))


def _wall(spans: list[_Span]) -> float:
    wall, until = 0.0, spans[0][0] if spans else 0.0
    for started, ended in spans:
        idle = max(0.0, started - until)
        wall += (idle if idle <= PAUSE_SECONDS else 0.0) + max(0.0, ended - max(started, until))
        until = max(until, ended)
    return wall


def _workers(record: Record) -> int:
    match record.study.options:
        case {"executor": "inline"}:
            return 1
        case {"executor": "local", "workers": int(workers)}:
            return workers
    return max([1, *(running for running, _ in _levels(_trainings(record)))])


def _occupied(spans: Iterable[_Span], workers: int) -> float:
    return sum(min(running, workers) * seconds for running, seconds in _levels(spans))


def _levels(spans: Iterable[_Span]) -> Iterable[tuple[int, float]]:
    """Yield how many spans there were at once, and for how long, from change to change."""
    # At equal times an ending comes before a start: the slot is handed on.
    changes = sorted(change for started, ended in spans for change in ((started, 1), (ended, -1)))
    running = 0
    for (now, change), (until, _) in pairwise(changes):
        running += change
        yield running, until - now


def _correlation(timed: tuple[Timed, ...]) -> Correlation | None:
    pairs = [(trial.reward, trial.seconds) for trial in timed if trial.reward is not None]
    rewards, seconds = [r for r, _ in pairs], [s for _, s in pairs]
    if len(pairs) < _LEAST_FOR_CORRELATION or len(set(rewards)) == 1 or len(set(seconds)) == 1:
        return None
    found = spearmanr(rewards, seconds)
    return Correlation(rho=float(found.statistic), p=float(found.pvalue), n=len(pairs))
