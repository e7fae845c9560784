"""The luck of the test set: a bootstrap over test examples."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autodropout.errors import UsageError
from autodropout.significance import checked_fraction

_CHUNK = 1_000_000  # resampled examples held in memory at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrapped:
    """The difference between two arms over resampled test examples.

    Attributes:
        n: Number of test examples.
        difference: Mean of first minus second.
        low: Lower end of the percentile interval.
        high: Upper end.
        draws: Number of resamples.
    """

    n: int
    difference: float
    low: float
    high: float
    draws: int


def bootstrap_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Bootstrapped:
    """Return the difference of two arms with an interval over resampled test examples.

    Test examples are drawn with replacement, the same ones for both arms; the interval runs between the
    percentiles of the mean difference (Efron 1979). It covers the luck of the test set, which the t test
    over seeds does not; the t test covers the luck of training, which this does not.

    Args:
        first: Score of every test example, such as 1 for correct and 0 for wrong; shape (examples,) or
            (runs, examples), runs being averaged first.
        second: The other arm's scores of the same examples in the same order.
        draws: Number of resamples, at least 100.
        seed: Seed of the resampling.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        UsageError: Shapes do not fit, a score is NaN or infinite, or ``draws`` is too small.
    """
    if draws < 100:
        raise UsageError(f"draws is {draws!r}; percentiles need at least 100 resamples")
    a, b = _scores(first, "first"), _scores(second, "second")
    if a.shape != b.shape:
        raise UsageError(f"first scores {len(a)} test examples and second {len(b)}; give the same ones")
    means = _resampled_means(a - b, draws, seed)
    tail = (1.0 - checked_fraction("confidence", confidence)) / 2
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Bootstrapped(
        n=len(a), difference=float((a - b).mean()), low=float(low), high=float(high), draws=draws
    )


def _resampled_means(differences: npt.NDArray[np.float64], draws: int, seed: int) -> npt.NDArray[np.float64]:
    rng, n = np.random.default_rng(seed), len(differences)
    rows = max(1, _CHUNK // n)
    sizes = [min(rows, draws - start) for start in range(0, draws, rows)]
    return np.concatenate([differences[rng.integers(n, size=(size, n))].mean(axis=1) for size in sizes])


def _scores(scores: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        raise UsageError(
            f"{name} has shape {array.shape}; expected (examples,) or (runs, examples), not empty"
        )
    if not np.isfinite(array).all():
        raise UsageError(f"{name} has a NaN or infinite score; every test example needs a number")
    return array if array.ndim == 1 else array.mean(axis=0)
