"""Move many images, each in its own direction, in one pass."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Plane = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): pixel (x, y), from the image's centre, shows what was at (ax + by + c, dx + ey + f)."""


def shear_x(slope: float, height: int, width: int) -> Plane:  # noqa: ARG001
    """Return the shear along x that leaves the top edge where it is."""
    return 1.0, slope, slope * height / 2, 0.0, 1.0, 0.0


def shear_y(slope: float, height: int, width: int) -> Plane:  # noqa: ARG001
    """Return the shear along y that leaves the left edge where it is."""
    return 1.0, 0.0, 0.0, slope, 1.0, slope * width / 2


def shift_x(pixels: float, height: int, width: int) -> Plane:  # noqa: ARG001
    """Return the move to the right by whole pixels, rounded towards zero."""
    return 1.0, 0.0, -float(int(pixels)), 0.0, 1.0, 0.0


def shift_y(pixels: float, height: int, width: int) -> Plane:  # noqa: ARG001
    """Return the move down by whole pixels, rounded towards zero."""
    return 1.0, 0.0, 0.0, 0.0, 1.0, -float(int(pixels))


def turn(degrees: float, height: int, width: int) -> Plane:  # noqa: ARG001
    """Return the rotation about the centre, counter-clockwise as the picture is seen."""
    angle = math.radians(degrees)
    return math.cos(angle), -math.sin(angle), 0.0, math.sin(angle), math.cos(angle), 0.0


def moved(images: Tensor, planes: Sequence[Plane], fill: float = 0.0) -> Tensor:
    """Return the images moved, each pixel the nearest one of where it comes from.

    Args:
        images: uint8 or floating point, shape (examples, channels, height, width).
        planes: One for each image.
        fill: What is seen where there was nothing, in the images' own units.

    Returns:
        Same shape and dtype.
    """
    num, _, height, width = images.shape
    pixels = images if images.is_floating_point() else images.float()
    half = torch.tensor([width / 2, height / 2], dtype=pixels.dtype, device=images.device)
    rows, columns = (
        torch.linspace(0.5 - size / 2, size / 2 - 0.5, size, dtype=pixels.dtype, device=images.device)
        for size in (height, width)
    )
    ones = torch.ones(height, width, dtype=pixels.dtype, device=images.device)
    places = torch.stack((columns.expand(height, -1), rows[:, None].expand(-1, width), ones), dim=2)
    sources = (
        torch.tensor(planes, dtype=pixels.dtype, device=images.device).view(num, 2, 3).transpose(1, 2) / half
    )
    grid = (places.view(1, -1, 3).expand(num, -1, -1) @ sources).view(num, height, width, 2)
    inside = F.grid_sample(ones.expand(num, 1, -1, -1), grid, mode="nearest", align_corners=False)
    shown = F.grid_sample(pixels, grid, mode="nearest", align_corners=False)
    return torch.where(inside < 0.5, fill, shown).to(images.dtype)
