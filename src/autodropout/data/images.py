"""Sets of small images in memory: bytes as they are stored, split three ways, with what scales them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autodropout.data.splits import Examples, Splits
from autodropout.errors import DataError, UsageError

Pixels = NDArray[np.uint8]
"""Images as they are stored: (images, height, width, channels)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageData:
    """A data set of images.

    Attributes:
        splits: uint8 images, (examples, channels, height, width), and int64 labels from 0.
        num_classes: Classes there are.
        mean: Of each channel, pixels counted from 0 to 1; taken from the training images.
        deviation: Likewise.
        unlabelled: Images to learn from without their labels, which are not looked at; None where all are
            known.
    """

    splits: Splits
    num_classes: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    unlabelled: Examples | None = None


def image_data(train: Examples, validation: Examples, test: Examples) -> ImageData:
    """Put three parts together, and take mean and deviation of the channels from the training images.

    Args:
        train: uint8 images and labels.
        validation: Likewise; may be empty.
        test: Likewise.

    Raises:
        DataError: There are no training images, they show one class only, or they are all alike.
    """
    if len(train) == 0:
        raise DataError("there are no training images; expected at least one of each class")
    classes: Tensor = torch.unique(train.labels)
    if len(classes) < 2:
        raise DataError(
            f"all {len(train)} training images are of class {int(classes[0])}; expected at least two "
            "classes: was the whole data set copied?"
        )
    mean, deviation = _statistics(train.inputs)
    if min(deviation) == 0.0:
        raise DataError("all training images are alike in a channel; the files are no images of this set")
    return ImageData(
        splits=Splits(train=train, validation=validation, test=test),
        num_classes=int(max(int(part.labels.max()) for part in (train, test) if len(part))) + 1,
        mean=mean,
        deviation=deviation,
    )


def examples(images: Pixels, labels: Sequence[int] | NDArray[np.generic]) -> Examples:
    """Return images, (examples, height, width, channels), and labels as tensors, channels first."""
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return Examples(inputs=inputs, labels=torch.from_numpy(np.asarray(labels, np.int64)))


def chosen(part: Examples, indices: Sequence[int] | NDArray[np.int64]) -> Examples:
    """Return the examples at these places, in this order."""
    places = torch.from_numpy(np.asarray(indices, np.int64))
    return Examples(inputs=part.inputs[places], labels=part.labels[places])


def shrunk(part: Examples, side: int) -> Examples:
    """Return square images at a lower resolution: each pixel is the rounded mean of the block it stands for.

    Args:
        part: uint8 images whose side ``side`` divides.
        side: Of the result in pixels.

    Raises:
        UsageError: It does not divide the side.
    """
    n, channels, height, width = part.inputs.shape
    if side == height == width:
        return part
    if side < 1 or height != width or height % side:
        raise UsageError(
            f"images of {height}x{width} cannot be shrunk to side {side}; expected a divisor of {height}"
        )
    block = height // side
    blocks = part.inputs.view(n, channels, side, block, side, block)
    sums = blocks.to(torch.int32).sum((3, 5))
    small = (2 * sums + block**2).div(2 * block**2, rounding_mode="floor").to(torch.uint8)
    return Examples(inputs=small, labels=part.labels)


def scaled(images: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """Return float32 images whose channels have mean 0 and deviation 1: (pixel / 255 - mean) / deviation.

    Args:
        images: uint8, (N, channels, H, W).
        mean: One for each channel.
        deviation: Likewise.
    """
    factor = [1.0 / (255.0 * d) for d in deviation]
    offset = [-m / d for m, d in zip(mean, deviation, strict=True)]
    factors, offsets = (
        torch.tensor(values, dtype=torch.float32, device=images.device).view(1, -1, 1, 1)
        for values in (factor, offset)
    )
    return torch.addcmul(offsets, images.float(), factors)


def _statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each channel, exactly: from how often each of the 256 values occurs."""
    values = torch.arange(256, dtype=torch.float64) / 255.0
    means, deviations = [], []
    for channel in images.unbind(1):
        counts = torch.bincount(channel.flatten(), minlength=256).double()
        mean = (counts @ values) / counts.sum()
        means.append(mean.item())
        deviations.append(((counts @ (values - mean) ** 2) / counts.sum()).sqrt().item())
    return tuple(means), tuple(deviations)
