"""Spaces small enough to list every sequence, and the sequences."""

from itertools import product

import torch

from autodropout.space import Space
from autodropout.token_space import TokenSpace


def small_space() -> TokenSpace:
    """81 x 4 sequences, with dead positions, choices of one value, and a decision about the whole policy."""
    return TokenSpace(
        sites=("query", "residual"),
        sizes=(1, 2),
        strides=(0,),
        rates=(0.1,),
        residual_rates=(0.1,),
        schedule=True,
    )


def all_sequences(space: Space) -> torch.Tensor:
    raw = product(*(range(n) for n in space.cardinalities))
    canonical = {
        tuple(t if live else 0 for t, live in zip(tokens, space.live(tokens), strict=True)) for tokens in raw
    }
    return torch.tensor(sorted(canonical))
