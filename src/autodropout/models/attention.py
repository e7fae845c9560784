"""Scaled dot-product attention whose five places are named modules."""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from autodropout.models.fused_attention import attend, needs_weights


class Seen(NamedTuple):
    """What queries look at: keys and values split into heads, (N, heads, S, width / heads)."""

    key: Tensor
    value: Tensor


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2), from one sequence to another or to itself.

    Each of the roles ``query, key, value, softmax, output`` is the output of the module with that name;
    ``softmax`` is an identity there for this purpose: the attention weights, (N, heads, T, S).

    The weights exist only while something acts on ``softmax``, such as a pattern that is not off; otherwise a
    fused kernel computes the same function without them. The two agree within rounding.

    Args:
        width: Channels of both sequences and of the result, a multiple of ``heads``.
        heads: How many.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.softmax = nn.Identity()
        self.output = nn.Linear(width, width)

    def forward(
        self, x: Tensor, attended: Tensor, visible: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Let each place of a sequence look at those of another.

        Args:
            x: Who looks, (N, T, width).
            attended: What they look at, (N, S, width).
            visible: Bool, broadcastable to (N, heads, T, S), True where they may look; None for everywhere.
            causal: Places see themselves and those before; only where both are one sequence, and
                without ``visible``.

        Returns:
            (N, T, width).
        """
        query = self._split(self.query(x))
        return self._attended(query, self.seen(attended), visible, causal)

    def seen(self, attended: Tensor) -> Seen:
        """Return what queries look at in a sequence, (N, S, width)."""
        return Seen(self._split(self.key(attended)), self._split(self.value(attended)))

    def look(self, x: Tensor, seen: Seen, visible: Tensor | None = None) -> Tensor:
        """Do what ``forward`` does, keys and values being given."""
        return self._attended(self._split(self.query(x)), seen, visible, causal=False)

    def _attended(self, query: Tensor, seen: Seen, visible: Tensor | None, causal: bool) -> Tensor:
        heads = self._attend(query, seen, visible, causal)
        return cast(Tensor, self.output(heads.transpose(1, 2).flatten(2)))

    def _split(self, h: Tensor) -> Tensor:
        return h.view(*h.shape[:-1], self.heads, -1).transpose(1, 2)

    def _attend(self, query: Tensor, seen: Seen, visible: Tensor | None, causal: bool) -> Tensor:
        if not needs_weights(self.softmax, query.device):
            return attend(query, seen.key, seen.value, visible, causal)
        scores = query @ seen.key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if causal:
            visible = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if visible is not None:
            scores = scores.masked_fill(~visible, -math.inf)
        return cast(Tensor, self.softmax(scores.softmax(-1)) @ seen.value)
