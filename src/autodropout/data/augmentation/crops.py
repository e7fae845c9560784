"""Flips and padded crops, drawn for each image, computed for all at once."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from autodropout.data.augmentation.chain import check_images
from autodropout.errors import UsageError

Border = Literal["zeros", "reflect"]
"""What surrounds an image before it is cropped."""


def flipped(images: Tensor, generator: torch.Generator, rate: float = 0.5) -> Tensor:
    """Mirror each image left to right with this probability.

    Args:
        images: Any dtype, shape (examples, channels, height, width).
        generator: Source of the draws; one on another device works too.
        rate: Probability of a flip, from 0 to 1.

    Returns:
        Same shape and dtype.

    Raises:
        ShapeError: The images have another number of axes.
        UsageError: The rate is no probability.

    Example:
        >>> flipped(torch.arange(3.0).reshape(1, 1, 1, 3), torch.Generator(), rate=1.0)
        tensor([[[[2., 1., 0.]]]])
    """
    check_images(images)
    if not 0.0 <= rate <= 1.0:
        raise UsageError(f"rate is {rate!r}; expected a probability, from 0 to 1")
    drawn = torch.rand(len(images), generator=generator, device=generator.device).to(images.device)
    return torch.where((drawn < rate)[:, None, None, None], images.flip(-1), images)


def cropped(images: Tensor, generator: torch.Generator, padding: int = 4, border: Border = "zeros") -> Tensor:
    """Surround each image with pixels and cut a piece of the old size out of it, at random.

    All (2 * padding + 1)^2 places are equally likely, for each image on its own (He et al. 2016, Section
    4.2, with 4 pixels of zeros; Zagoruyko and Komodakis 2016 with reflections).

    Args:
        images: Any dtype, shape (examples, channels, height, width).
        generator: Source of the draws; one on another device works too.
        padding: Pixels on each side.
        border: Zeros, or the image reflected at its edge.

    Returns:
        Same shape and dtype.

    Raises:
        ShapeError: The images have another number of axes.
        UsageError: The padding is negative, or too large to be reflected, or the border is unknown.
    """
    check_images(images)
    _check_border(images, padding, border)
    num, _, height, width = images.shape
    places = 2 * padding + 1
    drawn = torch.randint(places, (2, num), generator=generator, device=generator.device).to(images.device)
    # One look-up for each pixel copies a batch faster than a slice for each image does.
    rows = drawn[0, :, None] + torch.arange(height, device=images.device)
    columns = drawn[1, :, None] + torch.arange(width, device=images.device)
    taken = (rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]).flatten(1)[:, None]
    surrounded = _surrounded(images, padding, border).flatten(2)
    return surrounded.gather(2, taken.expand(-1, images.shape[1], -1)).reshape(images.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """``flipped`` as a change.

    Attributes:
        rate: Probability of a flip.
    """

    rate: float = 0.5

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mirror images; labels are untouched."""
        return flipped(images, generator, self.rate), labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """``cropped`` as a change.

    Attributes:
        padding: Pixels on each side.
        border: Zeros, or the image reflected at its edge.
    """

    padding: int = 4
    border: Border = "zeros"

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Crop images; labels are untouched."""
        return cropped(images, generator, self.padding, self.border), labels


def _check_border(images: Tensor, padding: int, border: str) -> None:
    if border not in ("zeros", "reflect"):
        raise UsageError(f"border is {border!r}; expected 'zeros' or 'reflect'")
    most = min(images.shape[2:]) - 1
    if padding < 0 or (border == "reflect" and padding > most):
        expected = f"0 to {most} for reflections of these images" if border == "reflect" else "at least 0"
        raise UsageError(f"padding is {padding!r}; expected {expected}")


def _surrounded(images: Tensor, padding: int, border: Border) -> Tensor:
    if border == "zeros":
        return F.pad(images, [padding] * 4)
    floats = images if images.is_floating_point() else images.float()  # whole numbers are not reflected
    return F.pad(floats, [padding] * 4, mode="reflect").to(images.dtype)
