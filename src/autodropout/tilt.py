"""The starting bias: as near to uniform as a gentle drop rate allows."""

import math
from collections.abc import Callable, Sequence
from itertools import product

GENTLE = (0.045, 0.11)
"""Band for the median drop rate of a site that is on. It lies inside the .03 to .15 that is promised,
because rotation and shear, which the tilt does not see in full, move the median a little."""

_STEEPEST = 64.0


def tilted(
    cardinalities: Sequence[int], rates: Callable[[tuple[int, ...]], Sequence[float]]
) -> tuple[tuple[float, ...], ...]:
    """Return a probability for every value of every choice under which the median rate is gentle.

    The choices stay independent. Value v of choice i gets a weight proportional to
    exp(-lambda * e_i(v)), e_i(v) being the mean log drop rate over all combinations that hold it;
    lambda is the number of smallest size that brings the median into GENTLE, 0 (uniform) if it is
    there already.

    Args:
        cardinalities: Number of values of each choice.
        rates: Drop rates (several, equally likely) that a combination of tokens leads to.
    """
    combinations = list(product(*(range(n) for n in cardinalities)))
    logs = [[math.log(rate) for rate in rates(tokens)] for tokens in combinations]
    effects = [
        [
            _mean([_mean(log) for tokens, log in zip(combinations, logs, strict=True) if tokens[i] == value])
            for value in range(n)
        ]
        for i, n in enumerate(cardinalities)
    ]
    low, high = (math.log(bound) for bound in GENTLE)

    def weights(steepness: float) -> list[list[float]]:
        return [_softmax([-steepness * effect for effect in row]) for row in effects]

    def median(steepness: float) -> float:
        rows = weights(steepness)
        shares = [math.prod(row[t] for row, t in zip(rows, tokens, strict=True)) for tokens in combinations]
        return _weighted_median(
            [(value, share / len(log)) for log, share in zip(logs, shares, strict=True) for value in log]
        )

    steepness = 0.0
    if median(0.0) > high:
        steepness = _bisect(lambda s: median(s) <= high, 0.0, _STEEPEST)
    elif median(0.0) < low:
        steepness = -_bisect(lambda s: median(-s) >= low, 0.0, _STEEPEST)
    return tuple(tuple(row) for row in weights(steepness))


def _bisect(reached: Callable[[float], bool], below: float, above: float) -> float:
    for _ in range(20):
        middle = (below + above) / 2
        below, above = (below, middle) if reached(middle) else (middle, above)
    return above


def _weighted_median(pairs: list[tuple[float, float]]) -> float:
    half, seen = sum(weight for _, weight in pairs) / 2, 0.0
    for value, weight in sorted(pairs):
        seen += weight
        if seen >= half:
            return value
    return max(pairs)[0]


def _softmax(logits: list[float]) -> list[float]:
    largest = max(logits)
    exponentials = [math.exp(logit - largest) for logit in logits]
    return [e / sum(exponentials) for e in exponentials]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
