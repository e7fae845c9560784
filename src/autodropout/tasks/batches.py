"""Batches of examples in an order of their own, from any step on."""

from collections.abc import Iterator
from itertools import islice
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from autodropout.data.splits import Examples
from autodropout.errors import UsageError

Batch = tuple[Tensor, ...]
"""What one optimiser step is made of: inputs and targets come first."""


@runtime_checkable
class Seekable(Protocol):
    """Batches that can begin at any step without making those before it."""

    def starting_at(self, step: int) -> Iterator[Batch]:
        """Return the batches from this step on, steps counted from 0."""
        ...


def shuffled_batches(examples: Examples, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, labels) for ever: a fresh order each epoch, the last incomplete batch left out.

    The order depends on the seed alone and not on what else is drawn meanwhile, so that two policies
    with one seed see the same batches: their rewards are then compared in pairs.

    Args:
        examples: What to draw from.
        batch_size: Examples per batch, from 1 to all of them.
        seed: Of the order.

    Raises:
        UsageError: The batch is larger than the data or empty.
    """
    order = shuffled_places(len(examples), batch_size, seed)
    return ((examples.inputs[places], examples.labels[places]) for places in order)


def shuffled_places(count: int, batch_size: int, seed: int, start: int = 0) -> Iterator[Tensor]:
    """Yield the places of the examples of each batch: the order of ``shuffled_batches``.

    Args:
        count: Examples there are.
        batch_size: Examples per batch, from 1 to all of them.
        seed: Of the order.
        start: Batches to leave out at the beginning.

    Raises:
        UsageError: The batch is larger than the data or empty.
    """
    if not 1 <= batch_size <= count:
        raise UsageError(f"batch_size is {batch_size!r}; expected 1 to {count}, the number of examples")
    return islice(_places(count, batch_size, torch.Generator().manual_seed(seed)), start, None)


def _places(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - batch_size + 1, batch_size):
            yield order[start : start + batch_size]
