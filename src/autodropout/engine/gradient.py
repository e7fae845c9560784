"""The estimate of the gradient (AutoDropout, Eqs. 2 and 3) and how much a batch says about it."""

import math

import torch
from torch import Tensor

_LARGEST_LOG_WEIGHT = 30.0
"""Cap of the bare ratio's logarithm: beyond it float32 squares of the gradient overflow inside Adam."""


def importance_weights(log_prob: Tensor, drawn_log_prob: Tensor, bound: float | None) -> Tensor:
    """Return w_i = min(P(r_i; theta) / P(r_i; theta_i), bound), constants to autograd.

    Args:
        log_prob: log P(r_i; theta) as it is now, (M,).
        drawn_log_prob: log P(r_i; theta_i) when r_i was drawn, (M,).
        bound: Largest weight; None for the paper's bare ratio (capped at e^30, where float32 ends).

    Returns:
        float64, (M,).
    """
    most = _LARGEST_LOG_WEIGHT if bound is None else math.log(bound)
    return (log_prob.detach().double() - drawn_log_prob.double()).clamp(max=most).exp()


def reinforce_loss(
    log_prob: Tensor, drawn_log_prob: Tensor, advantage: Tensor, bound: float | None = None
) -> Tensor:
    """Return the scalar whose gradient, negated, is the estimate of the gradient of E[Perf].

    grad J = 1/M sum_i w_i A_i grad log P(r_i; theta)                     (AutoDropout, Eq. 3)

    with Eq. 2's baseline inside A_i = (Perf(r_i) - b) / s and w_i = P(r_i; theta) / P(r_i; theta_i) over
    the whole sequence, truncated above. With constant b and no truncation its expectation is the exact
    gradient, however stale theta_i is. (The paper says that it minimises J: a misprint.)

    Args:
        log_prob: log P(r_i; theta), (M,), differentiable.
        drawn_log_prob: log P(r_i; theta_i), (M,).
        advantage: A_i, (M,).
        bound: Largest w_i; None for none.

    Returns:
        float64, ().
    """
    weights = importance_weights(log_prob, drawn_log_prob, bound)
    return -(weights * advantage.double() * log_prob.double()).mean()


def effective_sample_size(weights: Tensor) -> float:
    """Return (sum w)^2 / sum w^2, scaled first so that tiny weights do not vanish when squared."""
    scaled = weights / weights.max().clamp(min=torch.finfo(weights.dtype).tiny)
    return float(scaled.sum() ** 2 / (scaled**2).sum().clamp(min=1.0))
