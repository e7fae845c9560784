"""Which tokens take part: padding and special tokens of a batch, and what they mean at a site."""

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor

from autodropout.errors import ShapeError
from autodropout.site import Sequences


class ValidTokens(TypedDict):
    """Bool, (N, T) or (1, T), True where a token takes part, per sequence; None where all do."""

    own: Tensor | None
    other: Tensor | None


def checked_tokens(tokens: Tensor | None, name: str) -> Tensor | None:
    """Return a mask of tokens if it is one.

    Args:
        tokens: The mask.
        name: What the user calls it.

    Raises:
        ShapeError: It is no bool tensor with two axes.
    """
    if tokens is None or (isinstance(tokens, Tensor) and tokens.dtype == torch.bool and tokens.ndim == 2):
        return tokens
    found = type(tokens).__name__
    if isinstance(tokens, Tensor):
        found = f"{tokens.dtype} of shape {tuple(tokens.shape)}"
    raise ShapeError(
        f"{name} is {found}; expected torch.bool of shape (N, T), True where a token takes part, such as "
        "attention_mask.bool()"
    )


def valid_mask(h: Tensor, sequences: Sequences, tokens: ValidTokens, site: str | None) -> Tensor | None:
    """Return where a hidden state belongs to tokens that take part.

    Args:
        h: (N, ..., T, C).
        sequences: Whose tokens stand along T and C.
        tokens: Which of them take part.
        site: Name of the place, for errors.

    Returns:
        Bool, broadcastable to h; None where all of h takes part.

    Raises:
        ShapeError: The tokens are not those of h.
    """
    masks = [
        _along(axis, h, tokens[whose], site)
        for axis, whose in zip((-2, -1), sequences, strict=True)
        if whose is not None and tokens[whose] is not None
    ]
    if not masks:
        return None
    return masks[0] if len(masks) == 1 else masks[0] & masks[1]


def _along(axis: int, h: Tensor, tokens: Tensor | None, site: str | None) -> Tensor:
    assert tokens is not None
    if h.ndim < 3 or tokens.shape[0] not in (1, h.shape[0]) or tokens.shape[1] != h.shape[axis]:
        raise ShapeError(_misfit_text(h.shape, tokens.shape, site))
    shape = [tokens.shape[0], *[1] * (h.ndim - 1)]
    shape[axis] = tokens.shape[1]
    return tokens.to(h.device).view(shape)


def _misfit_text(h: Sequence[int], tokens: Sequence[int], site: str | None) -> str:
    where = "" if site is None else f'site "{site}": '
    return (
        f"{where}the valid tokens have shape {tuple(tokens)}, the hidden state {tuple(h)}; set valid_tokens "
        "before each batch to (N, T) of that batch, or to None"
    )
