"""Our figures beside the paper's, in the unit in which those are quoted: percent."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from autodropout.comparison import Comparison
from autodropout.comparison.opening import recorded
from autodropout.comparison.quotations import Quotation
from autodropout.significance import Summary

_ACCURACY, _TOP5 = "accuracy", "top5"
_UNKNOWN = "—"


def beside_ours(
    quoted: Sequence[Quotation], comparison: Comparison, top5: Mapping[str, float]
) -> tuple[Quotation, ...]:
    """Return quotations with the mean figures of those of our arms that were run.

    Args:
        quoted: The paper's figures, accuracies or errors in percent.
        comparison: What was found; of any figure but the accuracy nothing stands beside the paper's.
        top5: What ``top5_of`` returns of it.
    """
    summaries = {row.name: row.summary if comparison.figure == _ACCURACY else None for row in comparison.rows}
    return tuple(
        quotation.beside(
            {
                name.split()[0]: _text(summary, top5.get(name), quotation.metric)
                for name, summary in summaries.items()
            }
        )
        for quotation in quoted
    )


def top5_of(out: Path) -> Mapping[str, float]:
    """Return the mean share of test images whose class is among the five likeliest, by arm.

    Arms of which a run has no such figure are left out: of few classes none has, and a run that diverged
    counts in the mean accuracy as the floor.

    Args:
        out: Directory of a comparison.
    """
    trials, names, *_ = recorded(out)
    found: dict[str, list[float | None]] = {name: [] for name in names}
    for trial in trials:
        if trial.result is not None:
            found[names[trial.tokens[0]]].append(trial.result.test.get(_TOP5))
    return {name: mean for name, shares in found.items() if (mean := _mean(shares)) is not None}


def _mean(shares: Sequence[float | None]) -> float | None:
    there = [share for share in shares if share is not None]
    return sum(there) / len(there) if there and len(there) == len(shares) else None


def _text(summary: Summary | None, top5: float | None, metric: str) -> str:
    """Return a figure as the source prints its own: with the top-5 accuracy, or with the deviation."""
    if summary is None:
        return _UNKNOWN
    mean = 100.0 * (1.0 - summary.mean if "error" in metric else summary.mean)
    if "top-5" in metric:
        return f"{mean:.2f} / {_UNKNOWN if top5 is None else f'{100.0 * top5:.2f}'}"
    return f"{mean:.2f}" if summary.spread is None else f"{mean:.2f} ± {100.0 * summary.spread:.2f}"
