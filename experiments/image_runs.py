"""What the trainings on images of both dropout papers share."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor


def step_decay(falls: Sequence[float], progress: float) -> float:
    """Return the factor on the learning rate, which is divided by 10 at each of these shares of training."""
    return float(0.1 ** sum(progress >= fall for fall in falls))


@torch.no_grad()
def accuracy(
    says: Callable[[Tensor], Tensor], chunks: Iterable[tuple[Tensor, Tensor]], device: str = "cpu"
) -> float:
    """Return the share of images that are named rightly.

    Args:
        says: From images to a score for each class.
        chunks: Images and their classes, some at a time.
        device: Where it takes them.
    """
    right, count = 0, 0
    for images, labels in chunks:
        right += int((says(images.to(device)).argmax(1).cpu() == labels).sum())
        count += len(labels)
    return right / count
