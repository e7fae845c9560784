"""The loss of Unsupervised Data Augmentation (Xie et al. 2019): few labels, much agreement."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.errors import ShapeError, UsageError

Annealing = Literal["none", "log", "linear", "exp"]
"""How fast the labels that are learned already come back into the loss."""

_SHARES: Mapping[Annealing, Callable[[float], float]] = {
    "none": lambda _: 1.0,
    "log": lambda progress: 1.0 - math.exp(-5.0 * progress),
    "linear": lambda progress: progress,
    "exp": lambda progress: math.exp(5.0 * (progress - 1.0)),
}
"""alpha_t of each schedule."""


def annealing_threshold(progress: float, num_classes: int, annealing: Annealing) -> float:
    """Return the likelihood above which a label counts as learned already.

    eta_t = alpha_t * (1 - 1/K) + 1/K, alpha_t = 1 - exp(-5 t/T), t/T or exp(5 (t/T - 1))
    (Xie et al. 2019, Training Signal Annealing)

    Args:
        progress: t/T, from 0 to 1.
        num_classes: K.
        annealing: ``"log"``, ``"linear"`` or ``"exp"``; ``"none"`` is 1: every label counts.

    Raises:
        UsageError: There is no such schedule.
    """
    if annealing not in _SHARES:
        raise UsageError(f"annealing is {annealing!r}; expected one of {', '.join(_SHARES)}")
    share = _SHARES[annealing](progress)
    return share * (1.0 - 1.0 / num_classes) + 1.0 / num_classes


def annealed_cross_entropy(logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Return the mean cross-entropy of the examples that are not learned already.

    Those whose label has a likelihood above the threshold are left out of sum and number; without any left
    the loss is 0.

    Args:
        logits: Floating point, shape (examples, classes).
        labels: int64, shape (examples,).
        threshold: What ``annealing_threshold`` returned.

    Returns:
        A scalar, float32 or better.

    Raises:
        ShapeError: The labels do not fit the logits.
    """
    if labels.shape != logits.shape[:1] or labels.is_floating_point():
        raise ShapeError(
            f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype}, logits shape "
            f"{tuple(logits.shape)}; expected one whole number for each example: labels that are mixed or "
            "smoothed have no likelihood to anneal"
        )
    losses = F.cross_entropy(_precise(logits), labels, reduction="none")
    counted = (torch.exp(-losses.detach()) <= threshold).to(losses.dtype)
    return (losses * counted).sum() / counted.sum().clamp(min=1.0)


def consistency(logits: Tensor, augmented: Tensor, temperature: float, confidence: float) -> Tensor:
    """Return how far predictions on augmented images are from those on the images themselves.

    mean over images of [max_y p(y|x) > confidence] * KL(p_sharp(y|x) || p(y|augmented x)),
    p_sharp = softmax(logits / temperature)          (Xie et al. 2019: confidence masking, sharpening)

    No gradient flows through the prediction on the images themselves. Images that are not sure enough count
    in the mean as 0, as in the authors' code.

    Args:
        logits: On the images, shape (images, classes).
        augmented: On the same images, augmented.
        temperature: Above 0; below 1 sharpens.
        confidence: Likelihood that the likeliest class has to exceed.

    Returns:
        A scalar, float32 or better, at least 0.

    Raises:
        ShapeError: The two are of different shapes.
    """
    if logits.shape != augmented.shape:
        raise ShapeError(
            f"logits have shape {tuple(logits.shape)}, those of the augmented images "
            f"{tuple(augmented.shape)}; expected the same"
        )
    own = _precise(logits).detach()
    target = F.log_softmax(own / temperature, dim=1)
    distance = F.kl_div(F.log_softmax(_precise(augmented), dim=1), target, reduction="none", log_target=True)
    sure = own.softmax(dim=1).amax(dim=1) > confidence
    return (distance.sum(dim=1) * sure).mean()


@dataclass(frozen=True, slots=True, kw_only=True)
class Uda:
    """Loss on labels + weight * consistency, in one forward pass of all images.

    An objective of ``FitSettings``. One pass over labelled, plain and augmented images together lets norms
    see all of them, as in the authors' code; dropout acts on all three.

    Attributes:
        temperature: Of the target's softmax; .4 in the paper's experiments on images.
        confidence: Likelihood that the likeliest class has to exceed; .8 on CIFAR-10, .5 on ImageNet.
        weight: Of the consistency.
        annealing: Schedule of training signal annealing.

    Raises:
        UsageError: A number is out of range, or there is no such schedule.
    """

    temperature: float = 0.4
    confidence: float = 0.8
    weight: float = 1.0
    annealing: Annealing = "none"

    def __post_init__(self) -> None:
        if not self.temperature > 0.0:
            raise UsageError(f"temperature is {self.temperature!r}; expected a number above 0")
        if not 0.0 <= self.confidence < 1.0:
            raise UsageError(f"confidence is {self.confidence!r}; expected a likelihood, from 0 to below 1")
        if not self.weight >= 0.0:
            raise UsageError(f"weight is {self.weight!r}; expected a number of at least 0")
        annealing_threshold(0.0, 2, self.annealing)

    def __call__(self, model: nn.Module, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        """Return the loss of a batch.

        Args:
            model: Maps images to logits.
            batch: Labelled images, their labels, images without labels, the same augmented.
            progress: Of training, from 0 to below 1.
        """
        images, labels, plain, augmented = batch
        logits: Tensor = model(torch.cat((images, plain, augmented)))
        labelled, own, changed = torch.split(logits, [len(images), len(plain), len(augmented)])
        threshold = annealing_threshold(progress, logits.shape[1], self.annealing)
        supervised = annealed_cross_entropy(labelled, labels, threshold)
        return supervised + self.weight * consistency(own, changed, self.temperature, self.confidence)


def _precise(logits: Tensor) -> Tensor:
    """Return logits in float32 where they are coarser."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
