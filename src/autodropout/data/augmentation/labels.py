"""Labels as probabilities."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from autodropout.errors import ShapeError, UsageError


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Return labels as probabilities; what is probabilities already is returned as it is.

    Args:
        labels: int64 classes, shape (examples,), or floating point, shape (examples, num_classes).
        num_classes: Number of classes.

    Returns:
        float32, or the dtype given, shape (examples, num_classes).

    Raises:
        ShapeError: The labels have neither of these shapes.
        UsageError: A label is no class.
    """
    if labels.ndim == 2 and labels.shape[1] == num_classes and labels.is_floating_point():
        return labels
    if labels.ndim != 1 or labels.is_floating_point():
        raise ShapeError(
            f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype}; expected whole numbers of "
            f"shape (examples,) or probabilities of shape (examples, {num_classes})"
        )
    # A look at the values would make a GPU wait; there, an index out of range ends the process anyway.
    if (
        labels.device.type == "cpu"
        and len(labels)
        and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes
    ):
        raise UsageError(
            f"labels run from {int(labels.min())} to {int(labels.max())}; expected 0 to {num_classes - 1}"
        )
    return F.one_hot(labels, num_classes).float()


def smoothed(labels: Tensor, num_classes: int, smoothing: float = 0.1) -> Tensor:
    """Mix labels with the uniform distribution.

    q'(k) = (1 - smoothing) * q(k) + smoothing / num_classes       (Szegedy et al. 2016, Section 7)

    Args:
        labels: int64 classes, shape (examples,), or probabilities, shape (examples, num_classes).
        num_classes: Number of classes.
        smoothing: Share of the uniform distribution, from 0 to 1.

    Returns:
        Probabilities, shape (examples, num_classes).

    Raises:
        ShapeError: The labels have neither of these shapes.
        UsageError: The share is out of range, or a label is no class.

    Example:
        >>> smoothed(torch.tensor([1]), num_classes=2, smoothing=0.2)
        tensor([[0.1000, 0.9000]])
    """
    if not 0.0 <= smoothing <= 1.0:
        raise UsageError(f"smoothing is {smoothing!r}; expected a share, from 0 to 1")
    return one_hot(labels, num_classes) * (1.0 - smoothing) + smoothing / num_classes


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSmoothing:
    """``smoothed`` as a change of batches.

    Attributes:
        num_classes: Number of classes.
        smoothing: Share of the uniform distribution.
    """

    num_classes: int
    smoothing: float = 0.1

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Smooth labels; images are untouched and nothing is drawn."""
        return images, smoothed(labels, self.num_classes, self.smoothing)
