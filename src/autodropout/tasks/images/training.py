"""Train an image classifier and score it: what every image task ends in, supervised or not."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autodropout.data.images import scaled
from autodropout.errors import DeviceError
from autodropout.result import Result
from autodropout.tasks.batches import Batch
from autodropout.tasks.fit import FitSettings, fit
from autodropout.tasks.images.recipe import ImageRecipe
from autodropout.tasks.outcome import Scored, outcome
from autodropout.tasks.saving import Saving

Chunks = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Gives stored images, uint8, and labels, some at a time, all once and in order."""

_TOP5_FROM = 100  # classes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scoring:
    """What a classifier is scored on.

    Attributes:
        validation: Gives the reward.
        test: Held out.
        mean: Of each channel, pixels counted from 0 to 1.
        deviation: Likewise.
        num_classes: Outputs of the network.
    """

    validation: Chunks
    test: Chunks
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    num_classes: int


def train_images(
    net: nn.Module,
    batches: Iterable[Batch],
    scoring: Scoring,
    recipe: ImageRecipe,
    saving: Saving | None = None,
) -> Result:
    """Train a network and return its validation accuracy as the reward, the test's figures beside it.

    Args:
        net: Untrained, with whatever dropout it is to have.
        batches: Scaled images and targets; for a recipe with an ``objective``, what that expects.
        scoring: What to score on.
        recipe: How to train.
        saving: Where to keep a checkpoint; None keeps none.

    Returns:
        Metrics: mean training loss at the end, validation loss, number of parameters. Test: accuracy. From
        100 classes on both have the share of images whose class is among the five likeliest, too.

    Raises:
        DeviceError: There is no such device, or its memory does not suffice for a batch; what else needs
            room is the caller's to say (``memory_suffices``).
        UsageError: Batches are larger than the data, or the checkpoint is of another training.
    """
    device = recipe.torch_device()
    fast = device.type == "cuda"
    net.to(device)
    settings = FitSettings(
        steps=recipe.steps,
        measure=lambda trained: _score(trained, scoring.validation, scoring, device)["accuracy"],
        measurements=recipe.measurements,
        loss=recipe.loss,
        objective=recipe.objective,
        device=str(device),
        bf16=recipe.bf16 and fast,
        channels_last=recipe.channels_last,
        compile=recipe.compile and fast,
        clip_norm=recipe.clip_norm,
        saving=saving,
    )
    with _kernels_timed():
        fitted = fit(net, recipe.optimiser_for(net), recipe.schedule, batches, settings)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16):
            return outcome(fitted, net, partial(_scored, net, scoring, device))


def _scored(net: nn.Module, scoring: Scoring, device: torch.device) -> Scored:
    seen, held_out = (_score(net, chunks, scoring, device) for chunks in (scoring.validation, scoring.test))
    del held_out["loss"]
    metrics = {f"val_{name}": value for name, value in seen.items() if name != "accuracy"}
    return Scored(reward=seen["accuracy"], metrics=metrics, test=held_out)


@contextmanager
def memory_suffices(device: torch.device) -> Iterator[None]:
    """Say what to do where a device has no room for images and network, or to score it.

    Raises:
        DeviceError: Its memory does not suffice.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"the memory of {device} does not suffice for the images and the network; end what else uses it, "
            "run fewer trials on this device at a time, or reduce batch_size (so many photographs are scored "
            "together), the number or side of the images, or the width of the network"
        ) from error


@contextmanager
def _kernels_timed() -> Iterator[None]:
    """Let cuDNN choose its kernels by timing them; its other settings stay the caller's."""
    # Not cudnn.flags(benchmark=True): what that is not told it resets, and cuDNN itself would be off.
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@torch.no_grad()
def _score(net: nn.Module, chunks: Chunks, scoring: Scoring, device: torch.device) -> dict[str, float]:
    """Return accuracy and mean loss, of many classes also the share among the first five."""
    names = ("accuracy", "loss", "top5")[: 3 if scoring.num_classes >= _TOP5_FROM else 2]
    total = torch.zeros(len(names), device=device)
    count = 0
    for images, labels in chunks():
        there = labels.to(device)
        logits = net(scaled(images.to(device), scoring.mean, scoring.deviation)).float()
        likeliest = logits.topk(min(5, logits.shape[1])).indices == there.unsqueeze(1)
        sums = (likeliest[:, 0].sum(), F.cross_entropy(logits, there, reduction="sum"), likeliest.sum())
        total += torch.stack([figure.float() for figure in sums[: len(names)]])
        count += len(there)
    return dict(zip(names, (total.double() / max(count, 1)).tolist(), strict=True))
