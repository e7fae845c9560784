"""What a reader should know before believing a search, in words."""

import math
from collections.abc import Iterator
from statistics import fmean, median, stdev

from scipy.stats import spearmanr

from autodropout.report.costs import Costs
from autodropout.report.curves import Progress
from autodropout.report.record import Record, reward_of
from autodropout.significance import seed_residual, shared_seeds

_LOW_SHARE = 0.5  # of M, for the effective sample size
_SHORT_SHARE = 0.75  # of the usual duration, for the trials that were learned from first
_LEAST_TRIALS = 8
_SURE = 0.01
_STRONG = 0.3
_MANY_WITHOUT_REWARD = 0.1


def cautions(record: Record, progress: Progress, costs: Costs) -> tuple[str, ...]:
    """Return the warnings that apply to a study, one sentence or two each; none is good news."""
    found = (
        _unfinished(record),
        _unconfirmed(record),
        _noise(record),
        _not_ahead(record, progress),
        _effective_sample_size(record),
        *_durations(record, costs),
        _without_reward(progress),
        _stopped(record),
        _one_seed(record),
    )
    return tuple(caution for caution in found if caution is not None)


def seed_noise(record: Record) -> tuple[float, float] | None:
    """Return (deviation between seeds, deviation between policies) of the confirmed policies.

    The first is without what a seed does to all of them alike, since they share their seeds; the second is
    that of their means. Policies that lack a seed are left out. None with fewer than two policies or seeds.
    """
    rewards: dict[str, dict[int, float]] = {}
    for trial in record.trials:
        if trial.kind == "confirm" and trial.reward is not None:
            rewards.setdefault(trial.policy.key, {})[trial.seed] = trial.reward
    table = shared_seeds(rewards)
    if len(table) < 2 or len(table[0]) < 2:
        return None
    squares, degrees = seed_residual(table)
    return math.sqrt(squares / degrees), stdev(map(fmean, table))


def early_duration(record: Record, costs: Costs) -> float | None:
    """Return how long the trials of the first updates took, as a share of what was proposed by then.

    Median over the trials taught in the first quarter of the updates, over the median of all trials
    proposed before the last of these updates: well below 1, short trials came first and were learned from
    more often than they were proposed. None with too few trials.
    """
    first = record.updates[: math.ceil(len(record.updates) / 4)]
    if not first:
        return None
    taught = {trial for update in first for trial in update.trials}
    proposed = [t for t in costs.timed if record.timings[t.trial].queued <= first[-1].made]
    early = [timed.seconds for timed in proposed if timed.trial in taught]
    if len(early) < _LEAST_TRIALS or (usual := median(timed.seconds for timed in proposed)) == 0.0:
        return None
    return median(early) / usual


def _unfinished(record: Record) -> str | None:
    if record.study.phase == "done":
        return None
    unit = "the search" if record.study.phase == "search" else "the confirmation"
    return f"The study is not finished: {unit} was under way when this was written."


def _unconfirmed(record: Record) -> str | None:
    if record.confirmed or record.best is None:
        return None
    return (
        "No policy has been confirmed on fresh seeds. The best reward was picked for being high among "
        "noisy ones, so it overstates its policy."
    )


def _noise(record: Record) -> str | None:
    noise = seed_noise(record)
    if noise is None or noise[0] < noise[1]:
        return None
    return (
        f"The seeds differ as much as the policies do: deviation {noise[0]:.3g} between seeds of one policy, "
        "without what a seed does to all of them alike, and "
        f"{noise[1]:.3g} between the confirmed policies' means. Which of them is best is not settled; "
        "confirm with more seeds."
    )


def _not_ahead(record: Record, progress: Progress) -> str | None:
    random = progress.random
    if random.whole or random.summary is None or random.summary.high is None or not progress.mean:
        return None
    last = progress.mean[-1].summary
    learned = len(progress.rewards) - random.summary.n
    if record.study.phase == "search" or learned < progress.window or last.mean > random.summary.high:
        return None
    return (
        f"The searcher did not visibly learn: the last {last.n} trials have mean reward {last.mean:.4g}, "
        f"within or below the interval of the trials drawn before any update "
        f"({random.summary.low:.4g} to {random.summary.high:.4g})."
    )


def _effective_sample_size(record: Record) -> str | None:
    sizes = [update.figures["ess"] for update in record.updates if "ess" in update.figures]
    batch = record.study.batch
    if not sizes or batch < 2 or fmean(sizes) >= _LOW_SHARE * batch:
        return None
    return (
        f"The effective sample size is low: on average {fmean(sizes):.1f} of the {batch} trials of an update "
        "counted. M is too small for the capacity C; lower the capacity or raise the batch."
    )


def _durations(record: Record, costs: Costs) -> Iterator[str | None]:
    share = early_duration(record, costs)
    if share is not None and share < _SHORT_SHARE:
        yield (
            f"Short trials dominate the first updates: they took {share:.0%} of what trials proposed by "
            "then took (medians). What ends early is learned from first, whatever its worth."
        )
    found = costs.correlation
    if found is not None and found.p < _SURE and abs(found.rho) >= _STRONG:
        word = "longer" if found.rho > 0 else "shorter"
        yield (
            f"The {word} trials have the better rewards (rank correlation {found.rho:+.2f}, {found.n} "
            "trials), so part of what was learned may be duration."
        )


def _without_reward(progress: Progress) -> str | None:
    missing = progress.ended - len(progress.rewards)
    if missing == 0 or missing < _MANY_WITHOUT_REWARD * progress.ended:
        return None
    return (
        f"{missing} of {progress.ended} search trials returned no finite reward (diverged or failed); "
        "see the failures below."
    )


def _stopped(record: Record) -> str | None:
    short = sum(trial.kind == "search" and trial.budget < 1.0 for trial in record.trials)
    if not short:
        return None
    return (
        f"Successive halving: {short} shorter trials came before or instead of the {len(record.search)} full "
        "trainings. Rewards, curves and effects are those of full trainings, which were chosen for their "
        "early rewards; costs count all." + "".join(_foretold(record, budget) for budget in _lower(record))
    )


def _lower(record: Record) -> list[float]:
    return sorted({trial.budget for trial in record.trials if trial.budget < 1.0})


def _foretold(record: Record, budget: float) -> str:
    """Say how the rewards of short trainings go with those of full ones of the same policy and seed."""
    full = {(trial.policy.key, trial.seed): reward_of(trial) for trial in record.search}
    short = [trial for trial in record.trials if trial.kind == "search" and trial.budget == budget]
    rewards = [(reward_of(trial), full.get((trial.policy.key, trial.seed))) for trial in short]
    pairs = [(early, late) for early, late in rewards if early is not None and late is not None]
    if len(pairs) < _LEAST_TRIALS or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return ""
    found = spearmanr(pairs)
    surely_apart = found.statistic < 0.0 and found.pvalue < _SURE
    advice = ": what starts well ends badly here, so search without halving" if surely_apart else ""
    return (
        f" Of {len(pairs)} policies that went all the way, rewards after {budget:.3f} of a training go with "
        f"full ones by a rank correlation of {found.statistic:.2f}{_shown(found.pvalue)}{advice}."
    )


def _shown(p: float) -> str:
    return "" if p < _SURE else " (not told from none)"


def _one_seed(record: Record) -> str | None:
    if not record.study.common_seed:
        return None
    return (
        "All trials of the search had one seed: their rewards compare policies, but how well a policy does "
        "with other seeds only the confirmations say."
    )
