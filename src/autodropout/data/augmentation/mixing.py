"""Mixup and CutMix: torchvision's transforms, drawing from a generator that is given."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from autodropout.data.augmentation.chain import check_images
from autodropout.data.augmentation.defaults import drawn_from
from autodropout.data.augmentation.labels import one_hot
from autodropout.data.augmentation.vision import vision
from autodropout.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixup:
    """Mix each image and its label with the image before it in the batch, all by one share.

    x' = lam * x_i + (1 - lam) * x_j, y' = lam * y_i + (1 - lam) * y_j, lam ~ Beta(alpha, alpha)
    (Zhang et al. 2018, Section 2). The batch has to be in random order.

    Attributes:
        num_classes: Number of classes.
        alpha: Above 0; the larger, the closer lam is to one half.

    Raises:
        UsageError: ``alpha`` is not above 0.
    """

    num_classes: int
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return mixed images and probabilities."""
        check_images(images)
        mix = _transform("MixUp", self.num_classes, self.alpha)
        with drawn_from(generator):
            return mix(images, one_hot(labels, self.num_classes))


@dataclass(frozen=True, slots=True, kw_only=True)
class CutMix:
    """Paste a rectangle of the image before it in the batch into each image, the same in all.

    The label's share is the area that is left of the image (Yun et al. 2019, Section 3.1). The batch has to
    be in random order.

    Attributes:
        num_classes: Number of classes.
        alpha: Of the Beta distribution that the rectangle's area comes from; above 0, 1 is uniform.

    Raises:
        UsageError: ``alpha`` is not above 0.
    """

    num_classes: int
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return mixed images and probabilities."""
        check_images(images)
        mix = _transform("CutMix", self.num_classes, self.alpha)
        with drawn_from(generator):
            return mix(images, one_hot(labels, self.num_classes))


def check_alpha(alpha: float) -> None:
    """Refuse what is no parameter of a Beta distribution.

    Raises:
        UsageError: It is not above 0, or infinite.
    """
    if not 0.0 < alpha < float("inf"):
        raise UsageError(f"alpha is {alpha!r}; expected a number above 0")


@lru_cache
def _transform(name: str, num_classes: int, alpha: float) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return one of torchvision's transforms; building it takes longer than mixing a small batch."""
    kind: Callable[..., Callable[..., tuple[Tensor, Tensor]]] = getattr(vision(), name)
    return kind(alpha=alpha, num_classes=num_classes)
