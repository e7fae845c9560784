"""Layers of the Transformer of Vaswani et al. (2017), the norms behind the sums."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import UsageError
from autodropout.models.attention import Attention, Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerSize:
    """How large the network is.

    Attributes:
        layers: Layers of the encoder, and of the decoder.
        width: Channels of the stream, a multiple of ``heads``.
        heads: Heads of each attention.
        hidden: Channels inside the feed-forward blocks.

    Raises:
        UsageError: A number is below 1, the width is odd, or the heads do not divide it.
    """

    layers: int
    width: int
    heads: int
    hidden: int

    def __post_init__(self) -> None:
        least = min(self.layers, self.width, self.heads, self.hidden)
        if least < 1 or self.width % self.heads or self.width % 2:
            raise UsageError(
                f"the Transformer has {self.layers} layers, width {self.width}, {self.heads} heads and "
                f"{self.hidden} hidden channels; expected at least 1 of each, an even width, and heads that "
                "divide it"
            )


BASE = TransformerSize(layers=6, width=512, heads=8, hidden=2048)
"""The base model of the paper's Table 3."""

IWSLT = TransformerSize(layers=6, width=512, heads=4, hidden=1024)
"""What is usual for IWSLT-14: half the heads and half the hidden channels."""


class FeedForward(nn.Module):
    """down(relu(up(x))), Eq. 2 of Vaswani et al.

    Args:
        width: Channels of x and of the result.
        hidden: Channels in between.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        return cast(Tensor, self.down(F.relu(self.up(x))))


class EncoderBlock(nn.Module):
    """One layer of the encoder: norm(x + attention(x)), then residual(norm(h + ffn(h)))."""

    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.attention = Attention(size.width, size.heads)
        self.attention_norm = nn.LayerNorm(size.width)
        self.ffn = FeedForward(size.width, size.hidden)
        self.ffn_norm = nn.LayerNorm(size.width)
        self.residual = nn.Identity()

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Map (N, S, width) to the same shape; ``visible`` is bool, (N, 1, 1, S)."""
        h = self.attention_norm(x + self.attention(x, x, visible))
        return cast(Tensor, self.residual(self.ffn_norm(h + self.ffn(h))))


class DecoderBlock(nn.Module):
    """One layer of the decoder: the encoder's with a second attention, ``cross``, to what was encoded."""

    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.attention = Attention(size.width, size.heads)
        self.attention_norm = nn.LayerNorm(size.width)
        self.cross = Attention(size.width, size.heads)
        self.cross_norm = nn.LayerNorm(size.width)
        self.ffn = FeedForward(size.width, size.hidden)
        self.ffn_norm = nn.LayerNorm(size.width)
        self.residual = nn.Identity()

    def forward(self, x: Tensor, encoded: Tensor, visible: Tensor) -> Tensor:
        """Map (N, T, width) to the same shape, each place from itself, those before it, and the source.

        Args:
            x: The stream.
            encoded: What the encoder returned, (N, S, width).
            visible: Bool, (N, 1, 1, S), False at the source's padding.
        """
        h = self.attention_norm(x + self.attention(x, x, causal=True))
        h = self.cross_norm(h + self.cross(h, encoded, visible))
        return cast(Tensor, self.residual(self.ffn_norm(h + self.ffn(h))))

    def step(self, x: Tensor, past: Seen, source: Seen, visible: Tensor) -> tuple[Tensor, Seen]:
        """Do what ``forward`` does for one new place of each of several sequences per source.

        Args:
            x: The stream there, (N * beams, 1, width).
            past: What the self-attention saw of the places before, N * beams of them.
            source: What the other attention sees of the N sources.
            visible: As in ``forward``.

        Returns:
            The stream as it leaves, and ``past`` with this place in it.
        """
        new = self.attention.seen(x)
        past = Seen(torch.cat([past.key, new.key], 2), torch.cat([past.value, new.value], 2))
        h = self.attention_norm(x + self.attention.look(x, past))
        beams = h.view(len(visible), -1, h.shape[-1])  # all look at one source: its keys are not repeated
        h = self.cross_norm(h + self.cross.look(beams, source, visible).view_as(h))
        return self.residual(self.ffn_norm(h + self.ffn(h))), past
