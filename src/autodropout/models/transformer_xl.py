"""Transformer-XL (Dai et al. 2019): segments with a memory, distances for places, every role a module."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import ShapeError, UsageError
from autodropout.models.fused_attention import needs_weights
from autodropout.models.memory import Memory
from autodropout.models.relative import Relative, distances, unseen
from autodropout.models.tokens import check_numbers, check_within
from autodropout.policy import ROLES
from autodropout.site import Site

_STD = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class XlSize:
    """How large a Transformer-XL is. The defaults are Dai et al.'s for Penn Treebank.

    Attributes:
        vocabulary: Number of tokens.
        layers: Number of ``XlBlock``.
        heads: Attention heads of each layer.
        width: Channels of the stream, an even multiple of ``heads``.
        inner: Channels within the feed-forward layer.
        shared_positions: All layers have one W_{k,R}, as they have one u and one v. Otherwise each has its
            own, as the paper's equations do; the 24 million parameters that it states are reached only with
            one for all (24.2 against 26.4).

    Raises:
        UsageError: A size is below 1, the heads do not divide the width, or it is odd.
    """

    vocabulary: int = 10_000
    layers: int = 16
    heads: int = 10
    width: int = 380
    inner: int = 900
    shared_positions: bool = True

    def __post_init__(self) -> None:
        sizes = (self.vocabulary, self.layers, self.heads, self.width, self.inner)
        if min(sizes) < 1 or self.width % self.heads or self.width % 2:
            raise UsageError(
                f"the Transformer-XL has vocabulary {self.vocabulary}, {self.layers} layers, {self.heads} "
                f"heads, width {self.width} and {self.inner} inner channels; expected at least 1 of each, an "
                "even width and heads that divide it"
            )


class XlFeedForward(nn.Module):
    """down(relu(up(x))).

    Args:
        width: Channels of x and of the result.
        inner: Channels between.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        return cast(Tensor, self.down(F.relu(self.up(x))))


class XlBlock(nn.Module):
    """One post-norm layer: h = norm(x + attention(x)), then residual(norm(h + ffn(h))).

    Each of the roles ``query, key, value, softmax, output, ffn, residual`` is the output of the module
    with that name. ``key`` and ``value`` also cover the memory, (N, M + T, width); ``softmax`` and
    ``residual`` are identities there for this purpose: the attention weights, (N, heads, T, M + T), and the
    stream as it leaves the layer.

    The weights are handed out only while something acts on ``softmax``, such as a pattern that is not off;
    otherwise torch's own attention computes the same function, by a memory-efficient kernel where it has one:
    none for gradients on the CPU, where it would keep the weights, too, and is left aside as slower. The ways
    agree within rounding.

    Args:
        size: Of the network.
    """

    def __init__(self, size: XlSize) -> None:
        super().__init__()
        width = size.width
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.softmax = nn.Identity()
        self.output = nn.Linear(width, width, bias=False)
        self.attention_norm = nn.LayerNorm(width)
        self.ffn = XlFeedForward(width, size.inner)
        self.ffn_norm = nn.LayerNorm(width)
        self.residual = nn.Identity()

    def autodropout_sites(self) -> Sequence[Site]:
        """Return one site per role, in the order of the forward pass."""
        return [Site(name=role, layout="NTC", role=role) for role in ROLES]

    def forward(self, x: Tensor, past: Tensor, relative: Relative) -> Tensor:
        """Map (N, T, width) to the same shape, each place from itself and those before it.

        Args:
            x: The segment.
            past: What this layer's input was before it, (N, M, width).
            relative: Of M + T distances.
        """
        whole = torch.cat([past, x], dim=1) if past.shape[1] else x
        attended = self._attend(self.query(x), self.key(whole), self.value(whole), relative)
        h = self.attention_norm(x + self.output(attended))
        return cast(Tensor, self.residual(self.ffn_norm(h + self.ffn(h))))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, relative: Relative) -> Tensor:
        keeps_weights = query.device.type == "cpu" and query.requires_grad
        if needs_weights(self.softmax, query.device) or keeps_weights:
            return relative.averaged(self.softmax(relative.weights(query, key)), value)
        return relative.attended(query, key, value)


class TransformerXL(nn.Module):
    """A language model that reads a text segment by segment and remembers what it has read.

    Input and output share one matrix; the output has a bias. ``embedding`` and ``final`` are modules of
    their own, so that baselines may act there: the embedded tokens before they are scaled by sqrt(width),
    and the stream before the softmax.

    Args:
        size: How large it is.

    Example:
        >>> net = TransformerXL(XlSize(vocabulary=50, layers=2, heads=2, width=16, inner=32))
        >>> memory = Memory(8)
        >>> [tuple(net(segment, memory).shape) for segment in torch.zeros(2, 3, 4, dtype=torch.int64)]
        [(3, 4, 50), (3, 4, 50)]
    """

    def __init__(self, size: XlSize) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.ModuleList(
            nn.Linear(size.width, size.width, bias=False)
            for _ in range(1 if size.shared_positions else size.layers)
        )
        self.content_bias = nn.Parameter(torch.empty(size.heads, size.width // size.heads))
        self.position_bias = nn.Parameter(torch.empty(size.heads, size.width // size.heads))
        self.blocks = nn.ModuleList(XlBlock(size) for _ in range(size.layers))
        self.final = nn.Identity()
        self.bias = nn.Parameter(torch.zeros(size.vocabulary))
        self.apply(_begin)
        nn.init.normal_(self.content_bias, std=_STD)
        nn.init.normal_(self.position_bias, std=_STD)

    def forward(self, tokens: Tensor, memory: Memory | None = None) -> Tensor:
        """Map a segment to the logits of what follows each of its tokens.

        Args:
            tokens: int64, (N, T), at least one token.
            memory: What came before; this segment is added to it. None: nothing did.

        Returns:
            Logits, (N, T, vocabulary).

        Raises:
            ShapeError: The tokens are no such matrix or no whole numbers, or the memory is of another batch
                or another network.
            UsageError: A token is not of the vocabulary; looked for on the CPU only, as a look at other
                devices would wait for them.
        """
        self._check(tokens)
        memory = Memory(0) if memory is None else memory
        memory.check(self.size.layers, self.size.width)
        x = self.embedding(tokens) * math.sqrt(self.size.width)
        pasts = [memory.past(layer, x) for layer in range(self.size.layers)]
        relatives = self._relatives(x, pasts[0].shape[1])
        inputs = []
        for layer, (block, past) in enumerate(zip(self.blocks, pasts, strict=True)):
            inputs.append(x)
            x = block(x, past, relatives[layer % len(relatives)])
        memory.keep(inputs)
        return F.linear(self.final(x), self.embedding.weight, self.bias)

    def _relatives(self, x: Tensor, num_past: int) -> list[Relative]:
        n, length, width = x.shape
        table = distances(length + num_past, width, like=self.content_bias)
        mask = unseen(length, length + num_past, like=self.content_bias).repeat(n, 1)
        shape = self.content_bias.shape
        scale = math.sqrt(shape[-1])
        return [
            Relative(
                position=F.pad(projection(table) / scale, (0, 0, 1, 0)).view(-1, *shape).permute(1, 2, 0),
                content_bias=self.content_bias,
                position_bias=self.position_bias,
                unseen=mask,
            )
            for projection in self.positions
        ]

    def _check(self, tokens: Tensor) -> None:
        if tokens.ndim != 2 or not tokens.numel():
            raise ShapeError(f"tokens have shape {tuple(tokens.shape)}; expected (N, T), at least one token")
        check_numbers(tokens)
        if tokens.device.type != "cpu" or torch.compiler.is_compiling():
            return
        check_within(tokens, self.size.vocabulary)


def _begin(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
