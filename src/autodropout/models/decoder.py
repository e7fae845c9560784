"""A small decoder-only Transformer in which every role is a named module."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import ShapeError, UsageError
from autodropout.models.fused_attention import attend, needs_weights
from autodropout.models.tokens import check_numbers, check_within
from autodropout.policy import ROLES
from autodropout.site import Site

_STD = 0.05  # of all first weights; GPT-2's 0.02 is for ten times the width, and slow here


class FeedForward(nn.Module):
    """down(gelu(up(x))), the hidden layer four times as wide.

    Args:
        width: Channels of x and of the result.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        return cast(Tensor, self.down(F.gelu(self.up(x))))


class DecoderBlock(nn.Module):
    """One pre-norm layer: h = x + attention(norm(x)), then residual(h + ffn(norm(h))).

    Each of the roles ``query, key, value, softmax, output, ffn, residual`` is the output of the module
    with that name. ``softmax`` and ``residual`` are identities there for this purpose: the attention
    weights, (N, heads, T, T), and the stream as it leaves the layer.

    The weights exist only while something acts on ``softmax``, such as a pattern that is not off; otherwise a
    fused kernel computes the same function without them. The two agree within rounding.

    Args:
        width: Channels of the stream, a multiple of ``heads``.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.softmax = nn.Identity()
        self.output = nn.Linear(width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width)
        self.residual = nn.Identity()

    def autodropout_sites(self) -> Sequence[Site]:
        """Return one site per role, in the order of the forward pass."""
        return [Site(name=role, layout="NTC", role=role) for role in ROLES]

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, width) to the same shape, each place from itself and those before it."""
        normed = self.attention_norm(x)
        query, key, value = (
            projection(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        attended = self._attend(query, key, value).transpose(1, 2).flatten(2)
        h = x + self.output(attended)
        return cast(Tensor, self.residual(h + self.ffn(self.ffn_norm(h))))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if not needs_weights(self.softmax, query.device):
            return attend(query, key, value, causal=True)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        weights = scores.masked_fill(later, -math.inf).softmax(-1)
        return cast(Tensor, self.softmax(weights) @ value)


class Decoder(nn.Module):
    """A language model: token and place embeddings, layers, a norm, and the embedding again as the head.

    Input and output share one matrix (Press and Wolf 2017). Places are learned, so that ``context`` is
    the longest sequence it takes.

    Args:
        vocabulary: Number of tokens.
        context: Most tokens in a sequence.
        layers: Number of ``DecoderBlock``.
        width: Channels of the stream, a multiple of ``heads``.
        heads: Attention heads of each layer.

    Raises:
        UsageError: A size is below 1, or the heads do not divide the width.

    Example:
        >>> net = Decoder(vocabulary=50, context=8, layers=1, width=16, heads=2)
        >>> net(torch.zeros(3, 8, dtype=torch.int64)).shape
        torch.Size([3, 8, 50])
    """

    def __init__(self, *, vocabulary: int, context: int, layers: int, width: int, heads: int) -> None:
        super().__init__()
        if min(vocabulary, context, layers, width, heads) < 1 or width % heads:
            raise UsageError(
                f"the decoder has vocabulary {vocabulary}, context {context}, {layers} layers, width {width} "
                f"and {heads} heads; expected at least 1 of each and heads that divide the width"
            )
        self.embedding = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(DecoderBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.apply(_begin)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens, int64, (N, T), to the logits of what follows each of them, (N, T, vocabulary).

        Raises:
            ShapeError: The tokens are no such matrix or no whole numbers, or T is larger than the context.
            UsageError: A token is not of the vocabulary; found on the CPU only, as a look at other devices
                would wait for them.
        """
        context = self.places.num_embeddings
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= context:
            raise ShapeError(
                f"tokens have shape {tuple(tokens.shape)}; expected (N, T) with T from 1 to the context, "
                f"{context}"
            )
        check_numbers(tokens)
        x = self._embedded(tokens) + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embedding.weight)

    def _embedded(self, tokens: Tensor) -> Tensor:
        try:
            return cast(Tensor, self.embedding(tokens))
        except IndexError:  # torch looks at every token anyway: a step need not look again
            check_within(tokens, self.embedding.num_embeddings)
            raise


def _begin(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
