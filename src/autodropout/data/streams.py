"""Running text as a model with a memory reads it: side by side, each segment where the last one ended."""

import math
from collections.abc import Iterator
from itertools import cycle

import torch
from torch import Tensor

from autodropout.errors import UsageError

IGNORED = -100
"""Label of a place that no token stands at; ``torch.nn.functional.cross_entropy`` leaves it out."""


def streams(tokens: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Cut a text into pieces that stand side by side, what follows each token as its label.

    Every token but the first is a label exactly once. Where the pieces are not of one length the last
    ones end earlier: there, the label is ``IGNORED``.

    Args:
        tokens: int64, (tokens,).
        number: How many pieces, at least 1 and at most one for each label.

    Returns:
        Inputs and labels, int64, (number, ceil((tokens - 1) / number)).

    Raises:
        UsageError: There are fewer labels than pieces.

    Example:
        >>> inputs, labels = streams(torch.arange(6), 2)
        >>> inputs.tolist(), labels.tolist()
        ([[0, 1, 2], [3, 4, 0]], [[1, 2, 3], [4, 5, -100]])
    """
    known = len(tokens) - 1
    if not 1 <= number <= known:
        raise UsageError(
            f"{len(tokens)} tokens in {number!r} streams; expected from 1 stream to one for each token that "
            f"has one before it, {max(known, 0)}"
        )
    length = -(-known // number)
    missing = number * length - known
    inputs = torch.cat([tokens[:-1], tokens.new_zeros(missing)])
    labels = torch.cat([tokens[1:], tokens.new_full((missing,), IGNORED)])
    return inputs.view(number, length), labels.view(number, length)


def segments(inputs: Tensor, labels: Tensor, length: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Cut streams into segments, from first to last; the last may be shorter.

    Args:
        inputs: (streams, tokens).
        labels: The same shape.
        length: Tokens per segment, at least 1.

    Raises:
        UsageError: The length is below 1.
    """
    if length < 1:
        raise UsageError(f"the length of a segment is {length!r}; expected at least 1")
    return tuple(zip(torch.split(inputs, length, 1), torch.split(labels, length, 1), strict=True))


def stream_batches(tokens: Tensor, number: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, labels), segment after segment, for ever: after the last one the text begins again.

    Of the end of the text, what would make some streams longer than others is left out, fewer tokens than
    there are streams: every label is a token.

    Args:
        tokens: int64, (tokens,).
        number: Streams side by side.
        length: Tokens per segment.

    Raises:
        UsageError: There are too few tokens, or a number is below 1.
    """
    most = len(tokens) - 1
    whole = most - most % number if 1 <= number <= most else most
    return cycle(segments(*streams(tokens[: whole + 1], number), length))


def num_segments(num_tokens: int, number: int, length: int) -> int:
    """Return after how many of ``stream_batches`` the text begins again."""
    return math.ceil((num_tokens - 1) // number / length)
