"""Sentence pairs as numbers, and batches of pairs of about the same length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from autodropout.data.parallel import Pairs
from autodropout.data.subwords import BEGIN, END, PAD, Subwords
from autodropout.errors import DataError, UsageError

_CHUNK = 10_000  # sentences encoded at a time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sentences:
    """Sentences of different lengths, one after the other.

    Attributes:
        tokens: int32, (tokens of all,).
        starts: int64, (sentences + 1,): where each begins, and where the last one ends.
    """

    tokens: Tensor
    starts: Tensor

    @classmethod
    def of(cls, sentences: Sequence[Sequence[int]]) -> "Sentences":
        """Hold lists of tokens."""
        lengths = torch.tensor([0, *map(len, sentences)], dtype=torch.int64)
        tokens = torch.tensor([token for sentence in sentences for token in sentence], dtype=torch.int32)
        return cls(tokens=tokens, starts=lengths.cumsum(0))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Tensor:
        """Tokens in each, int64, (sentences,)."""
        return self.starts.diff()

    def chosen(self, rows: Tensor) -> Tensor:
        """Return some of them as one matrix.

        Args:
            rows: Which, int64, (N,).

        Returns:
            int64, (N, length of the longest), ``PAD`` behind the shorter ones.
        """
        starts, lengths = self.starts[rows], self.lengths[rows]
        places = torch.arange(int(lengths.max()))
        inside = places < lengths[:, None]
        where = torch.where(inside, starts[:, None] + places, 0)
        return self.tokens[where].long().masked_fill_(~inside, PAD)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumberedPairs:
    """Pairs as a translation model takes them.

    Attributes:
        source: Each with ``END`` behind it.
        target: Each between ``BEGIN`` and ``END``.
    """

    source: Sentences
    target: Sentences

    def __len__(self) -> int:
        return len(self.source)


def numbered_pairs(pairs: Pairs, subwords: Subwords, longest: int | None = None) -> NumberedPairs:
    """Return pairs as numbers.

    Args:
        pairs: The sentences.
        subwords: The vocabulary of both languages.
        longest: Pairs with more tokens on either side, the ends included, are left out; None for none.

    Raises:
        DataError: No pair is left.
    """
    sources: list[Sentences] = []
    targets: list[Sentences] = []
    for start in range(0, len(pairs), _CHUNK):
        both = [
            ([*source, END], [BEGIN, *target, END])
            for source, target in zip(
                subwords.encode(pairs.source[start : start + _CHUNK]),
                subwords.encode(pairs.target[start : start + _CHUNK]),
                strict=True,
            )
            if longest is None or max(len(source) + 1, len(target) + 2) <= longest
        ]
        sources.append(Sentences.of([source for source, _ in both]))
        targets.append(Sentences.of([target for _, target in both]))
    if not any(map(len, sources)):
        raise DataError(
            f"none of the {len(pairs)} sentence pairs has at most {longest} subwords with its ends; shorten "
            "the lines, or, in Python, allow more (CorpusSettings.longest)"
        )
    return NumberedPairs(source=_joined(sources), target=_joined(targets))


def _joined(parts: Sequence[Sentences]) -> Sentences:
    lengths = torch.cat([torch.zeros(1, dtype=torch.int64), *(part.lengths for part in parts)])
    return Sentences(tokens=torch.cat([part.tokens for part in parts]), starts=lengths.cumsum(0))


def in_batches(pairs: NumberedPairs, num_tokens: int, order: Tensor) -> list[Tensor]:
    """Cut pairs into batches whose matrices are small.

    Args:
        pairs: The pairs.
        num_tokens: Most tokens in a batch's source and in its target, padding included.
        order: A permutation; pairs of equal lengths follow one another in this order.

    Returns:
        The pairs of each batch, int64; each is in one of them. They rise in length.

    Raises:
        UsageError: A pair alone has more tokens.
    """
    sources, targets = pairs.source.lengths[order], pairs.target.lengths[order]
    by_length = torch.argsort(targets * (int(sources.max()) + 1) + sources, stable=True)
    rows = order[by_length].tolist()
    lengths = torch.maximum(sources, targets)[by_length].tolist()
    if max(lengths) > num_tokens:
        raise UsageError(
            f"a sentence has {max(lengths)} tokens with its ends; expected at most {num_tokens}, as a batch "
            "has: leave it out or allow larger batches"
        )
    cuts, widest = [0], 0
    for place, length in enumerate(lengths):
        widest = max(widest, length)
        if widest * (place + 1 - cuts[-1]) > num_tokens:
            cuts.append(place)
            widest = length
    return [torch.tensor(rows[a:b]) for a, b in zip(cuts, [*cuts[1:], len(rows)], strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairBatches:
    """(source, target) for ever, every pair once in each epoch, the batches in a fresh order.

    Pairs of about the same length stand together, so that little is padding. The order depends on the
    seed alone and not on what else is drawn meanwhile.

    Attributes:
        pairs: What to draw from.
        num_tokens: Most tokens in a batch's source and in its target, padding included.
        seed: Of the order.

    Raises:
        UsageError: A pair alone has more tokens.
    """

    pairs: NumberedPairs
    num_tokens: int
    seed: int

    def __post_init__(self) -> None:
        in_batches(self.pairs, self.num_tokens, torch.arange(len(self.pairs)))  # says what is too long

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.starting_at(0)

    def starting_at(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the batches from this step on, steps counted from 0; those before it are not made."""
        source, target = self.pairs.source, self.pairs.target
        return ((source.chosen(rows), target.chosen(rows)) for rows in islice(self._rows(), step, None))

    def _rows(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            order = torch.randperm(len(self.pairs), generator=generator)
            batches = in_batches(self.pairs, self.num_tokens, order)
            for number in torch.randperm(len(batches), generator=generator).tolist():
                yield batches[number]
