"""What changes a batch, and many of that as one."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from autodropout.errors import ShapeError

Change = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(images, labels, generator) to images and labels or soft targets, drawing from the generator alone.

Labels are int64, (N,); soft targets are float32, (N, classes), and each row sums to 1. The generator may be
on the images' device or on the CPU.
"""


@dataclass(frozen=True, slots=True)
class Chained:
    """Several changes as one.

    Attributes:
        changes: Applied from first to last, each to what the one before it returned, all drawing from one
            generator; without any, batches stay as they are.
    """

    changes: tuple[Change, ...]

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return what the last one returns."""
        for change in self.changes:
            images, labels = change(images, labels, generator)
        return images, labels


def check_images(images: Tensor) -> None:
    """Refuse what is no batch of images.

    Raises:
        ShapeError: The shape has not four axes.
    """
    if images.ndim != 4:
        raise ShapeError(
            f"images have shape {tuple(images.shape)}; expected (examples, channels, height, width)"
        )
