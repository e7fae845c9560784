"""Attention whose scores depend on how far a key lies behind a query (Dai et al. 2019, section 3.3).

Shape suffixes: N samples, H heads, T queries, S keys of which the last T stand where the queries do, D
channels of a head, C channels of all.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_LONGEST_WAVE = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relative:
    """What a layer needs to know about distances.

    Attributes:
        position: W_{k,R} R: one vector for each distance, from S - 1 down to 0, before them one row of
            zeros; (H, S + 1, D).
        content_bias: u, (H, D): a query that asks for contents wherever they are.
        position_bias: v, (H, D): a query that asks for distances whatever is there.
        later: Bool, (T, S), True where a key comes after a query.
    """

    position: Tensor
    content_bias: Tensor
    position_bias: Tensor
    later: Tensor

    def scores(self, query_NHTD: Tensor, key_NHSD: Tensor) -> Tensor:
        """Return A of Dai et al. over sqrt(D), -inf where a key comes after a query, (N, H, T, S).

        A_ij = (q_i + u) . k_j + (q_i + v) . W_{k,R} R_{i-j}
        """
        content = self.asking(query_NHTD) @ key_NHSD.transpose(-1, -2) / math.sqrt(query_NHTD.shape[-1])
        return content + self.distance_scores(query_NHTD)

    def attended(self, query_NHTD: Tensor, key_NHSD: Tensor, value_NHSD: Tensor) -> Tensor:
        """Return softmax(scores) times the values, (N, H, T, D), by torch's own attention.

        On a device that has a memory-efficient kernel for attention with a bias, the weights never exist.
        """
        return F.scaled_dot_product_attention(
            self.asking(query_NHTD), key_NHSD, value_NHSD, attn_mask=self.distance_scores(query_NHTD)
        )

    def asking(self, query_NHTD: Tensor) -> Tensor:
        """Return q + u."""
        return query_NHTD + self.content_bias[:, None]

    def distance_scores(self, query_NHTD: Tensor) -> Tensor:
        """Return the part of the scores that is there whatever the keys hold, (N, H, T, S)."""
        query = (query_NHTD + self.position_bias[:, None]) / math.sqrt(query_NHTD.shape[-1])
        moved = shifted(query @ self.position.transpose(-1, -2))
        return moved.masked_fill_(self.later, -math.inf)


def distances(length: int, channels: int, like: Tensor) -> Tensor:
    """Return R, the sinusoids of the distances from ``length`` - 1 down to 0, (length, channels).

    The first half of the channels are sines, the second half cosines; wave lengths grow geometrically from
    2 pi to 10,000 times that (Vaswani et al. 2017).

    Args:
        length: How many, at least 1.
        channels: An even number.
        like: Of the dtype and on the device that are wanted.
    """
    waves = torch.arange(0, channels, 2, device=like.device, dtype=torch.float32) / channels
    places = torch.arange(length - 1, -1, -1, device=like.device, dtype=torch.float32)
    angles = places[:, None] * _LONGEST_WAVE**-waves
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(like.dtype)


def shifted(scores: Tensor) -> Tensor:
    """Bring scores by distance to the keys that lie at these distances (Dai et al. 2019, appendix B).

    Args:
        scores: (..., T, S + 1); column 0 holds anything, column 1 + c the scores of distance S - 1 - c.

    Returns:
        (..., T, S): the score of query i, which is key S - T + i, and key j. What stands at keys after the
        query has no meaning.

    Example:
        >>> scores = torch.tensor([[0, 2, 1, 0], [0, 12, 11, 10]])  # of two queries and three keys
        >>> shifted(scores).tolist()
        [[1, 0, 0], [12, 11, 10]]
    """
    *batch, t, width = scores.shape
    by_row = scores.reshape(*batch, width, t)[..., 1:, :]
    return by_row.reshape(*batch, t, width - 1)


def later(num_queries: int, num_keys: int, device: torch.device) -> Tensor:
    """Return True where key j comes after query i, which is key S - T + i, bool, (T, S)."""
    ones = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return ones.triu(num_keys - num_queries + 1)
