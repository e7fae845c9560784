"""Trials, best policies, failures and provenance, as rows."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from autodropout.conv_space import ConvSpace
from autodropout.errors import UsageError
from autodropout.pattern import ConvPattern, Pattern
from autodropout.policy import Policy
from autodropout.report.record import Record, log_file, reward_of
from autodropout.result import Confirmed, Trial, TrialState
from autodropout.significance import Paired, Summary, paired_difference, summarise
from autodropout.space import Space

_TAIL_BYTES = 8192
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One search trial.

    Attributes:
        trial: Its number.
        state: Its state.
        diverged: Whether it returned a reward that is not finite.
        reward: The finite reward that it returned; None if there is none.
        test: Held-out figures that it returned.
        seconds: Training time; None if it is not known.
        attempts: Attempts started.
        update: Updates that had been made when it was proposed.
        seed: Its seed.
        rates: Exact drop rate of each site that is on, by key.
        policy: Its policy.
        error: What went wrong, if anything did.
    """

    trial: int
    state: TrialState
    diverged: bool
    reward: float | None
    test: dict[str, float]
    seconds: float | None
    attempts: int
    update: int
    seed: int
    rates: dict[str, float]
    policy: Policy
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopPolicy:
    """One of the best policies.

    Attributes:
        confirmed: The policy, its search trial and its confirming rewards (none before confirmation).
        searched: Reward of its search trial: the one that chose it, hence optimistic.
        summary: Mean and interval of the confirming rewards; None without any.
    """

    confirmed: Confirmed
    searched: float | None
    summary: Summary | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A trial that failed, diverged, or needed more than one attempt.

    Attributes:
        trial: Its number.
        attempt: Its last attempt.
        state: What became of it.
        error: What went wrong, in one line.
        tail: Last lines of what its last attempt printed; empty where nothing was kept.
    """

    trial: int
    attempt: int
    state: TrialState
    error: str
    tail: str


def trial_rows(record: Record) -> tuple[TrialRow, ...]:
    """Return all search trials, best first, those without a reward last."""
    rows = [_row(trial, record.space) for trial in record.search]
    return tuple(sorted(rows, key=lambda row: (row.reward is None, -(row.reward or 0.0), row.trial)))


def top_policies(record: Record, number: int) -> tuple[TopPolicy, ...]:
    """Return the confirmed policies, highest mean first; before confirmation the best search trials.

    Args:
        record: The study.
        number: Most to return.
    """
    found = record.confirmed or _unconfirmed(record, number)
    rewards = {trial.id: reward_of(trial) for trial in record.search}
    return tuple(
        TopPolicy(
            confirmed=confirmed,
            searched=rewards.get(confirmed.trial),
            summary=summarise(confirmed.rewards) if confirmed.rewards else None,
        )
        for confirmed in found[:number]
    )


def lead(record: Record) -> Paired | None:
    """Return by how much the best confirmed policy beats the second, paired by seed; None without two."""
    match record.confirmed:
        case (first, second, *_) if len(first.rewards) == len(second.rewards):
            return paired_difference(first.rewards, second.rewards)
    return None


def failures(record: Record, *, most: int, lines: int = 20) -> tuple[Failure, ...]:
    """Return what went wrong, newest last, with the end of each log.

    Args:
        record: The study.
        most: Most failures to return; the newest are kept.
        lines: Most lines of a log.
    """
    wrong = [trial for trial in record.trials if trial.error is not None]
    return tuple(
        Failure(
            trial=trial.id,
            attempt=trial.attempt,
            state=trial.state,
            error=trial.error or "",
            tail=log_tail(log_file(record.out, trial.id, trial.attempt), lines),
        )
        for trial in wrong[-most:]
    )


def log_tail(path: Path, lines: int) -> str:
    """Return the last lines of a log without control characters; empty if there is no such file.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error}); check its permissions") from error
    return "\n".join(_CONTROL.sub("", line) for line in text.strip("\n").split("\n")[-lines:])


def drop_rate(key: str, pattern: Pattern, space: Space) -> float | None:
    """Return the exact drop rate of a pattern at a site of the space; None where the map is unknown."""
    if not isinstance(pattern, ConvPattern):
        return pattern.drop_rate()
    sizes = map_sizes(space)
    return _conv_rate(pattern, *sizes[key]) if key in sizes else None


def map_sizes(space: Space) -> dict[str, tuple[int, int]]:
    """Return the (height, width) of each conv site's map; empty for a space of tokens."""
    return dict(space.sites) if isinstance(space, ConvSpace) else {}


@lru_cache(maxsize=2**16)
def _conv_rate(pattern: ConvPattern, height: int, width: int) -> float:
    """Compute a drop rate once: a searcher that has learned proposes the same patterns again and again."""
    return pattern.drop_rate(height, width)


def _row(trial: Trial, space: Space) -> TrialRow:
    rates = {key: drop_rate(key, pattern, space) for key, pattern in trial.policy.sites.items()}
    result = trial.result
    return TrialRow(
        trial=trial.id,
        state=trial.state,
        diverged=result is not None and reward_of(trial) is None,
        reward=reward_of(trial),
        test=dict(result.test) if result else {},
        seconds=result.seconds if result else None,
        attempts=trial.attempt,
        update=trial.update,
        seed=trial.seed,
        rates={key: rate for key, rate in rates.items() if rate is not None},
        policy=trial.policy,
        error=trial.error,
    )


def _unconfirmed(record: Record, number: int) -> tuple[Confirmed, ...]:
    rewarded = [(reward, trial) for trial in record.search if (reward := reward_of(trial)) is not None]
    best: dict[Policy, Confirmed] = {}
    for reward, trial in sorted(rewarded, key=lambda pair: (-pair[0], pair[1].id)):
        if len(best) == number:
            break
        best.setdefault(
            trial.policy,
            Confirmed(
                policy=trial.policy,
                tokens=trial.tokens,
                trial=trial.id,
                rewards=(),
                reward=reward,
                spread=None,
            ),
        )
    return tuple(best.values())
