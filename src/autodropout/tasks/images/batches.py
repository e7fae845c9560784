"""Batches of images in memory, changed and scaled on the device that trains."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from autodropout.data.augmentation.chain import Chained, Change
from autodropout.data.images import scaled
from autodropout.data.splits import Examples
from autodropout.tasks.batches import shuffled_places


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changes:
    """What happens to a batch of stored images before a network sees it.

    Attributes:
        mean: Of each channel, pixels counted from 0 to 1.
        deviation: Likewise.
        stored: Changes of images as they are stored, uint8, from first to last.
        mixing: Changes of float32 images whose channels are scaled, and of their labels.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    stored: tuple[Change, ...] = ()
    mixing: tuple[Change, ...] = ()

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return float32 images and labels or soft targets.

        Args:
            images: uint8, (N, channels, H, W).
            labels: int64, (N,).
            generator: On the images' device.
        """
        images, labels = Chained(self.stored)(images, labels, generator)
        return Chained(self.mixing)(scaled(images, self.mean, self.deviation), labels, generator)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageBatches:
    """Endless batches of images: the order of ``shuffled_batches``, changed by a generator of their own.

    Each batch is a function of the seed and its step, whatever else is drawn and wherever one begins.

    Attributes:
        examples: uint8 images and labels, on the device that trains.
        batch_size: Images per batch.
        seed: Of order and changes.
        change: What happens to each batch.
    """

    examples: Examples
    batch_size: int
    seed: int
    change: Change

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.starting_at(0)

    def starting_at(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the batches from this step on, steps counted from 0.

        Raises:
            UsageError: The batch is larger than the data.
        """
        order = shuffled_places(len(self.examples), self.batch_size, self.seed, step)
        return self._made(order, step)

    def _made(self, order: Iterator[Tensor], step: int) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, labels = self.examples.inputs, self.examples.labels
        generator = torch.Generator(inputs.device)
        for number, places in enumerate(order, step):
            there = places.to(inputs.device)
            yield self.change(
                inputs[there], labels[there], generator.manual_seed(step_seed(self.seed, number))
            )


def step_seed(seed: int, step: int) -> int:
    """Return the seed of what is drawn for one batch, from 0 to 2^63 - 1."""
    digest = hashlib.blake2b(f"{seed} {step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def on_device(part: Examples, device: torch.device) -> Examples:
    """Return the examples with their tensors on a device."""
    return Examples(inputs=part.inputs.to(device), labels=part.labels.to(device))


def in_order(part: Examples, size: int = 500) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all examples in their order, some at a time.

    Args:
        part: The examples.
        size: How many at a time.
    """
    yield from zip(torch.split(part.inputs, size), torch.split(part.labels, size), strict=True)
