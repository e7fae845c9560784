"""Attention whose scores depend on how far a key lies behind a query (Dai et al. 2019, section 3.3).

Shape suffixes: N samples, H heads, T queries, S keys of which the last T stand where the queries do, D
channels of a head, C = H D. Heads come first in products: the vectors of distances are shared by all samples.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from autodropout.models.fused_attention import attend

_LONGEST_WAVE = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relative:
    """What a layer needs to know about distances.

    Attributes:
        position: W_{k,R} R / sqrt(D), (H, D, S + 1): one vector for each distance, from S - 1 down to 0,
            before them one that plays no part.
        content_bias: u, (H, D): a query that asks for contents wherever they are.
        position_bias: v, (H, D): a query that asks for distances whatever is there.
        unseen: What ``unseen`` returns for each sample, (N T, S + 1).
    """

    position: Tensor
    content_bias: Tensor
    position_bias: Tensor
    unseen: Tensor

    def weights(self, query_NTC: Tensor, key_NSC: Tensor) -> Tensor:
        """Return softmax(A / sqrt(D)), 0 where a key comes after a query, (N, H, T, S).

        A_ij = (q_i + u) . k_j + (q_i + v) . W_{k,R} R_{i-j}          (Dai et al., section 3.3)
        """
        query, key = self._by_head(query_NTC, self.content_bias), self._by_head(key_NSC)
        scale = 1.0 / math.sqrt(query.shape[-1])
        by_distance_HNTS = self._by_distance(query_NTC)
        scores = torch.baddbmm(
            by_distance_HNTS.flatten(0, 1), query.flatten(0, 1), key.flatten(0, 1).mT, alpha=scale
        )
        return scores.softmax(-1).view(by_distance_HNTS.shape).transpose(0, 1)

    def averaged(self, weights_NHTS: Tensor, value_NSC: Tensor) -> Tensor:
        """Return the sums of the values under the weights, (N, T, C)."""
        weights_HNTS, value = weights_NHTS.transpose(0, 1), self._by_head(value_NSC)
        attended = torch.bmm(weights_HNTS.flatten(0, 1), value.flatten(0, 1))
        return attended.view(*weights_HNTS.shape[:3], -1).permute(1, 2, 0, 3).flatten(2)

    def attended(self, query_NTC: Tensor, key_NSC: Tensor, value_NSC: Tensor) -> Tensor:
        """Return averaged(weights(query, key), value) by torch's own attention, which may keep no weights."""
        query, key, value = (
            self._by_head(part, bias).transpose(0, 1)
            for part, bias in ((query_NTC, self.content_bias), (key_NSC, None), (value_NSC, None))
        )
        bias_NHTS = self._by_distance(query_NTC).transpose(0, 1)
        attended = attend(query, key, value, bias_NHTS)
        return attended.transpose(1, 2).flatten(2)

    def _by_distance(self, query_NTC: Tensor) -> Tensor:
        """Return the part of A / sqrt(D) that is there whatever the keys hold, (H, N, T, S)."""
        query = self._by_head(query_NTC, self.position_bias)
        size = (len(self.position), *self.unseen.shape)
        scores = torch.baddbmm(self.unseen.expand(size), query.flatten(1, 2), self.position)
        return shifted(scores.view(*query.shape[:3], -1))

    def _by_head(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map (N, L, C), to each head's part of which a bias is added, to (H, N, L, D)."""
        parts = x.reshape(*x.shape[:2], len(self.position), -1)
        return (parts if bias is None else parts + bias).permute(2, 0, 1, 3).contiguous()


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


def unseen(num_queries: int, num_keys: int, like: Tensor) -> Tensor:
    """Return -inf where ``shifted`` would bring a score to a key after its query, and 0 elsewhere.

    Args:
        num_queries: T.
        num_keys: S.
        like: Of the dtype and on the device that are wanted.

    Returns:
        (T, S + 1), to be added to scores by distance.

    Example:
        >>> shifted(unseen(2, 3, torch.zeros(()))).tolist()
        [[0.0, 0.0, -inf], [0.0, 0.0, 0.0]]
    """
    scores = like.new_zeros(num_queries, num_keys + 1)
    # The first column belongs to no distance; in each row but the last the next ones to keys yet to come.
    return scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).tril().flip(0), -math.inf)
