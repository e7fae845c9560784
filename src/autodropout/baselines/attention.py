"""DropAttention: dropout on attention weights whose rows keep their sum (Zehui et al. 2019)."""

import torch
from torch import Tensor

from autodropout.baselines.rated import Probability, Rated, check_input, checked_probability


def drop_attention(
    weights: Tensor, p: Probability, share_queries: bool = True, training: bool = True
) -> Tensor:
    """Drop attention weights and share out anew what is left of each row: DropAttention.

    y = w * b * sum(w) / sum(w * b), sums over keys, b = 0 with probability p and 1 otherwise

    The paper's windows of several keys are left out: this is its window of 1. A row of which nothing is
    left is 0.

    Args:
        weights: Attention weights, any float dtype, shape (..., queries, keys).
        p: Drop probability.
        share_queries: One coin per key for all queries of a head, the paper's DropAttention(c); otherwise
            one coin per weight, its DropAttention(e).
        training: Return ``weights`` itself if False.

    Raises:
        ShapeError: ``weights`` has fewer than two axes or no float dtype.
        UsageError: ``p`` is no probability.
    """
    check_input(weights, 2, "(..., queries, keys)")
    p = checked_probability(p)
    if not training:
        return weights
    *batch, queries, keys = weights.shape
    coins = torch.rand(
        (*batch, 1 if share_queries else queries, keys), dtype=torch.float32, device=weights.device
    )
    exact = weights.to(torch.float64 if weights.dtype == torch.float64 else torch.float32)
    kept = torch.where(coins >= p, exact, 0.0)
    left = kept.sum(-1, keepdim=True)
    # 1 in place of a sum of 0, lest 0 / 0 reach the gradient.
    factor = exact.sum(-1, keepdim=True) / torch.where(left > 0, left, 1.0)
    return (kept * factor).to(weights.dtype)


class DropAttention(Rated):
    """Module twin of ``drop_attention``.

    Args:
        p: Drop probability.
        share_queries: One coin per key for all queries of a head, otherwise one per weight.

    Raises:
        UsageError: ``p`` is no probability.
    """

    def __init__(self, p: float, share_queries: bool = True) -> None:
        super().__init__(p)
        self.share_queries = share_queries

    def forward(self, weights: Tensor) -> Tensor:
        """Apply ``drop_attention``."""
        return drop_attention(weights, self._rate, self.share_queries, self.training)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of the module's repr."""
        return f"{super().extra_repr()}, share_queries={self.share_queries}"
