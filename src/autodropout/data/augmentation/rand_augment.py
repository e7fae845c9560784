"""RandAugment on batches: each image has its own operations, each operation runs once for all its images."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from autodropout.data.augmentation.chain import check_images
from autodropout.data.augmentation.vision import vision
from autodropout.errors import ShapeError, UsageError

STRONGEST = 30
"""Largest magnitude: the scale has 31 steps, as in torchvision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One of the 14 operations.

    Attributes:
        run: Called as run(images, strength).
        strongest: Strength at the largest magnitude, of images this high and wide; it grows linearly from 0.
        signed: Whether a coin gives the strength its sign.
    """

    run: Callable[[Tensor, float], Tensor]
    strongest: Callable[[int, int], float] = lambda height, width: 0.0  # noqa: ARG005
    signed: bool = False

    def strength(self, magnitude: int, height: int, width: int) -> float:
        """Return the strength at a magnitude from 0 to 30, to float32 as torchvision has it."""
        return float(torch.linspace(0.0, self.strongest(height, width), STRONGEST + 1)[magnitude])


def rand_augment(
    images: Tensor, generator: torch.Generator, num_ops: int = 2, magnitude: int = 9, fill: float = 0.0
) -> Tensor:
    """Apply ``num_ops`` operations to each image, each drawn evenly from 14, all at one magnitude.

    Cubuk et al. (2019), Figure 2, with the operations, ranges and 31 magnitudes of torchvision's
    ``v2.RandAugment``, which draws once for a whole batch where we draw for each image. A coin of each image
    decides the direction of a geometric operation and the sign of a colour's change.

    Args:
        images: uint8, or floating point in [0, 1], not normalised; shape (examples, 1 or 3, height, width).
        generator: Source of the draws.
        num_ops: Operations per image, at least 0.
        magnitude: From 0 to 30.
        fill: What enters where an image is moved away, in the images' own units.

    Returns:
        Same shape and dtype.

    Raises:
        ShapeError: The shape or dtype is another one.
        UsageError: A number is out of range.
        MissingError: torchvision is not installed.
    """
    _check(images, num_ops, magnitude)
    table = tuple(operations(fill).values())
    for _ in range(num_ops):
        drawn = torch.randint(2 * len(table), (len(images),), generator=generator, device=generator.device)
        images = _each(images, drawn.tolist(), table, magnitude)
    return images


@dataclass(frozen=True, slots=True, kw_only=True)
class RandAugment:
    """``rand_augment`` as a change.

    Attributes:
        num_ops: Operations per image.
        magnitude: From 0 to 30.
        fill: What enters where an image is moved away, in the images' own units.
    """

    num_ops: int = 2
    magnitude: int = 9
    fill: float = 0.0

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Change images; labels are untouched."""
        return rand_augment(images, generator, self.num_ops, self.magnitude, self.fill), labels


def operations(fill: float = 0.0) -> Mapping[str, Operation]:
    """Return the 14 operations by their names in torchvision.

    Args:
        fill: What enters where an image is moved away, in the images' own units.

    Raises:
        MissingError: torchvision is not installed.
    """
    f = vision().functional
    move = partial(
        f.affine, angle=0.0, translate=[0, 0], scale=1.0, shear=[0.0, 0.0], center=[0, 0], fill=fill
    )
    return MappingProxyType(
        {
            "Identity": Operation(run=lambda x, _: x),
            "ShearX": Operation(
                run=lambda x, s: move(x, shear=[_degrees(s), 0.0]), strongest=_upto(0.3), signed=True
            ),
            "ShearY": Operation(
                run=lambda x, s: move(x, shear=[0.0, _degrees(s)]), strongest=_upto(0.3), signed=True
            ),
            "TranslateX": Operation(
                run=lambda x, s: move(x, translate=[int(s), 0]), strongest=_width, signed=True
            ),
            "TranslateY": Operation(
                run=lambda x, s: move(x, translate=[0, int(s)]), strongest=_height, signed=True
            ),
            "Rotate": Operation(
                run=lambda x, s: f.rotate(x, s, fill=fill), strongest=_upto(30.0), signed=True
            ),
            "Brightness": _colour(f.adjust_brightness),
            "Color": _colour(f.adjust_saturation),
            "Contrast": _colour(f.adjust_contrast),
            "Sharpness": _colour(f.adjust_sharpness),
            "Posterize": Operation(run=lambda x, s: f.posterize(x, 8 - round(s)), strongest=_upto(4.0)),
            "Solarize": Operation(
                run=lambda x, s: f.solarize(x, (1.0 - s) * _white(x)), strongest=_upto(1.0)
            ),
            "AutoContrast": Operation(run=lambda x, _: f.autocontrast(x)),
            "Equalize": Operation(run=lambda x, _: f.equalize(x)),
        }
    )


def _each(images: Tensor, drawn: list[int], table: tuple[Operation, ...], magnitude: int) -> Tensor:
    """Apply to each image what was drawn: twice the place in the table, 1 more for a negative strength."""
    height, width = images.shape[2:]
    places: dict[tuple[int, bool], list[int]] = {}
    for place, number in enumerate(drawn):
        row, negative = divmod(number, 2)
        places.setdefault((row, bool(negative) and table[row].signed), []).append(place)
    changed = torch.empty_like(images)
    for (row, negative), chosen in places.items():
        strength = table[row].strength(magnitude, height, width)
        index = torch.tensor(chosen, device=images.device)
        changed[index] = table[row].run(images[index], -strength if negative else strength)
    return changed


def _colour(change: Callable[[Tensor, float], Tensor]) -> Operation:
    return Operation(run=lambda x, s: change(x, 1.0 + s), strongest=_upto(0.9), signed=True)


def _upto(strongest: float) -> Callable[[int, int], float]:
    return lambda height, width: strongest  # noqa: ARG005


def _width(height: int, width: int) -> float:  # noqa: ARG001
    return 150.0 / 331.0 * width


def _height(height: int, width: int) -> float:  # noqa: ARG001
    return 150.0 / 331.0 * height


def _degrees(slope: float) -> float:
    return math.degrees(math.atan(slope))


def _white(images: Tensor) -> float:
    return 1.0 if images.is_floating_point() else 255.0


def _check(images: Tensor, num_ops: int, magnitude: int) -> None:
    check_images(images)
    if images.shape[1] not in (1, 3) or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise ShapeError(
            f"images have {images.shape[1]} channels of {images.dtype}; RandAugment takes 1 or 3 channels of "
            "torch.uint8, or of floating point from 0 to 1"
        )
    if num_ops < 0:
        raise UsageError(f"num_ops is {num_ops!r}; expected at least 0")
    if not 0 <= magnitude <= STRONGEST:
        raise UsageError(f"magnitude is {magnitude!r}; expected 0 to {STRONGEST}")
