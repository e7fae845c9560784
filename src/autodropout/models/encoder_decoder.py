"""The Transformer of Vaswani et al. (2017) for translation, every role a named module."""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import ShapeError, UsageError
from autodropout.models.transformer_blocks import DecoderBlock, EncoderBlock, TransformerSize
from autodropout.policy import ROLES
from autodropout.site import Site

_ATTENTION = ROLES[:5]
_SLOWEST = 10_000.0
"""Longest wavelength of the place codes, over 2 pi (section 3.5)."""


class Encoder(nn.Module):
    """The source's side. Beside the roles, ``embedded`` and ``final`` are sites: the stream's two ends."""

    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.embedded = nn.Identity()
        self.blocks = nn.ModuleList(EncoderBlock(size) for _ in range(size.layers))
        self.final = nn.Identity()

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the sites, in the order of the forward pass."""
        return _ends(
            [site for n in range(len(self.blocks)) for site in _sites(f"blocks.{n}", ("attention",))]
        )

    def autodropout_tokens(self, x: Tensor, valid: Tensor) -> Mapping[str, Tensor]:
        """Say which tokens ``forward`` is called with, see ``autodropout.site.HasTokens``."""
        del x
        return {"attention_mask": valid}

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map embedded tokens, (N, S, width), to the same shape.

        Args:
            x: The tokens.
            valid: Bool, (N, S), False at padding.
        """
        h = self.embedded(x)
        for block in self.blocks:
            h = block(h, valid[:, None, None])
        return cast(Tensor, self.final(h))


class Decoder(nn.Module):
    """The target's side, with the same two ends as sites."""

    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.embedded = nn.Identity()
        self.blocks = nn.ModuleList(DecoderBlock(size) for _ in range(size.layers))
        self.final = nn.Identity()

    def autodropout_sites(self) -> Sequence[Site]:
        """Return the sites, in the order of the forward pass."""
        places = ("attention", "cross")
        return _ends([site for n in range(len(self.blocks)) for site in _sites(f"blocks.{n}", places)])

    def autodropout_tokens(
        self, x: Tensor, valid: Tensor, encoded: Tensor, source_valid: Tensor
    ) -> Mapping[str, Tensor]:
        """Say which tokens ``forward`` is called with, see ``autodropout.site.HasTokens``."""
        del x, encoded
        return {"attention_mask": valid, "encoder_attention_mask": source_valid}

    def forward(self, x: Tensor, valid: Tensor, encoded: Tensor, source_valid: Tensor) -> Tensor:
        """Map embedded tokens to the stream from which the next are told.

        Args:
            x: (N, T, width).
            valid: Bool, (N, T), False at padding, which stands at the end: nothing looks at it from before.
            encoded: What the encoder returned, (N, S, width).
            source_valid: Bool, (N, S), False at its padding.

        Returns:
            (N, T, width).
        """
        del valid  # for patterns only: who looks back never sees padding
        h = self.embedded(x)
        for block in self.blocks:
            h = block(h, encoded, source_valid[:, None, None])
        return cast(Tensor, self.final(h))


class EncoderDecoder(nn.Module):
    """Encoder and decoder with norms behind the sums, sinusoidal places, one matrix for all embeddings.

    Source, target and output share their embedding (Press and Wolf 2017; Vaswani et al., section 3.4). All
    tokens ``pad`` count as padding, which must stand at the end.

    Args:
        vocabulary: Number of tokens.
        size: Of the network.
        pad: The token that is padding.
        longest: Most tokens in a sequence.
        source_vocabulary: Number of tokens of the source, which then has an embedding of its own; None
            shares one.

    Raises:
        UsageError: A vocabulary is too small, or ``longest`` is below 1.

    Example:
        >>> tiny = TransformerSize(layers=1, width=16, heads=2, hidden=32)
        >>> net = EncoderDecoder(vocabulary=50, size=tiny)
        >>> net(torch.ones(3, 8, dtype=torch.int64), torch.ones(3, 5, dtype=torch.int64)).shape
        torch.Size([3, 5, 50])
    """

    codes: Tensor

    def __init__(
        self,
        *,
        vocabulary: int,
        size: TransformerSize,
        pad: int = 0,
        longest: int = 1024,
        source_vocabulary: int | None = None,
    ) -> None:
        super().__init__()
        smallest = min(vocabulary, source_vocabulary or vocabulary)
        if not 0 <= pad < smallest or longest < 1:
            raise UsageError(
                f"the smallest vocabulary is {smallest}, pad {pad} and longest {longest}; expected pad to be "
                "one of the tokens, and at least one place"
            )
        self.pad = pad
        self.embedding = nn.Embedding(vocabulary, size.width)
        self.source_embedding = (
            None if source_vocabulary is None else nn.Embedding(source_vocabulary, size.width)
        )
        self.encoder = Encoder(size)
        self.decoder = Decoder(size)
        self.register_buffer("codes", _codes(longest, size.width), persistent=False)
        self.apply(_begin)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the logits of what follows each token of the target, (N, T, vocabulary).

        Args:
            source: Tokens, int64, (N, S).
            target: Tokens, int64, (N, T).

        Raises:
            ShapeError: They are no such matrices, too long, or not equally many.
            UsageError: On a CPU: a token is outside the vocabulary, or a sequence is all padding.
        """
        encoded, source_valid = self.encode(source)
        _check_tokens("target", target, self.embedding.num_embeddings, len(self.codes))
        if len(source) != len(target):
            raise ShapeError(
                f"there are {len(source)} sources and {len(target)} targets; expected one target for each "
                "source"
            )
        valid = target != self.pad
        h = self.decoder(self.embed(self.embedding, target), valid, encoded, source_valid)
        return F.linear(h, self.embedding.weight)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the encoder makes of a source, (N, S, width), and where it is no padding, (N, S)."""
        embedding = self.embedding if self.source_embedding is None else self.source_embedding
        _check_tokens("source", source, embedding.num_embeddings, len(self.codes), pad=self.pad)
        valid = source != self.pad
        return self.encoder(self.embed(embedding, source), valid), valid

    def embed(self, embedding: nn.Embedding, tokens: Tensor, place: int = 0) -> Tensor:
        """Return tokens as the stack takes them, the first of each sequence standing at ``place``."""
        x: Tensor = embedding(tokens) * math.sqrt(embedding.embedding_dim)
        return x + self.codes[place : place + tokens.shape[1]]


def _sites(block: str, attentions: Sequence[str]) -> list[Site]:
    inside = [
        Site(name=f"{block}.{place}.{role}", layout="NTC", role=role, cross=place == "cross")
        for place in attentions
        for role in _ATTENTION
    ]
    return [*inside, *(Site(name=f"{block}.{role}", layout="NTC", role=role) for role in ("ffn", "residual"))]


def _ends(inside: Sequence[Site]) -> list[Site]:
    return [Site(name="embedded", layout="NTC"), *inside, Site(name="final", layout="NTC")]


def _codes(longest: int, width: int) -> Tensor:
    """Return the code of each place: sines in the even channels, cosines in the odd ones."""
    place = torch.arange(longest, dtype=torch.float64)[:, None]
    wave = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(_SLOWEST) / width))
    return torch.stack([torch.sin(place * wave), torch.cos(place * wave)], -1).flatten(1).float()


def _begin(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def _check_tokens(what: str, tokens: Tensor, vocabulary: int, longest: int, pad: int | None = None) -> None:
    if tokens.ndim != 2 or tokens.dtype != torch.int64 or not 1 <= tokens.shape[1] <= longest:
        raise ShapeError(
            f"the {what} is {tokens.dtype} of shape {tuple(tokens.shape)}; expected torch.int64 of (N, T) "
            f"with T from 1 to {longest}, the longest sequence that the network takes"
        )
    if tokens.device.type != "cpu" or torch.compiler.is_compiling():
        return  # to look would make a GPU wait
    outside = tokens[(tokens < 0) | (tokens >= vocabulary)]
    if len(outside):
        raise UsageError(
            f"the {what} has token {int(outside[0])}; expected 0 to {vocabulary - 1}, the vocabulary: was it "
            "numbered with another one?"
        )
    if pad is not None and bool((tokens == pad).all(1).any()):
        raise UsageError(f"the {what} has a sequence of nothing but padding; leave empty sentences out")
