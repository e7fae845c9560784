"""Batches of examples in an order of their own."""

from collections.abc import Iterator

import torch
from torch import Tensor

from autodropout.data.splits import Examples
from autodropout.errors import UsageError


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
    if not 1 <= batch_size <= len(examples):
        raise UsageError(
            f"batch_size is {batch_size!r}; expected 1 to {len(examples)}, the number of examples"
        )
    return _batches(examples, batch_size, torch.Generator().manual_seed(seed))


def _batches(
    examples: Examples, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        order = torch.randperm(len(examples), generator=generator)
        for start in range(0, len(examples) - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            yield examples.inputs[chosen], examples.labels[chosen]
