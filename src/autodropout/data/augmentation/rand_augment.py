"""RandAugment on batches: each image has its own operations, each operation runs once for all its images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor

from autodropout.data.augmentation.chain import check_images
from autodropout.data.augmentation.moves import Plane, moved, shear_x, shear_y, shift_x, shift_y, turn
from autodropout.data.augmentation.vision import vision
from autodropout.errors import ShapeError, UsageError

STRONGEST = 30
"""Largest magnitude: the scale has 31 steps, as in torchvision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One of the five operations that move pixels; the strength's sign, which a coin decides, is a direction.

    Attributes:
        plane: Called as plane(strength, height, width).
        strongest: Strength at the largest magnitude, of images this high and wide; it grows linearly from 0.
    """

    plane: Callable[[float, int, int], Plane]
    strongest: Callable[[int, int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recolour:
    """One of the nine operations that change what pixels hold.

    Attributes:
        run: Called as run(images, strength).
        strongest: As above.
        signed: Whether a coin gives the strength its sign.
    """

    run: Callable[[Tensor, float], Tensor]
    strongest: Callable[[int, int], float]
    signed: bool = False


Operation = Move | Recolour


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
    choices = _choices(magnitude, *images.shape[2:])
    for _ in range(num_ops):
        drawn = torch.randint(len(choices), (len(images),), generator=generator, device=generator.device)
        images = changed(images, [choices[number] for number in drawn.tolist()], fill)
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


def operations() -> Mapping[str, Operation]:
    """Return the 14 operations by their names in torchvision.

    Raises:
        MissingError: torchvision is not installed.
    """
    f = vision().functional
    return MappingProxyType(
        {
            "Identity": Recolour(run=lambda x, _: x, strongest=_upto(0.0)),
            "ShearX": Move(plane=shear_x, strongest=_upto(0.3)),
            "ShearY": Move(plane=shear_y, strongest=_upto(0.3)),
            "TranslateX": Move(plane=shift_x, strongest=lambda height, width: 150.0 / 331.0 * width),  # noqa: ARG005
            "TranslateY": Move(plane=shift_y, strongest=lambda height, width: 150.0 / 331.0 * height),  # noqa: ARG005
            "Rotate": Move(plane=turn, strongest=_upto(30.0)),
            "Brightness": _colour(f.adjust_brightness),
            "Color": _colour(f.adjust_saturation),
            "Contrast": _colour(f.adjust_contrast),
            "Sharpness": _colour(f.adjust_sharpness),
            "Posterize": Recolour(run=lambda x, s: f.posterize(x, 8 - round(s)), strongest=_upto(4.0)),
            "Solarize": Recolour(run=lambda x, s: f.solarize(x, (1.0 - s) * _white(x)), strongest=_upto(1.0)),
            "AutoContrast": Recolour(run=lambda x, _: f.autocontrast(x), strongest=_upto(0.0)),
            "Equalize": Recolour(run=lambda x, _: f.equalize(x), strongest=_upto(0.0)),
        }
    )


def strength_of(operation: Operation, magnitude: int, height: int, width: int) -> float:
    """Return an operation's strength at a magnitude from 0 to 30, to float32 as torchvision has it."""
    return float(torch.linspace(0.0, operation.strongest(height, width), STRONGEST + 1)[magnitude])


def changed(images: Tensor, drawn: Sequence[tuple[Operation, float]], fill: float = 0.0) -> Tensor:
    """Apply to each image its operation.

    All moves are made in one pass, and each change of colours in one for all its images.

    Args:
        images: As for ``rand_augment``.
        drawn: Operation and strength for each image.
        fill: What enters where an image is moved away.
    """
    planes: dict[int, Plane] = {}
    recoloured: dict[tuple[Recolour, float], list[int]] = {}
    for place, (operation, strength) in enumerate(drawn):
        match operation:
            case Move():
                planes[place] = operation.plane(strength, *images.shape[2:])
            case Recolour():
                recoloured.setdefault((operation, strength), []).append(place)
    found = torch.empty_like(images)
    if planes:
        index = torch.tensor(list(planes), device=images.device)
        found[index] = moved(images[index], list(planes.values()), fill)
    for (operation, strength), places in recoloured.items():
        index = torch.tensor(places, device=images.device)
        found[index] = operation.run(images[index], strength)
    return found


@lru_cache(maxsize=64)
def _choices(magnitude: int, height: int, width: int) -> tuple[tuple[Operation, float], ...]:
    """Return each operation twice, with its strength and, where that has a sign, with the negative one."""
    pairs: list[tuple[Operation, float]] = []
    for operation in operations().values():
        strength = strength_of(operation, magnitude, height, width)
        signed = isinstance(operation, Move) or operation.signed
        pairs += [(operation, strength), (operation, -strength if signed else strength)]
    return tuple(pairs)


def _colour(change: Callable[[Tensor, float], Tensor]) -> Recolour:
    return Recolour(run=lambda x, s: change(x, 1.0 + s), strongest=_upto(0.9), signed=True)


def _upto(strongest: float) -> Callable[[int, int], float]:
    return lambda height, width: strongest  # noqa: ARG005


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
